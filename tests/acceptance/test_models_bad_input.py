"""Weights by URL from hosts that misbehave: each answer names the reason and what to change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.conftest import Answer, Gateway, refused
from tests.acceptance.weights import cached_name, download, files, link
from tests.contract.providers.servers import BUCKET, Servers
from tests.hosts import (
    OK,
    Asked,
    Host,
    hang_up,
    partial,
    ranged,
    redirect,
    running,
    says,
    silence,
)
from tests.hosts import Answer as Reply
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

SMALL = safetensors(4096)
#: Comes over one connection, in several pieces.
MEDIUM = safetensors(1 << 20)
PAGE = b"<!-- x -->\n<!DOCTYPE html><html><title>Log in</title></html>"


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


async def run(gateway: Gateway, url: str, **fields: Any) -> Answer:
    return await gateway.ask(body={"prompt": decoding(url), **fields})


def given(url: str, **auth: str) -> dict[str, Any]:
    """Return credentials for a prompt."""
    return {"credentials": [{"url_pattern": url, "auth": auth}]}


def asking_for(token: str, status: int) -> Reply:
    """Give a small file to who has the token."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        is_known = asked.headers.get("authorization") == f"Bearer {token}"
        body = b"" if asked.method == "HEAD" else SMALL
        given = says(OK, body, Content_Length=len(SMALL), ETag='"1"')
        await (given if is_known else says(f"HTTP/1.1 {status} No"))(asked, writer)

    return answer


class TestRefusals:
    @pytest.mark.parametrize("status", [401, 403])
    async def test_no_credentials_and_wrong_ones_and_right_ones(
        self, gateway: Gateway, host: Host, status: int
    ) -> None:
        path = f"/{status}.safetensors"
        url = host.on(path, asking_for("right-one", status))
        wrong = {"type": "bearer", "token": "wrong-one"}
        answers = [
            await run(gateway, url),
            await run(gateway, url, **given(url, **wrong)),
            await download(gateway, url),
            await download(gateway, url, auth=wrong),
        ]
        for answer in answers:
            found = refused(answer, 400, "model_not_fetched", url, str(status), "refuses access")
            assert "credentials" in found["hint"]
            assert found["fault"] == "url"
            assert "wrong-one" not in answer.told
        assert [answer.json["location"] for answer in answers] == [
            *["prompt.1.inputs.vae_name"] * 2,
            *["url"] * 2,
        ]
        answer = await run(gateway, url, **given(url, type="bearer", token="right-one"))
        assert answer.status == 200, answer.told
        answer = await run(gateway, url, **given(url, **wrong))
        refused(answer, 403, "credentials_refused", url, "credentials")

    async def test_a_file_that_is_not_there_with_credentials(
        self, gateway: Gateway, host: Host
    ) -> None:
        url = host.on("/gone.safetensors", says("HTTP/1.1 404 Not Found"))
        answer = await run(gateway, url, **given(url, type="bearer", token="t"))
        refused(answer, 400, "model_not_fetched", url, "404: there is no such file")

    @pytest.mark.parametrize(
        ("reply", "code", "words"),
        [
            (says(OK, PAGE, Content_Type="text/html"), "model_invalid", "a web page"),
            (says(OK, b'{"error": "Log in."}'), "model_invalid", "Log in."),
            (says(OK, SMALL + b"more", Content_Length=4096), "model_not_fetched", "not valid"),
            (says(OK, SMALL[:-1]), "model_invalid", "4,096 bytes"),
            (says(OK, b""), "model_invalid", "an empty file"),
            (redirect("/r.safetensors"), "model_not_fetched", "redirects more than"),
            (redirect("http://169.254.169.254/x"), "model_not_fetched", "ALLOW_PRIVATE_NETWORKS"),
            (says("HTTP/1.1 418 I am a teapot"), "model_not_fetched", "418"),
            (says("SMTP 220"), "model_not_fetched", "not valid HTTP"),
        ],
    )
    async def test_what_is_no_model_is_told_at_once(
        self, gateway: Gateway, host: Host, reply: Reply, code: str, words: str
    ) -> None:
        url = host.on("/r.safetensors", reply)
        for answer in (await run(gateway, url), await download(gateway, url)):
            refused(answer, 400, code, url, words)
        assert cached_name(url) not in await files(gateway)
        name = cached_name(url).removesuffix(".safetensors")
        leftovers = [path.suffix for path in (gateway.folder / "cache_dir").rglob(f"{name}*")]
        assert set(leftovers) <= {".part", ".json"}

    async def test_a_wrong_sha256_names_both(self, gateway: Gateway, host: Host) -> None:
        url = host.on("/sum.safetensors", ranged(SMALL))
        right = hashlib.sha256(SMALL).hexdigest()
        wrong = "0" * 64
        for _ in range(2):
            refused(
                await download(gateway, url, sha256=wrong), 400, "model_invalid", url, right, wrong
            )
            # Now it is there, and is not said to be what it is not.
            assert (await download(gateway, url)).status == 200


