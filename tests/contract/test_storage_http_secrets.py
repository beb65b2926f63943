"""Where a fetch may lead, and who sees its credentials on the way."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import errors
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth, QueryAuth
from gateway.storage.address import OperatorHeader
from tests.contract.fetching import Fetching, refused
from tests.hosts import (
    OK,
    Asked,
    Host,
    redirect,
    running,
    says,
)

BODY = bytes(range(256)) * 4096  # 1 MiB
OTHER = bytes(reversed(BODY))
BEARER = BearerAuth(type="bearer", token="secret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


@pytest.fixture
def fetch(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "in")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(fetch: Fetching, host: Host, status: int) -> None:
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
    fetch: Fetching, host: Host, target: str, said: str
) -> None:
    refusal = await fetch.refused(host.on("/x", redirect(target)))
    assert "its host" not in refusal.message

    assert type(refusal) is errors.InputNotFetched
    assert said in refusal.message
    assert "169.254" not in refusal.message


async def test_a_name_that_leads_inside_is_refused(fetch: Fetching, host: Host) -> None:
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
    fetch: Fetching,
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
async def test_credentials_stay_on_their_host(
    fetch: Fetching, host: Host, auth: Auth | None
) -> None:
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


async def test_the_operator_s_header_goes_to_its_hosts_alone(fetch: Fetching, host: Host) -> None:
    host.on("/x", redirect(host.url("/y", "localhost")))
    host.on("/y", says(OK, BODY))

    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("127.0.0.1",)))
    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("localhost",)))
    await fetch(host.url("/x"), header=OperatorHeader("X-Op", "secret", ("*",)))

    sent = ["x-op" in asked.headers for asked in host.asked]
    assert sent == [True, False, False, True, True, True]


async def test_a_caller_s_credentials_win_over_the_operator_s(fetch: Fetching, host: Host) -> None:
    host.on("/x", says(OK, BODY))

    await fetch(host.url(), BEARER, header=OperatorHeader("authorization", "operator", ("*",)))

    assert host.asked[0].headers["authorization"] == "Bearer secret"


async def test_secrets_are_not_told(fetch: Fetching, host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 404 No")).replace("http://", "http://u:secret@")
    auth = QueryAuth(type="query", query_param="key", query_value="secret")

    refusal = await fetch.refused(f"{url}?token=secret", auth)

    assert "secret" not in str(refusal.to_dict())
    assert "/x?token=***" in refusal.message


async def test_a_proxy_is_used_for_what_it_is_for(fetch: Fetching, host: Host) -> None:
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
