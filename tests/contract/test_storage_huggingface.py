"""Hugging Face over real sockets: a server of its shape, and huggingface_hub itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import errors
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth, QueryAuth
from gateway.storage import hf_address, hf_whole
from gateway.storage.download import Downloader, Order
from gateway.storage.failures import MISMATCH, TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.huggingface import HuggingFaceProvider
from gateway.storage.pace import Patience
from gateway.storage.provider import WHOLE, Span
from tests.contract.providers.hub import Hub, serving
from tests.waiting import wait_until

TOKEN = "hf_planted"
BIG = bytes(range(256)) * 1024
SMALL = b'{"a": 1}'
BEARER = BearerAuth(type="bearer", token=TOKEN)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with serving(TOKEN) as found:
        found.repository("org/repo", {"a b/big.safetensors": BIG, "small.json": SMALL})
        yield found


@pytest.fixture
async def http() -> AsyncIterator[HttpProvider]:
    guard = NetworkGuard(("127.0.0.1", "localhost"))
    async with HttpProvider(guard, proxies={}).open() as found:
        yield found


@pytest.fixture
async def provider(hub: Hub, http: HttpProvider) -> AsyncIterator[HuggingFaceProvider]:
    found = HuggingFaceProvider(http, None, hub.endpoint)
    yield found
    await found.close()


@dataclass(frozen=True)
class Only:
    """The one provider of a test."""

    provider: HuggingFaceProvider

    def of(self, url: str) -> HuggingFaceProvider:
        return self.provider


async def read(
    provider: HuggingFaceProvider, url: str, auth: Auth | None = None, span: Span = WHOLE
) -> bytes:
    async with provider.read(url, auth, span) as reply:
        return b"".join([chunk async for chunk in reply.chunks()])


async def until_asked(hub: Hub, path: str) -> None:
    await wait_until(
        lambda: any(path in asked.path for asked in hub.asked), description=f"asked for {path}"
    )


async def refusal(provider: HuggingFaceProvider, url: str, auth: Auth | None = None) -> Verdict:
    with pytest.raises(TransferFailed) as caught:
        await provider.stat(url, auth)
    verdict = caught.value.verdict
    assert TOKEN not in f"{verdict} {caught.value}"
    return verdict


async def test_a_large_file_is_known_by_its_hash(provider: HuggingFaceProvider) -> None:
    found = await provider.stat("hf://org/repo/a b/big.safetensors", None)
    sha256 = hashlib.sha256(BIG).hexdigest()
    assert (found.size, found.sha256, found.version) == (len(BIG), sha256, sha256)
    assert (found.filename, found.is_ranged) == ("big.safetensors", True)


async def test_a_small_file_has_a_version_and_no_hash(provider: HuggingFaceProvider) -> None:
    found = await provider.stat("hf://org/repo/small.json", None)
    assert (found.size, found.sha256) == (len(SMALL), None)
    assert found.version


@pytest.mark.parametrize(
    "url",
    [
        "hf://org/repo/a b/big.safetensors",
        "hf://models/org/repo@main/a%20b/big.safetensors",
        "https://huggingface.co/org/repo/resolve/main/a%20b/big.safetensors?download=true",
        "https://huggingface.co/org/repo/blob/main/a b/big.safetensors",
        "https://hf.co/org/repo/resolve/main/a%20b/big.safetensors",
    ],
)
async def test_every_form_of_a_url_reaches_the_mirror(
    provider: HuggingFaceProvider, url: str
) -> None:
    assert await read(provider, url) == BIG


async def test_revisions_and_datasets(hub: Hub, provider: HuggingFaceProvider) -> None:
    repository = hub.repository("datasets/org/data", {"x": b"first"})
    repository.names = {"refs/pr/1": 1, "v1": 1}
    repository.commit({"x": b"second"})
    assert await read(provider, "hf://datasets/org/data/x") == b"second"
    assert await read(provider, "hf://datasets/org/data@v1/x") == b"first"
    for revision in ("refs%2Fpr%2F1", "refs/pr/1"):
        assert await read(provider, f"hf://datasets/org/data@{revision}/x") == b"first"
        page = f"{hub.endpoint}/datasets/org/data/resolve/{revision}/x"
        assert await read(provider, page) == b"first"


async def test_a_part_comes_with_what_is_known_of_the_whole(provider: HuggingFaceProvider) -> None:
    url = "hf://org/repo/a b/big.safetensors"
    stat = await provider.stat(url, None)
    async with provider.read(url, None, Span(100, 300, stat.version)) as reply:
        body = b"".join([chunk async for chunk in reply.chunks()])
    assert (reply.start, reply.stat, body) == (100, stat, BIG[100:300])


async def test_parts_are_of_one_commit(hub: Hub, provider: HuggingFaceProvider) -> None:
    url = "hf://org/repo/a b/big.safetensors"
    version = (await provider.stat(url, None)).version
    hub.repository("org/repo", {"a b/big.safetensors": BIG[::-1]})
    asked = len(hub.asked)
    assert await read(provider, url, span=Span(10, 20, version)) == BIG[10:20]
    assert "HEAD" not in [asked.method for asked in hub.asked[asked:]]
    await provider.stat(url, None)
    assert await read(provider, url) == BIG[::-1]


async def test_a_version_that_is_gone_is_a_mismatch(provider: HuggingFaceProvider) -> None:
    with pytest.raises(TransferFailed) as caught:
        await read(provider, "hf://org/repo/small.json", span=Span(1, None, "other"))
    assert caught.value.verdict == MISMATCH


@pytest.mark.parametrize(
    "auth",
    [
        BEARER,
        BasicAuth(type="basic", username="me", password=TOKEN),
        HeaderAuth(type="header", header_name="Authorization", header_value=f"Bearer {TOKEN}"),
    ],
)
async def test_a_token_stays_with_the_hub(
    hub: Hub, provider: HuggingFaceProvider, auth: Auth
) -> None:
    hub.repository("org/repo").is_private = True
    url = "hf://org/repo/a b/big.safetensors"
    told = await refusal(provider, url)
    assert told.reason == "there is no such repository, or it is private; no token was given"
    assert "`auth` in POST /download" in (told.hint or "")
    assert await read(provider, url, auth) == BIG
    assert hub.sent_to("localhost")
    assert not [asked for asked in hub.sent_to("localhost") if "authorization" in asked.headers]


async def test_the_requests_token_wins_over_the_environments(hub: Hub, http: HttpProvider) -> None:
    hub.repository("org/repo").is_private = True
    provider = HuggingFaceProvider(http, TOKEN, hub.endpoint)
    assert await read(provider, "hf://org/repo/small.json") == SMALL
    verdict = await refusal(
        provider, "hf://org/repo/small.json", BearerAuth(type="bearer", token="other")
    )
    assert verdict.reason == "Hugging Face answered 401: it refuses access"
    await provider.close()


async def test_the_machines_own_token_is_not_used(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "token"
    kept.write_text(TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(kept))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    await provider.stat("hf://org/repo/small.json", None)
    assert not [asked for asked in hub.asked if "authorization" in asked.headers]


async def test_other_credentials_are_refused(provider: HuggingFaceProvider) -> None:
    auth = QueryAuth(type="query", query_param="token", query_value=TOKEN)
    with pytest.raises(errors.InvalidInput, match="type query do not fit Hugging Face"):
        await provider.stat("hf://org/repo/small.json", auth)


async def test_what_a_caller_can_mend_is_said(hub: Hub, provider: HuggingFaceProvider) -> None:
    hub.repository("org/gated", {"x": SMALL}).is_gated = True
    for auth in (None, BEARER):
        gated = await refusal(provider, "hf://org/gated/x", auth)
        whose = "and this token has no access to it" if auth else "and no token was given"
        assert gated.reason == f"its repository is gated, {whose}"
        assert "Accept the licence" in (gated.hint or "")
    missing = await refusal(provider, "hf://org/nothing/x", BEARER)
    assert missing.reason == "there is no such repository, or it is private"
    assert "HF_TOKEN" in (missing.hint or "")
    revision = await refusal(provider, "hf://org/repo@nothing/x")
    assert revision.reason == "its repository has no such revision"
    file = await refusal(provider, "hf://org/repo/nothing")
    assert file.reason == "its repository has no such file at this revision"


async def test_a_hub_that_fails_may_be_asked_again(hub: Hub, provider: HuggingFaceProvider) -> None:
    hub.faults["resolve"] = [503]
    assert (await refusal(provider, "hf://org/repo/small.json")).retryable
    hub.faults["resolve"] = [429]
    assert (await refusal(provider, "hf://org/repo/small.json")).retryable


async def test_an_endpoint_that_is_no_hub_is_named(hub: Hub, http: HttpProvider) -> None:
    nobody = HuggingFaceProvider(http, None, "http://127.0.0.1:1")
    assert (await refusal(nobody, "hf://org/repo/x")).retryable
    plain = HuggingFaceProvider(http, None, f"{hub.endpoint}/cdn")
    hub.contents["org/repo/resolve/main/x"] = SMALL
    assert "HF_ENDPOINT" in ((await refusal(plain, "hf://org/repo/x")).hint or "")
    await nobody.close()
    await plain.close()


@pytest.mark.parametrize("url", ["hf://org/x", "hf://org/repo/../x", "hf://spaces/org/repo/x"])
async def test_what_names_no_file_is_refused(provider: HuggingFaceProvider, url: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        provider.check(url, "prompt.1.inputs.image")
    assert caught.value.location == "prompt.1.inputs.image"
    assert "hf://org/repo/path" in (caught.value.hint or "")


async def test_a_repository_is_listed_as_diffusers_reads_it(
    hub: Hub, provider: HuggingFaceProvider
) -> None:
    files = {
        "model_index.json": SMALL,
        "README.md": SMALL,
        ".gitattributes": SMALL,
        "whole.safetensors": BIG,
        "unet/config.json": SMALL,
        "unet/diffusion_pytorch_model.safetensors": BIG,
        "unet/diffusion_pytorch_model.bin": BIG,
    }
    hub.repository("org/pipe", files).names = {"a/b": 1}
    assert provider.is_repo("hf://org/pipe")
    found = await provider.list_repo("hf://org/pipe@a%2Fb", None)
    assert {file.path: file.sha256 for file in found} == {
        "model_index.json": None,
        "unet/config.json": None,
        "unet/diffusion_pytorch_model.safetensors": hashlib.sha256(BIG).hexdigest(),
    }
    for file in found:
        assert await read(provider, file.url) == files[file.path]
        assert file.size == len(files[file.path])


@pytest.mark.parametrize("body", [b"", SMALL, BIG], ids=["empty", "regular", "lfs"])
async def test_an_upload_is_committed(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path, body: bytes
) -> None:
    hub.repository("datasets/org/out")
    source = tmp_path / "source"
    source.write_bytes(body)
    url = "hf://datasets/org/out@main/a b/out.png"
    await provider.write(url, BEARER, source, "image/png")
    assert await read(provider, url) == body
    # Unchanged content makes no commit, and is no failure.
    await provider.write(url, BEARER, source, "image/png")
    assert not [asked for asked in hub.sent_to("localhost") if "authorization" in asked.headers]


async def test_uploads_to_one_branch_do_not_overtake_each_other(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    hub.repository("org/out")
    sources = [tmp_path / f"{index}.png" for index in range(4)]
    for index, source in enumerate(sources):
        source.write_bytes(BIG + bytes([index]))
    await asyncio.gather(
        *(provider.write(f"hf://org/out/{each.name}", BEARER, each, "") for each in sources)
    )
    assert len(hub.repository("org/out").commits) == 5
    assert set(hub.repository("org/out").commits[-1]) == {source.name for source in sources}


async def test_a_cancelled_upload_is_not_committed(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(BIG)
    hub.repository("org/out")
    hub.held["preupload"] = asyncio.Event()
    task = asyncio.create_task(provider.write("hf://org/out/x", BEARER, source, ""))
    await until_asked(hub, "/preupload/")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hub.held["preupload"].set()
    await provider.write("hf://org/out/y", BEARER, source, "")
    assert set(hub.repository("org/out").commits[-1]) == {"y"}


async def test_a_commit_that_has_begun_is_waited_for(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    source, later = tmp_path / "source", tmp_path / "later"
    source.write_bytes(BIG)
    later.write_bytes(SMALL)
    hub.repository("org/out")
    hub.held["commit"] = asyncio.Event()
    task = asyncio.create_task(provider.write("hf://org/out/x", BEARER, source, ""))
    await until_asked(hub, "/commit/")
    task.cancel()
    superseding = asyncio.create_task(provider.write("hf://org/out/x", BEARER, later, ""))
    hub.held["commit"].set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await superseding
    assert hub.repository("org/out").commits[-2:] == [{"x": BIG}, {"x": SMALL}]


async def test_an_upload_without_a_token_is_refused(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    url = "hf://org/repo/x"
    assert "HF_TOKEN" in (provider.is_configured("hf://a/b/c", None) or "")
    assert provider.is_configured("hf://a/b/c", BEARER) is None
    with pytest.raises(TransferFailed, match="there is no token"):
        await provider.write(url, None, tmp_path / "x", "")
    assert not hub.asked


async def test_an_upload_that_is_refused_says_why(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(SMALL)
    with pytest.raises(TransferFailed, match="there is no such repository"):
        await provider.write("hf://org/nothing/x", BEARER, tmp_path / "x", "")
    hub.faults["commit"] = [412]
    with pytest.raises(TransferFailed) as caught:
        await provider.write("hf://org/repo/new", BEARER, tmp_path / "x", "")
    assert caught.value.verdict.retryable


async def test_xet_is_for_large_files_of_xet(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    reserved: list[int] = []

    async def reserve(size: int) -> None:
        reserved.append(size)

    path, url = tmp_path / "x.part", "hf://org/repo/a b/big.safetensors"
    monkeypatch.setattr(hf_whole, "WORTH_BYTES", 1)
    assert await provider.fetch_whole(url, None, path, reserve, told.append) is None
    assert reserved == []
    hub.xet.add("a b/big.safetensors")
    # This server has no Xet storage: it fails, and nothing is left of it.
    assert await provider.fetch_whole(url, None, path, reserve, told.append) is None
    assert len(reserved) == 1
    assert any("xet-read-token" in asked.path for asked in hub.asked)
    assert not os.listdir(tmp_path)


async def test_a_download_lives_through_a_hub_that_fails_once(
    hub: Hub, provider: HuggingFaceProvider, tmp_path: Path
) -> None:
    async def reserve(size: int) -> None:
        assert size == len(BIG)

    hub.faults["resolve"] = [503]
    order = Order(
        url="hf://org/repo/a b/big.safetensors",
        folder=tmp_path,
        stem="x" * 32,
        reserve=reserve,
        tell=lambda here, total: None,
    )
    found = await Downloader(Only(provider), patience=Patience(wait_initial=0.01)).run(order)
    assert found.path.read_bytes() == BIG


async def test_a_whole_file_is_fetched_beside_and_moved(hub: Hub, tmp_path: Path) -> None:
    hub.repository("org/repo").is_private = True
    file = hf_address.file_of("hf://org/repo/a b/big.safetensors")
    told: list[int] = []
    order = hf_whole.Order(hub.endpoint, file, "main", TOKEN, len(BIG))
    assert await hf_whole.fetched(order, tmp_path / "x.part", told.append)
    assert os.listdir(tmp_path) == ["x.part"]
    assert (tmp_path / "x.part").read_bytes() == BIG
    assert told[-1] == len(BIG)


async def test_a_whole_file_of_another_size_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    file = hf_address.file_of("hf://org/repo/small.json")
    order = hf_whole.Order(hub.endpoint, file, "main", None, len(BIG))
    assert not await hf_whole.fetched(order, tmp_path / "x.part", lambda _: None)
    assert not os.listdir(tmp_path)


async def test_a_whole_file_that_is_not_wanted_any_more_leaves_nothing(
    hub: Hub, tmp_path: Path
) -> None:
    hub.held["resolve"] = asyncio.Event()
    file = hf_address.file_of("hf://org/repo/a b/big.safetensors")
    order = hf_whole.Order(hub.endpoint, file, "main", None, len(BIG))
    task = asyncio.create_task(hf_whole.fetched(order, tmp_path / "x.part", lambda _: None))
    await until_asked(hub, "/resolve/")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hub.held["resolve"].set()
    assert not os.listdir(tmp_path)


async def test_the_program_ends_when_the_gateway_is_gone(hub: Hub, tmp_path: Path) -> None:
    hub.held["resolve"] = asyncio.Event()
    file = hf_address.file_of("hf://org/repo/a b/big.safetensors")
    order = hf_whole.Order(hub.endpoint, file, "main", None, len(BIG))
    program = await hf_whole.started(hub.endpoint, tmp_path)
    assert program.stdin is not None
    program.stdin.write(order.line(tmp_path))
    await until_asked(hub, "/resolve/")
    program.stdin.close()
    assert await program.wait() == 3
    hub.held["resolve"].set()


async def test_the_program_gets_no_secret_of_the_environment(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    file = hf_address.file_of("hf://org/repo/small.json")
    order = hf_whole.Order(hub.endpoint, file, "main", None, len(SMALL))
    assert await hf_whole.fetched(order, tmp_path / "x.part", lambda _: None)
    assert not [asked for asked in hub.asked if "authorization" in asked.headers]