class TestHosts:
    async def test_one_that_closes_early_is_asked_for_the_rest(
        self, gateway: Gateway, host: Host
    ) -> None:
        cut = ranged(MEDIUM, cut=600_000)
        url = host.on("/early.safetensors", hang_up, cut, ranged(MEDIUM))
        answer = await run(gateway, url)
        assert answer.status == 200, answer.told
        assert host.asked[-1].start == 600_000
        assert link(gateway, "vae", cached_name(url)).read_bytes() == MEDIUM

    async def test_one_that_changes_the_file_midway(self, gateway: Gateway, host: Host) -> None:
        other = safetensors(1 << 20, seed=1)
        url = host.on(
            "/changed.safetensors", ranged(MEDIUM, cut=600_000), ranged(other, version='"2"')
        )
        answer = await run(gateway, url)
        assert answer.status == 200, answer.told
        assert link(gateway, "vae", cached_name(url)).read_bytes() == other

    async def test_one_that_stitches_two_versions(self, gateway: Gateway, host: Host) -> None:
        other = safetensors(1 << 20, seed=2)
        # The second answer is a part of another file, though If-Range asked for the whole.
        second = partial(other, version='"2"')
        url = host.on("/stitched.safetensors", ranged(MEDIUM, cut=600_000), second, ranged(other))
        answer = await run(gateway, url)
        assert answer.status == 200, answer.told
        assert link(gateway, "vae", cached_name(url)).read_bytes() == other

    async def test_one_that_ignores_ranges(self, gateway: Gateway, host: Host) -> None:
        cut = says(OK, MEDIUM[:600_000], Content_Length=len(MEDIUM), ETag='"1"')
        url = host.on("/whole.safetensors", cut, says(OK, MEDIUM, ETag='"1"'))
        answer = await run(gateway, url)
        assert answer.status == 200, answer.told
        assert link(gateway, "vae", cached_name(url)).read_bytes() == MEDIUM

    async def test_one_that_hangs_costs_no_more_than_the_timeout(
        self, gateway: Gateway, host: Host
    ) -> None:
        url = host.on("/hangs.safetensors", silence)
        answer = await run(gateway, url, timeout=1)
        refused(answer, 504, "timeout", "timeout passed", "GET /downloads")

    async def test_one_that_drips_costs_no_more_than_the_timeout(
        self, gateway: Gateway, host: Host
    ) -> None:
        async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await says(OK, Content_Length=4096)(asked, writer)
            while not asked.gone():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)

        url = host.on("/drips.safetensors", drip)
        asked = asyncio.create_task(run(gateway, url, timeout=2))

        async def is_shown() -> bool:
            found = (await gateway.ask("/downloads")).json["downloads"]
            return any(one["url"] == url and 0 < one["bytes"] < 100 for one in found)

        await wait_until(is_shown, description="the drops are shown")
        refused(await asked, 504, "timeout")

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_link_that_expires_midway(
        self, gateway: Gateway, host: Host, status: int
    ) -> None:
        expired = says(f"HTTP/1.1 {status} Expired", b"<Code>AccessDenied</Code>")
        host.on("/signed.safetensors", ranged(MEDIUM, cut=600_000), expired)
        url = host.url(f"/signed.safetensors?X-Amz-Signature=planted{status}")
        answer = await run(gateway, url)
        refused(answer, 400, "model_not_fetched", "may have expired", "fresh link")
        assert "planted" not in answer.told


class TestNames:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("..", "leaves its folder"),
            ("../x", "slash"),
            ("a/b", "slash"),
            ("a\0b", "control character"),
            ("x" * 300, "300 bytes"),
        ],
    )
    async def test_a_name_that_is_none_says_why(
        self, gateway: Gateway, host: Host, name: str, words: str
    ) -> None:
        answer = await download(gateway, host.url("/never"), filename=name)
        refused(answer, 400, "invalid_input", words, "model.safetensors")

    @pytest.mark.parametrize(
        "path",
        [
            "/../../../etc/up.safetensors",
            "/..%2f..%2fup.safetensors",
            "/a%00b.safetensors",
            "/" + "x" * 300 + ".safetensors",
            "/model." + "x" * 300,
            "/model.a%2fb",
            "/model.%00",
            "/model.é b",
            "/%ff.safetensors",
        ],
    )
    async def test_an_odd_path_names_no_odd_file(
        self, gateway: Gateway, host: Host, path: str
    ) -> None:
        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await ranged(SMALL)(asked, writer)

        host.answers = _Any(answer)
        told = await download(gateway, host.url(path))
        assert told.status == 200, told.told
        name = told.json["filename"]
        assert len(name) < 60
        assert not set(name) & set("/\\\0% ")
        assert link(gateway, "vae", name).read_bytes() == SMALL

    @pytest.mark.parametrize(
        "told",
        [
            "../../evil.safetensors",
            "/etc/evil.safetensors",
            "evil.a/b",
            "evil." + "x" * 300,
            "evil.\x01",
            "..",
        ],
    )
    async def test_a_host_names_no_odd_file(self, gateway: Gateway, host: Host, told: str) -> None:
        head = says(OK, SMALL, Content_Disposition=f'attachment; filename="{told}"')
        digest = hashlib.sha256(told.encode()).hexdigest()[:8]
        answer = await download(gateway, host.on(f"/{digest}", head))
        assert answer.status == 200, answer.told
        name = answer.json["filename"]
        assert len(name) < 60
        assert not set(name[32:]) & set("/\\\0\x01")
        assert link(gateway, "vae", name).read_bytes() == SMALL


