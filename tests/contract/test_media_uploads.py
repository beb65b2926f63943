"""Uploads to a real host: what arrives, what is tried again, who gives way to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway import errors, metrics
from gateway.media.destinations import Destination
from gateway.media.uploads import PARALLEL, Uploaded, Uploads
from gateway.schemas import BearerAuth, Credential, S3Auth
from gateway.storage.failures import TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.pace import Patience
from tests.hosts import Only
from tests.listening import listening
from tests.waiting import wait_until

PATIENCE = Patience(attempts=3, wait_initial=0.01, wait_max=0.01)
CREDENTIAL = Credential(
    url_pattern="http://**/private/**", auth=BearerAuth(type="bearer", token="t0ken")
)


class Host:
    """A host that takes what is put, counts, and says no when it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.asked: list[str] = []
        self.answers: dict[str, list[int]] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def put(self, request: web.Request) -> web.Response:
        path = request.path
        self.asked.append(path)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.read()
            await self.may_answer.wait()
        finally:
            self.in_flight -= 1
        if "/private/" in path and request.headers.get("Authorization") != "Bearer t0ken":
            return web.Response(status=403)
        if self.answers.get(path):
            return web.Response(status=self.answers[path].pop(0))
        self.files[path] = body
        self.types[path] = request.content_type
        return web.Response(status=201)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    found = Host()
    async with listening(web.put("/{path:.*}", found.put)) as found.url:
        yield found
        found.may_answer.set()


Events = list[tuple[str, Mapping[str, Any]]]


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture
async def uploads(events: Events) -> AsyncIterator[Uploads]:
    async with HttpProvider(NetworkGuard(("127.0.0.1",)), proxies={}).open() as http:
        yield Uploads(
            Only(http),
            notify=lambda name, data: events.append((name, data)),
            patience=PATIENCE,
        )


def to(uploads: Uploads, url_prefix: str) -> Destination:
    found = uploads.destination({"http_upload": {"url_prefix": url_prefix}})
    assert found is not None
    return found


