"""Fetches over real sockets, from hosts that behave and hosts that do not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth, QueryAuth
from gateway.storage.address import OperatorHeader
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.fetcher import Fetcher, FetchRequest
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.pace import Patience
from gateway.storage.provider import Span, Stat
from tests.hosts import (
    OK,
    Answer,
    Asked,
    Host,
    Only,
    hang_up,
    partial,
    ranged,
    redirect,
    running,
    says,
    silence,
)

BODY = bytes(range(256)) * 4096  # 1 MiB
OTHER = bytes(reversed(BODY))
HALF = len(BODY) // 2
BEARER = BearerAuth(type="bearer", token="secret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


@dataclass
class Setup:
    """Opens a fetcher, fetches one URL, returns its bytes."""

    folder: Path

    async def __call__(
        self,
        url: str,
        auth: Auth | None = None,
        *,
        limit: int = 10 << 20,
        allow: tuple[str, ...] = ("127.0.0.0/8", "localhost"),
        **how: Any,
    ) -> bytes:
        http = HttpProvider(
            NetworkGuard(allow),
            timeouts=Timeouts(connect=1.0, stall=0.3),
            **{"proxies": {}, **how},
        )
        patience = Patience(attempts=3, wait_initial=0.01, wait_max=0.05)
        async with http.open(), Fetcher(Only(http), patience=patience).run() as fetcher:
            fetched = await fetcher.fetch(
                FetchRequest(
                    url=url,
                    auth=auth,
                    folder=self.folder,
                    stem="x",
                    limit_bytes=limit,
                    name=lambda path, arrival: "x.bin",
                    location="prompt.3.inputs.image",
                )
            )
        return fetched.path.read_bytes()

    async def refused(self, *args: Any, **how: Any) -> errors.GatewayError:
        refusal = await refused(self, *args, **how)
        assert not self.folder.exists() or list(self.folder.iterdir()) == []
        assert refusal.location == "prompt.3.inputs.image"
        return refusal


async def refused(fetch: Setup, *args: Any, **how: Any) -> errors.GatewayError:
    with pytest.raises(errors.GatewayError) as caught:
        await fetch(*args, **how)
    return caught.value


@pytest.fixture
def fetch(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "in")


async def test_a_file_with_a_length_and_one_without(fetch: Setup, host: Host) -> None:
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:]))
    with_length = host.on("/a", says(OK, BODY))
    without = host.on(
        "/b", says(OK, chunked + b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")
    )
    until_the_end = host.on("/c", says("HTTP/1.0 200 OK", BODY, Content_Length=None))

    assert [await fetch(url) for url in (with_length, without, until_the_end)] == [BODY] * 3
    assert host.asked[0].headers["accept-encoding"] == "identity"


async def test_a_broken_transfer_goes_on_where_it_broke(fetch: Setup, host: Host) -> None:
    url = host.on("/x", partial(BODY, cut=HALF), partial(BODY))

    assert await fetch(url) == BODY
    assert [(a.headers.get("range"), a.headers.get("if-range")) for a in host.asked] == [
        (None, None),
        (f"bytes={HALF}-", '"1"'),
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(says(OK, OTHER, ETag='"2"'), id="a new version as a whole"),
        pytest.param(partial(OTHER, '"2"'), id="a part of a new version"),
        pytest.param(partial(OTHER, shift=1), id="another part than was asked for"),
        pytest.param(says("HTTP/1.1 416 No"), id="a range that is not there"),
    ],
)
async def test_two_versions_are_never_stitched(fetch: Setup, host: Host, second: Answer) -> None:
    url = host.on("/x", partial(BODY, cut=HALF), second, says(OK, OTHER, ETag='"2"'))

    assert await fetch(url) == OTHER


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"1"'},
        {"Last_Modified": "Sat, 21 Nov 2026 04:00:00 GMT", "Date": "Sat, 21 Nov 2026 04:00:30 GMT"},
        {"Content_Encoding": "x-other", "ETag": '"1"'},
    ],
)
async def test_without_a_strong_validator_it_begins_again(
    fetch: Setup, host: Host, headers: dict[str, str]
) -> None:
    cut = says(OK, BODY[:HALF], **{"Content_Length": len(BODY), **headers})
    url = host.on("/x", cut, says(OK, OTHER))

    assert await fetch(url) == OTHER
    assert "range" not in host.asked[1].headers


async def test_an_old_date_is_validator_enough(fetch: Setup, host: Host) -> None:
    dates = {
        "Last_Modified": "Sat, 21 Nov 2026 04:00:00 GMT",
        "Date": "Sat, 21 Nov 2026 05:00:00 GMT",
    }
    cut = says(OK, BODY[:HALF], **{"Content_Length": len(BODY), **dates})
    url = host.on("/x", cut, partial(BODY, None))

    assert await fetch(url) == BODY
    assert host.asked[1].headers["if-range"] == "Sat, 21 Nov 2026 04:00:00 GMT"


async def test_a_host_that_always_breaks_off_is_given_up(fetch: Setup, host: Host) -> None:
    url = host.on("/x", says(OK, BODY[:HALF], Content_Length=len(BODY)))

    refusal = await fetch.refused(url)

    assert "broke off" in refusal.message
    assert refusal.details["fault"] == "host"
    assert len(host.asked) == 3


@pytest.mark.parametrize(
    "failing",
    [
        says("HTTP/1.1 500 Oops"),
        says("HTTP/1.1 503 Busy", Retry_After="0"),
        says("HTTP/1.1 429 Slow down", Retry_After="Sat, 21 Nov 2026 04:00:00 GMT"),
        says("HTTP/1.1 408 Timeout"),
        hang_up,
    ],
)
async def test_what_may_pass_is_tried_again(fetch: Setup, host: Host, failing: Answer) -> None:
    url = host.on("/x", failing, failing, says(OK, BODY))

    assert await fetch(url) == BODY


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 451])
async def test_what_will_not_pass_is_told_at_once(fetch: Setup, host: Host, status: int) -> None:
    url = host.on("/x", says(f"HTTP/1.1 {status} No", b"", ETag='"1"'))

    refusal = await fetch.refused(url)

    assert type(refusal) is errors.InputNotFetched
    assert f"the host answered {status}" in refusal.message
    assert refusal.details["fault"] == "url"
    assert len(host.asked) == 1


async def test_a_pause_that_the_host_asks_for_is_kept(fetch: Setup, host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 429 Slow down", Retry_After="1"), says(OK, BODY))
    began = time.monotonic()

    await fetch(url)

    assert time.monotonic() - began >= 1


async def test_a_silent_host_is_given_up(fetch: Setup, host: Host) -> None:
    async def stops(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, BODY[:10], Content_Length=len(BODY))(asked, writer)
        await silence(asked, writer)

    for path, answer in (("/never", silence), ("/stops", stops)):
        began = time.monotonic()
        refusal = await fetch.refused(host.on(path, answer))

        assert "for too long" in refusal.message
        assert time.monotonic() - began < 5
    # Each silence costs the caller the whole timeout: one more try, and no third.
    assert len(host.asked) == 4


async def test_a_host_that_stops_once_is_forgiven(fetch: Setup, host: Host) -> None:
    assert await fetch(host.on("/x", silence, says(OK, BODY))) == BODY


async def test_nobody_listens(fetch: Setup, host: Host) -> None:
    free = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    await free.wait_closed()

    refusal = await fetch.refused(f"http://127.0.0.1:{port}/x")

    assert "no connection" in refusal.message


async def test_a_name_that_does_not_resolve(fetch: Setup) -> None:
    refusal = await fetch.refused("http://no-such-host.invalid/x")

    assert refusal.details["reason"] in (
        "its host name does not resolve",
        "its host name could not be looked up just now",
    )


async def test_3_gb_are_refused_before_a_byte_is_read(fetch: Setup, host: Host) -> None:
    async def large(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, b"x", Content_Length=3 << 30)(asked, writer)
        await silence(asked, writer)

    began = time.monotonic()
    refusal = await fetch.refused(host.on("/x", large))

    assert (type(refusal), refusal.status) == (errors.InputTooLarge, 413)
    assert "3,072 MB" in refusal.message
    assert "MAX_INPUT_MB (10 MB)" in refusal.message
    assert time.monotonic() - began < 0.3
    assert len(host.asked) == 1


async def test_a_body_without_end_is_cut_at_the_limit(fetch: Setup, host: Host) -> None:
    async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{OK}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(BODY), BODY))
            await writer.drain()

    refusal = await fetch.refused(host.on("/x", endless), limit=3 << 20)

    assert type(refusal) is errors.InputTooLarge
    assert len(host.asked) == 1


@pytest.mark.parametrize("length", [len(BODY) - 1, 5, 0])
async def test_a_body_longer_than_its_length_is_noticed(
    fetch: Setup, host: Host, length: int
) -> None:
    refusal = await fetch.refused(host.on("/x", says(OK, BODY, Content_Length=length)))

    assert refusal.details["fault"] == "host"


@pytest.mark.parametrize("length", ["-5", "many", "5, 6"])
async def test_a_length_that_is_none_is_an_answer_that_is_none(
    fetch: Setup, host: Host, length: str
) -> None:
    refusal = await fetch.refused(host.on("/x", says(OK, BODY, Content_Length=length)))

    assert "not valid HTTP" in refusal.message


async def test_a_body_compressed_unasked_is_unpacked_within_the_limit(
    fetch: Setup, host: Host
) -> None:
    fine = host.on("/a", says(OK, gzip.compress(BODY), Content_Encoding="gzip"))
    bomb = host.on("/b", says(OK, gzip.compress(bytes(64 << 20)), Content_Encoding="gzip"))

    assert await fetch(fine) == BODY
    (fetch.folder / "x.bin").unlink()
    assert type(await fetch.refused(bomb)) is errors.InputTooLarge


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(fetch: Setup, host: Host, status: int) -> None:
    host.on("/deep/y", redirect("../z?a=%2F", status))
    host.on("/z", says(OK, BODY))

    assert await fetch(host.on("/x", redirect("/deep/y", status))) == BODY
    assert host.asked[-1].target == "/z?a=%2F"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "not on the public internet"),
        ("http://2852039166/", "not on the public internet"),
        ("http://[::ffff:169.254.169.254]/", "not on the public internet"),
        ("http://192.168.0.1/", "not on the public internet"),
        ("http://0.0.0.0/", "not on the public internet"),
        ("file:///etc/passwd", "no http or https URL"),
        ("ftp://127.0.0.1/", "no http or https URL"),
        ("", "no http or https URL"),
        ("/x", "more than 10 times"),
    ],
)
async def test_a_redirect_is_judged_like_a_url(
    fetch: Setup, host: Host, target: str, said: str
) -> None:
    refusal = await fetch.refused(host.on("/x", redirect(target)))
    assert "its host" not in refusal.message

    assert type(refusal) is errors.InputNotFetched
    assert said in refusal.message
    assert "169.254" not in refusal.message


async def test_a_name_that_leads_inside_is_refused(fetch: Setup, host: Host) -> None:
    host.on("/x", says(OK, BODY))

    refusal = await fetch.refused(host.url(host="localhost"), allow=())

    assert "not on the public internet" in refusal.message
    assert "ALLOW_PRIVATE_NETWORKS" in str(refusal.hint)
    assert host.asked == []
    assert await fetch(host.url(host="localhost"), allow=("localhost",)) == BODY


@pytest.mark.parametrize(
    ("auth", "user", "header", "value", "target"),
    [
        (BEARER, "", "authorization", "Bearer secret", "/x?a=1"),
        (
            BasicAuth(type="basic", username="u", password="p"),
            "",
            "authorization",
            "Basic " + base64.b64encode(b"u:p").decode(),
            "/x?a=1",
        ),
        (
            HeaderAuth(type="header", header_name="X-Key", header_value="v"),
            "",
            "x-key",
            "v",
            "/x?a=1",
        ),
        (
            QueryAuth(type="query", query_param="key", query_value="a b"),
            "",
            "authorization",
            None,
            "/x?a=1&key=a+b",
        ),
        (
            None,
            "u:p%40@",
            "authorization",
            "Basic " + base64.b64encode(b"u:p@").decode(),
            "/x?a=1",
        ),
    ],
)
async def test_credentials_arrive(
    fetch: Setup,
    host: Host,
    auth: Auth | None,
    user: str,
    header: str,
    value: str | None,
    target: str,
) -> None:
    host.on("/x", says(OK, BODY))

    await fetch(f"http://{user}127.0.0.1:{host.port}/x?a=1", auth)

    assert host.asked[0].headers.get(header) == value
    assert host.asked[0].target == target


@pytest.mark.parametrize(
    "auth", [BEARER, QueryAuth(type="query", query_param="key", query_value="secret"), None]
)
async def test_credentials_stay_on_their_host(fetch: Setup, host: Host, auth: Auth | None) -> None:
    def sent(asked: Asked) -> bool:
        return "authorization" in asked.headers or "key=secret" in asked.target

    elsewhere = host.url("/elsewhere", "localhost")
    host.on("/here", redirect(elsewhere))
    host.on("/elsewhere", redirect(host.url("/back")))
    host.on("/back", says(OK, BODY))
    host.on("/x", redirect("/here"))

    await fetch(f"http://u:secret@127.0.0.1:{host.port}/x", auth)

    # Once dropped they stay dropped, also where the way leads back.
    assert [sent(asked) for asked in host.asked] == [True, True, False, False]


async def test_the_operator_s_header_goes_to_its_hosts_alone(fetch: Setup, host: Host) -> None:
    host.on("/x", redirect(host.url("/y", "localhost")))
    host.on("/y", says(OK, BODY))

    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("127.0.0.1",)))
    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("localhost",)))
    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("*",)))

    sent = ["x-op" in asked.headers for asked in host.asked]
    assert sent == [True, False, False, True, True, True]


async def test_a_caller_s_credentials_win_over_the_operator_s(fetch: Setup, host: Host) -> None:
    host.on("/x", says(OK, BODY))

    await fetch(host.url(), BEARER, header=OperatorHeader("authorization", "operator", ("*",)))

    assert host.asked[0].headers["authorization"] == "Bearer secret"


async def test_secrets_are_not_told(fetch: Setup, host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 404 No")).replace("http://", "http://u:secret@")
    auth = QueryAuth(type="query", query_param="key", query_value="secret")

    refusal = await fetch.refused(f"{url}?token=secret", auth)

    assert "secret" not in str(refusal.to_dict())
    assert "/x?token=***" in refusal.message


async def test_a_proxy_is_used_for_what_it_is_for(fetch: Setup, host: Host) -> None:
    name = "http://files.invalid/x"
    host.on(name, says(OK, BODY))
    host.on("/x", says(OK, OTHER))
    proxies = {"http": f"127.0.0.1:{host.port}", "no": "localhost"}

    through = await fetch(name, allow=(), proxies=proxies)
    past = await fetch(host.url(host="localhost"), proxies=proxies)
    literal = await refused(fetch, "http://10.0.0.1/x", allow=(), proxies=proxies)
    inside = await refused(fetch, "http://localhost/x", allow=(), proxies={"http": proxies["http"]})

    assert (through, past) == (BODY, OTHER)
    assert [asked.target for asked in host.asked] == [name, "/x"]
    assert "not on the public internet" in literal.message
    assert "not on the public internet" in inside.message


@contextlib.asynccontextmanager
async def opened(*allow: str, **how: Any) -> AsyncIterator[HttpProvider]:
    guard = NetworkGuard(allow or ("127.0.0.0/8", "localhost"))
    how = {"proxies": {}, "timeouts": Timeouts(connect=1.0, stall=0.3), **how}
    async with HttpProvider(guard, **how).open() as provider:
        yield provider


HEAD = {
    "Content_Length": 77,
    "ETag": '"1"',
    "Content_Type": "model/x",
    "Content_Disposition": 'attachment; filename="a b.bin"',
}


async def test_a_stat_is_a_head(host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 302 Found", Location="/y"))
    host.on("/y", says(OK, **HEAD))

    async with opened() as provider:
        stat = await provider.stat(url, BEARER)

    assert stat == Stat(77, '"1"', "model/x", "a b.bin", is_ranged=True)
    assert [asked.method for asked in host.asked] == ["HEAD", "HEAD"]
    assert host.asked[1].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_where_a_head_is_refused_a_byte_is_asked_for(host: Host, status: int) -> None:
    head = says(f"HTTP/1.1 {status} No")
    url = host.on("/x", head, partial(BODY))
    ignoring = host.on("/y", head, says(OK, BODY, ETag='"2"'))
    empty = host.on("/z", head, says("HTTP/1.1 416 No"), says(OK, b""))

    async with opened() as provider:
        found = [await provider.stat(each, None) for each in (url, ignoring, empty)]

    assert [(stat.size, stat.version) for stat in found] == [
        (len(BODY), '"1"'),
        (len(BODY), '"2"'),
        (0, None),
    ]
    assert host.asked[1].headers["range"] == "bytes=0-0"


async def test_a_stat_of_what_is_not_there(host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 404 No"))
    refused_twice = host.on("/y", says("HTTP/1.1 403 No"))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match="404"):
            await provider.stat(url, None)
        with pytest.raises(TransferFailed, match="403") as caught:
            await provider.stat(refused_twice, None)

    assert caught.value.verdict.is_refused


async def test_a_part_is_what_was_asked_for(host: Host) -> None:
    url = host.on("/x", ranged(BODY))

    async with opened() as provider, provider.read(url, None, Span(10, 30, '"1"')) as reply:
        assert b"".join([chunk async for chunk in reply.chunks()]) == BODY[10:30]

    assert (reply.start, reply.stat.size) == (10, len(BODY))


async def test_a_part_that_reaches_too_far_is_none(host: Host) -> None:
    url = host.on("/x", partial(BODY))

    async with opened() as provider:
        with pytest.raises(TransferFailed) as caught:
            async with provider.read(url, None, Span(10, 30)):
                pass

    assert caught.value.verdict == MISMATCH


def after_body(answer: Answer) -> Answer:
    """Answer when the body has come: whoever hangs up sooner may be heard of as a broken line."""

    async def heard(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asked.body()
        await answer(asked, writer)

    return heard


class Taking:
    """A host that keeps what is put."""

    def __init__(self, status: int = 201) -> None:
        self.body = b""
        self.status = status

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.body = await asked.body()
        await says(f"HTTP/1.1 {self.status} Told", b"")(asked, writer)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(BODY)
    return path


async def test_an_upload_arrives(host: Host, source: Path) -> None:
    taking = Taking()
    url = host.on("/x", taking)

    async with opened() as provider:
        await provider.write(f"{url}?a=%2F", BEARER, source, "image/png")

    (asked,) = host.asked
    assert (asked.method, asked.target) == ("PUT", "/x?a=%2F")
    assert taking.body == BODY
    assert asked.headers["content-type"] == "image/png"
    assert asked.headers["content-length"] == str(len(BODY))
    assert asked.headers["authorization"] == "Bearer secret"
    assert "transfer-encoding" not in asked.headers


async def test_an_empty_file_can_be_uploaded(host: Host, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    url = host.on("/x", Taking())

    async with opened() as provider:
        await provider.write(url, None, tmp_path / "empty", "text/plain")

    assert host.asked[0].headers["content-length"] == "0"


@pytest.mark.parametrize("status", [307, 308])
async def test_an_upload_is_sent_on_without_its_secrets(
    host: Host, source: Path, status: int
) -> None:
    taking = Taking()
    url = host.on("/x", after_body(redirect("/y", status)))
    host.on("/y", after_body(redirect(host.url("/z", "localhost"), status)))
    host.on("/z", taking)

    async with opened() as provider:
        await provider.write(url, BEARER, source, "image/png")

    assert taking.body == BODY
    assert ["authorization" in asked.headers for asked in host.asked] == [True, True, False]


@pytest.mark.parametrize(
    ("status", "said", "retryable"),
    [
        (303, "takes no upload", False),
        (302, "takes no upload", False),
        (400, "400", False),
        (401, "refuses the upload", False),
        (403, "refuses the upload", False),
        (404, "takes no upload", False),
        (429, "429", True),
        (503, "503", True),
    ],
)
async def test_an_upload_that_is_refused(
    host: Host, source: Path, status: int, said: str, retryable: bool
) -> None:
    url = host.on("/x", Taking(status))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match=said) as caught:
            await provider.write(url, None, source, "image/png")

    assert caught.value.verdict.retryable is retryable


async def test_an_upload_that_is_refused_at_once(host: Host, source: Path) -> None:
    source.write_bytes(bytes(8 << 20))
    url = host.on("/x", says("HTTP/1.1 403 No", Connection="close"))

    async with opened() as provider:
        with pytest.raises(TransferFailed):
            await provider.write(url, None, source, "image/png")


async def test_a_host_that_takes_nothing_is_given_up(host: Host, source: Path) -> None:
    over = asyncio.Event()

    async def takes_nothing(_: Asked, __: asyncio.StreamWriter) -> None:
        await over.wait()

    source.write_bytes(bytes(32 << 20))

    async with opened(timeouts=Timeouts(upload=0.3)) as provider:
        with pytest.raises(TransferFailed, match="too long"):
            await provider.write(host.on("/x", takes_nothing), None, source, "image/png")
    over.set()


async def test_a_slow_upload_is_no_silence(host: Host, source: Path) -> None:
    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        assert asked.read is not None
        for _ in range(10):
            await asked.read(100 << 10)
            await asyncio.sleep(0.1)
        await says("HTTP/1.1 200 Fine")(asked, writer)

    source.write_bytes(bytes(1000 << 10))

    async with opened(timeouts=Timeouts(stall=0.2)) as provider:
        await provider.write(host.on("/x", slowly), None, source, "image/png")


async def test_an_upload_stays_under_the_guard(host: Host, source: Path) -> None:
    url = host.on("/x", redirect("http://169.254.169.254/x", 307))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match="public internet"):
            await provider.write(url, None, source, "image/png")