class _Any(dict[str, list[Reply]]):
    """Answers every path the same."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __getitem__(self, path: str) -> list[Reply]:
        return [self._reply]


class TestLinks:
    async def test_a_place_taken_by_a_folder(self, gateway: Gateway, host: Host) -> None:
        url = host.on("/f.safetensors", ranged(SMALL))
        taken = link(gateway, "vae", "folder.safetensors")
        taken.mkdir(parents=True)
        answer = await download(gateway, url, filename="folder.safetensors")
        refused(answer, 409, "link_occupied", "vae/folder.safetensors", "a folder", "another name")
        taken.rmdir()

    @pytest.mark.parametrize("kind", ["file", "folder"])
    async def test_the_place_of_a_prompt_s_model_is_taken(
        self, gateway: Gateway, host: Host, kind: str
    ) -> None:
        url = host.on(f"/{kind}.safetensors", ranged(SMALL))
        taken = link(gateway, "vae", cached_name(url))
        taken.parent.mkdir(parents=True, exist_ok=True)
        taken.mkdir() if kind == "folder" else taken.write_bytes(b"mine")
        found = refused(await run(gateway, url), 409, "link_occupied", f"a {kind}", taken.name)
        assert found["location"] == "prompt.1.inputs.vae_name"
        assert taken.is_dir() if kind == "folder" else taken.read_bytes() == b"mine"
        taken.rmdir() if kind == "folder" else taken.unlink()

    @pytest.mark.parametrize("target", ["/nowhere/at/all.safetensors", "other.safetensors"])
    async def test_somebody_else_s_link_is_gone_round(
        self, gateway: Gateway, host: Host, target: str
    ) -> None:
        """A dangling one, and one that leads to a file of somebody."""
        url = host.on("/l.safetensors", ranged(SMALL))
        name = f"linked-{len(target)}.safetensors"
        place = link(gateway, "vae", name)
        place.parent.mkdir(parents=True, exist_ok=True)
        (gateway.folder / "other.safetensors").write_bytes(b"somebody's")
        pointed = gateway.folder / target
        place.symlink_to(pointed)
        answer = await download(gateway, url, filename=name)
        assert answer.status == 200, answer.told
        assert place.readlink() == pointed
        own = gateway.folder / "cache_dir" / "links" / "vae" / name
        assert own.read_bytes() == SMALL
        assert (await run(gateway, name)).status == 200

    async def test_a_link_into_the_cache_that_dangles_is_repaired(
        self, gateway: Gateway, host: Host
    ) -> None:
        url = host.on("/dangles.safetensors", ranged(SMALL))
        place = link(gateway, "vae", cached_name(url))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(gateway.folder / "cache_dir" / cached_name(url))
        answer = await run(gateway, url)
        assert answer.status == 200, answer.told
        assert place.read_bytes() == SMALL


@pytest.fixture(scope="module")
def with_buckets(start: Callable[..., Any], servers: Servers) -> Iterator[Gateway]:
    with start(
        ALLOW_PRIVATE_NETWORKS="127.0.0.0/8",
        AWS_ACCESS_KEY_ID="operator",
        AWS_SECRET_ACCESS_KEY="pl4nted-s3cret",
        AWS_REGION="us-east-1",
        AWS_ENDPOINT_URL=servers.buckets,
    ) as found:
        yield found


class TestBuckets:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("s3://no-such-bucket-here/x.safetensors", "there is no such bucket"),
            (f"s3://{BUCKET}/missing.safetensors", "there is no such file in the bucket"),
            ("s3://No_Bucket!/x.safetensors", "bucket"),
            (f"s3://{BUCKET}/", "key"),
            (f"s3://{BUCKET}", "key"),
            ("s3:///x.safetensors", "bucket"),
        ],
    )
    async def test_what_is_not_there(self, with_buckets: Gateway, url: str, words: str) -> None:
        for answer in (await run(with_buckets, url), await download(with_buckets, url)):
            assert answer.status == 400, answer.raw
            assert answer.json["code"] in ("model_not_fetched", "invalid_input")
            assert words in answer.told
            assert "pl4nted" not in answer.told

    async def test_keys_that_are_refused(self, with_buckets: Gateway) -> None:
        url = f"s3://{BUCKET}/private.safetensors"
        auth = {"type": "s3", "access_key_id": "wrong", "secret_access_key": "pl4nted-0ther"}
        for answer in (
            await run(with_buckets, url, **given("s3://**", **auth)),
            await download(with_buckets, url, auth=auth),
        ):
            refused(answer, 400, "model_not_fetched", "does not accept the credentials")
            assert answer.json["hint"]
            assert "pl4nted" not in answer.told