Made = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return what writes outputs of these names, a folder each."""

    def write(*names: str, body: bytes = b"bytes") -> list[dict[str, Any]]:
        entries = []
        for index, name in enumerate(names):
            path = tmp_path / str(index) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(body + str(index).encode())
            entries.append(
                {
                    "filename": name,
                    "path": str(path),
                    "content_type": "image/webp" if name.endswith("webp") else "image/png",
                    "size": path.stat().st_size,
                }
            )
        return entries

    return write


async def test_all_arrive_with_their_types(
    host: Host, uploads: Uploads, made: Made, events: Events
) -> None:
    before = metrics.upload_bytes_total.labels("http")._value.get()
    entries = made("a.png", "b c.webp")
    done = await uploads.upload(to(uploads, f"{host.url}/x/"), entries, [])
    assert done == Uploaded([f"{host.url}/x/a.png", f"{host.url}/x/b%20c.webp"], None, [])
    assert host.files == {"/x/a.png": b"bytes0", "/x/b c.webp": b"bytes1"}
    assert host.types == {"/x/a.png": "image/png", "/x/b c.webp": "image/webp"}
    assert metrics.upload_bytes_total.labels("http")._value.get() == before + 12
    told = {data["url"]: data for name, data in events if name == "file_uploaded"}
    assert told.keys() == set(done.urls)
    assert told[done.urls[0]]["local_path"] == entries[0]["path"]
    assert told[done.urls[0]]["size"] == 6
    assert 0 <= told[done.urls[0]]["duration"] < 10


def beside(entry: dict[str, Any], content: bytes = b"{}") -> dict[str, Any]:
    """Return an output with a sidecar beside it."""
    path = Path(f"{entry['path']}.json")
    path.write_bytes(content)
    return {**entry, "sidecar": str(path)}


async def test_sidecars_arrive_beside_their_outputs(
    host: Host, uploads: Uploads, made: Made, events: Events
) -> None:
    # One output bears the name that the sidecar of another would have.
    entries = [beside(entry) for entry in made("a.png", "a.png", "b", "b.json")]
    done = await uploads.upload(to(uploads, f"{host.url}/x/"), entries, [])
    outputs = ["a.png", "a_1.png", "b", "b.json"]
    assert done == Uploaded([f"{host.url}/x/{name}" for name in outputs], None, [])
    sidecars = ["a.png.json", "a_1.png.json", "b_1.json", "b.json.json"]
    assert host.files.keys() == {f"/x/{name}" for name in (*outputs, *sidecars)}
    assert {host.types[f"/x/{name}"] for name in sidecars} == {"application/json"}
    assert host.files["/x/b.json"] == b"bytes3"
    assert {data["url"] for _, data in events} == set(done.urls)


async def test_a_sidecar_is_tried_again(host: Host, uploads: Uploads, made: Made) -> None:
    host.answers["/a.png.json"] = [503, 503]
    done = await uploads.upload(to(uploads, host.url), [beside(*made("a.png"))], [])
    assert (done.warnings, host.files["/a.png.json"]) == ([], b"{}")


async def test_a_sidecar_that_is_refused_is_a_warning(
    host: Host, uploads: Uploads, made: Made
) -> None:
    host.answers["/a.png.json"] = [415]
    done = await uploads.upload(to(uploads, host.url), [beside(*made("a.png"))], [])
    [warning] = done.warnings
    assert warning.startswith(f"a.png.json could not be uploaded to {host.url}/a.png.json: ")
    assert host.files == {"/a.png": b"bytes0"}


async def test_a_sidecar_that_is_gone_is_passed_over(
    host: Host, uploads: Uploads, made: Made
) -> None:
    entry = beside(*made("a.png"))
    Path(entry["sidecar"]).unlink()
    done = await uploads.upload(to(uploads, host.url), [entry], [])
    assert (done.warnings, list(host.files)) == ([], ["/a.png"])


async def test_credentials_go_to_a_sidecar_where_they_are_for_it(
    host: Host, uploads: Uploads, made: Made
) -> None:
    only_pictures = CREDENTIAL.model_copy(update={"url_pattern": "http://**/private/*.png"})
    for given, arrives in ((CREDENTIAL, True), (only_pictures, False)):
        host.files.clear()
        entry = beside(*made("a.png"))
        done = await uploads.upload(to(uploads, f"{host.url}/private"), [entry], [given])
        assert ("/private/a.png.json" in host.files, done.warnings == []) == (arrives, arrives)


async def test_a_large_one_is_whole(host: Host, uploads: Uploads, made: Made) -> None:
    body = bytes(range(256)) * (16 << 10)
    await uploads.upload(to(uploads, host.url), made("a.png", body=body), [])
    assert host.files["/a.png"] == body + b"0"


async def test_nothing_to_send(uploads: Uploads, host: Host) -> None:
    assert await uploads.upload(to(uploads, host.url), [], []) == Uploaded([], None, [])


async def test_two_of_one_name_are_two_files(host: Host, uploads: Uploads, made: Made) -> None:
    done = await uploads.upload(to(uploads, host.url), made("a.png", "a.png"), [])
    assert done.urls == [f"{host.url}/a.png", f"{host.url}/a_1.png"]
    assert host.files == {"/a.png": b"bytes0", "/a_1.png": b"bytes1"}


async def test_only_so_many_at_a_time(host: Host, uploads: Uploads, made: Made) -> None:
    host.may_answer.clear()
    names = [f"{number}.png" for number in range(PARALLEL + 3)]
    sending = asyncio.create_task(uploads.upload(to(uploads, host.url), made(*names), []))
    await wait_until(lambda: host.in_flight == PARALLEL, description="some are under way")
    host.may_answer.set()
    await sending
    assert host.most_in_flight == PARALLEL
    assert len(host.files) == PARALLEL + 3


async def test_credentials_go_where_they_belong(host: Host, uploads: Uploads, made: Made) -> None:
    destination = to(uploads, f"{host.url}/private/")
    await uploads.upload(destination, made("a.png"), [CREDENTIAL])
    assert host.files == {"/private/a.png": b"bytes0"}


async def test_what_may_pass_is_tried_again(host: Host, uploads: Uploads, made: Made) -> None:
    host.answers["/a.png"] = [503, 500]
    await uploads.upload(to(uploads, host.url), made("a.png"), [])
    assert host.asked == ["/a.png"] * 3
    assert host.files == {"/a.png": b"bytes0"}


async def test_what_does_not_pass_fails(
    host: Host, uploads: Uploads, made: Made, events: Events
) -> None:
    host.answers["/a.png"] = [500] * 9
    with pytest.raises(errors.UploadFailed) as failure:
        await uploads.upload(to(uploads, host.url), made("a.png"), [])
    assert failure.value.message == (
        f"a.png could not be uploaded to {host.url}/a.png: the host answered 500."
    )
    assert host.asked == ["/a.png"] * PATIENCE.attempts
    assert events == []


async def test_a_refusal_is_not_tried_again(host: Host, uploads: Uploads, made: Made) -> None:
    with pytest.raises(errors.UploadFailed, match="403") as failure:
        await uploads.upload(to(uploads, f"{host.url}/private"), made("a.png"), [])
    assert "credentials" in str(failure.value.hint)
    assert len(host.asked) == 1


async def test_credentials_that_do_not_fit(host: Host, uploads: Uploads, made: Made) -> None:
    auth = S3Auth(type="s3", access_key_id="a", secret_access_key="s3cr3t")
    given = [Credential(url_pattern="**", auth=auth)]
    with pytest.raises(errors.UploadFailed, match="type s3") as failure:
        await uploads.upload(to(uploads, host.url), made("a.png"), given)
    assert "s3cr3t" not in str(failure.value.to_dict())


async def test_one_failure_ends_the_others(host: Host, uploads: Uploads, made: Made) -> None:
    host.answers["/a.png"] = [404]
    with pytest.raises(errors.UploadFailed, match=r"a\.png"):
        await uploads.upload(to(uploads, host.url), made("a.png", "b.png"), [])
    await wait_until(lambda: host.in_flight == 0, description="nothing is under way")


async def test_a_file_that_is_gone(host: Host, uploads: Uploads, made: Made) -> None:
    entries = made("a.png")
    Path(entries[0]["path"]).unlink()
    with pytest.raises(errors.UploadFailed, match=r"a\.png could not be read"):
        await uploads.upload(to(uploads, host.url), entries, [])


async def test_no_secret_in_what_is_told(
    host: Host, uploads: Uploads, made: Made, events: Events
) -> None:
    destination = to(uploads, f"{host.url}/put?token=s3cr3t&to=x")
    done = await uploads.upload(destination, made("a.png"), [])
    assert done.urls == [f"{host.url}/put?token=***&to=x/a.png"]
    host.answers["/put"] = [404]
    with pytest.raises(errors.UploadFailed) as failure:
        await uploads.upload(destination, made("a.png"), [])
    assert "s3cr3t" not in str(failure.value.to_dict()) + str(events)


class TestOneUrl:
    async def test_the_later_takes_the_place_of_the_earlier(
        self, host: Host, uploads: Uploads, made: Made, events: Events
    ) -> None:
        host.may_answer.clear()
        destination = to(uploads, host.url)
        entries = made("a.png", "b.png")
        earlier = asyncio.create_task(uploads.upload(destination, entries, []))
        await wait_until(lambda: host.in_flight == 2, description="both are under way")
        later = asyncio.create_task(uploads.upload(destination, made("a.png", body=b"new"), []))
        await wait_until(lambda: len(host.asked) == 3, description="the later is under way")
        host.may_answer.set()
        first, second = await earlier, await later
        url = f"{host.url}/a.png"
        assert first.warnings == [f"a.png: a later upload to {url} took its place."]
        assert first.urls == [url, f"{host.url}/b.png"]
        assert second == Uploaded([url], None, [])
        assert host.files["/a.png"] == b"new0"
        assert [data["url"] for _, data in events].count(url) == 1

    async def test_of_many_the_last_stays(self, host: Host, uploads: Uploads, made: Made) -> None:
        host.may_answer.clear()
        destination = to(uploads, host.url)
        sending = []
        for number in range(5):
            entries = made("a.png", body=str(number).encode())
            sending.append(asyncio.create_task(uploads.upload(destination, entries, [])))
            await asyncio.sleep(0)
        host.may_answer.set()
        done = await asyncio.gather(*sending)
        assert [len(one.warnings) for one in done] == [1, 1, 1, 1, 0]
        assert host.files["/a.png"] == b"40"

    async def test_a_cancelled_one_is_not_superseded(
        self, host: Host, uploads: Uploads, made: Made
    ) -> None:
        host.may_answer.clear()
        task = asyncio.create_task(uploads.upload(to(uploads, host.url), made("a.png"), []))
        await wait_until(lambda: host.in_flight == 1, description="it is under way")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: host.in_flight == 0, description="nothing is under way")
        host.may_answer.set()
        done = await uploads.upload(to(uploads, host.url), made("a.png"), [])
        assert done.warnings == []


class TestCheck:
    async def test_what_can_be_reached(self, host: Host, uploads: Uploads) -> None:
        uploads.check(to(uploads, host.url), [])

    @pytest.mark.parametrize(
        "prefix", ["http://10.0.0.1/x", "http://169.254.169.254/", "http://[::1]/"]
    )
    async def test_what_the_guard_refuses(self, uploads: Uploads, prefix: str) -> None:
        with pytest.raises(errors.InvalidRequest, match="cannot be uploaded to") as failure:
            uploads.check(to(uploads, prefix), [])
        assert failure.value.location == "http_upload.url_prefix"
        assert "ALLOW_PRIVATE_NETWORKS" in str(failure.value.hint)

    @pytest.mark.parametrize("prefix", ["http:///", "http://host:99999/", "http://a b/"])
    async def test_what_is_no_url(self, uploads: Uploads, prefix: str) -> None:
        destination = Destination("http_upload", prefix, prefix, True)
        with pytest.raises(errors.InvalidRequest) as failure:
            uploads.check(destination, [])
        assert failure.value.status == 422


class Bucket:
    """A storage with settings, as far as uploads ask it."""

    name = "s3"

    def __init__(self, missing: str | None = None, failure: Verdict | None = None) -> None:
        self.missing = missing
        self.failure = failure
        self.written: list[tuple[str, Any, Path, str]] = []

    def of(self, url: str) -> Any:
        return self

    def check(self, url: str, location: str | None = None) -> None:
        pass

    def is_configured(self, url: str, auth: Any) -> str | None:
        return None if auth else self.missing

    async def write(self, url: str, auth: Any, source: Path, content_type: str) -> None:
        self.written.append((url, auth, source, content_type))

    async def presign(self, url: str, auth: Any, seconds: int) -> str:
        if self.failure is not None:
            raise TransferFailed(self.failure)
        return f"https://signed/{url}?for={seconds}"


def bucket(presign_s: int | None = None) -> Destination:
    spec = {"bucket": "b", "prefix": "x/", "presign_s": presign_s}
    found = Uploads(Bucket(), notify=lambda *_: None).destination({"s3": spec})
    assert found is not None
    return found


class TestBuckets:
    def test_one_that_is_not_configured_is_refused(self) -> None:
        uploads = Uploads(Bucket("AWS_REGION is not set."), notify=lambda *_: None)
        with pytest.raises(errors.DestinationNotConfigured, match="AWS_REGION") as failure:
            uploads.check(bucket(), [])
        assert (failure.value.status, failure.value.location) == (422, "s3")

    def test_credentials_of_the_request_make_up_for_it(self) -> None:
        own = Credential(url_pattern="s3://b/**", auth=CREDENTIAL.auth)
        Uploads(Bucket("missing"), notify=lambda *_: None).check(bucket(), [own])

    async def test_links_that_live_for_a_while(self, made: Made) -> None:
        found = Bucket()
        done = await Uploads(found, notify=lambda *_: None).upload(bucket(60), made("a.png"), [])
        assert done == Uploaded(["s3://b/x/a.png"], ["https://signed/s3://b/x/a.png?for=60"], [])
        assert [url for url, *_ in found.written] == ["s3://b/x/a.png"]

    async def test_a_link_that_cannot_be_made_does_not_undo_the_upload(self, made: Made) -> None:
        found = Bucket(failure=Verdict("there is no key to sign with", "url"))
        done = await Uploads(found, notify=lambda *_: None).upload(bucket(60), made("a.png"), [])
        assert done.urls == ["s3://b/x/a.png"]
        assert done.presigned is None
        assert done.warnings == [
            "No link to s3://b/x/a.png could be made: there is no key to sign with."
        ]
