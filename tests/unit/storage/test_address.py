"""URLs: parsed, shown without secrets, and what goes along with a fetch."""

from __future__ import annotations

import pytest
from yarl import URL

from gateway import errors
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth, QueryAuth, S3Auth
from gateway.storage import address


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x",
        "HTTPS://Host.example:8443/a%2Bb?x=%2f&y=a+b",
        "http://[2606:4700::1111]/x",
        "http://user:p%40ss@host/x",
        "http://bücher.example/ü",
        "http://host/with space.png",
        "http://host./x",
        "http://xn--fa-hia.example/x",
        f"http://{'x' * 63}.example/x",
    ],
)
def test_urls_that_can_be_fetched(url: str) -> None:
    assert address.parse(url).scheme in ("http", "https")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///path",
        "http://host:0/",
        "http://host:65536/",
        "http://host\r\nX: y/",
        "http://ho st/",
        "http://%31%32%37.0.0.1/",
        "http://host\\@evil/",
        "http://[::1/",
        "http://a..b/",
        "http://.b/",
        "http://xn--/",
        "http://xn--a/",
        f"http://{'x' * 64}.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://host/" + "x" * 9000,
        "nonsense",
    ],
)
def test_urls_that_cannot(url: str) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        address.parse(url, "prompt.1.inputs.image")
    assert refused.value.location == "prompt.1.inputs.image"
    assert len(refused.value.message) < 200


def test_what_the_caller_escaped_stays_as_it_is() -> None:
    url = "https://host/a%2Bb%20c?X-Sig=a%2Fb%3D&y=a+b"

    assert str(address.parse(url)) == url


def test_a_redirect_to_a_host_that_no_look_up_takes() -> None:
    assert address.joined(URL("http://host/x"), "http://a..b/") is None


@pytest.mark.parametrize("host", ["１２７.0.0.1", "127。0。0。1"])
def test_digits_of_other_scripts_become_an_address(host: str) -> None:
    assert address.parse(f"http://{host}/").raw_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:secret@host/x", "https://host/x"),
        ("https://host/x?token=secret&size=full", "https://host/x?token=***&size=full"),
        ("https://host/x?X-Amz-Signature=secret", "https://host/x?X-Amz-Signature=***"),
        ("https://host/x?flag", "https://host/x?flag"),
        ("http://host:99999/secret", "the URL"),
        ("hf://org/repo@v1/a b?token=secret", "hf://org/repo@v1/a%20b?token=***"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("file:///models/x", "file:///models/x"),
        ("s3:///secret", "the URL"),
        ("other://host/secret", "the URL"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, expected: str) -> None:
    assert address.shown(url) == expected


def test_a_long_url_is_shown_in_part() -> None:
    assert len(address.shown("https://host/" + "x" * 2000)) <= 300


@pytest.mark.parametrize(
    ("url", "auth", "headers", "sent"),
    [
        ("http://h/x", None, {}, "http://h/x"),
        ("http://h/x", BearerAuth(type="bearer", token="t"), {"Authorization": "Bearer t"}, None),
        (
            "http://h/x",
            BasicAuth(type="basic", username="ü", password="p"),
            {"Authorization": "Basic w7w6cA=="},
            None,
        ),
        (
            "http://h/x",
            HeaderAuth(type="header", header_name="K", header_value="v"),
            {"K": "v"},
            None,
        ),
        ("http://u:p%40@h/x", None, {"Authorization": "Basic dTpwQA=="}, "http://h/x"),
        (
            "http://u:p@h/x",
            BearerAuth(type="bearer", token="t"),
            {"Authorization": "Bearer t"},
            "http://h/x",
        ),
        (
            "http://h/x?a=%2f",
            QueryAuth(type="query", query_param="key", query_value="a&b"),
            {},
            "http://h/x?a=%2f&key=a%26b",
        ),
        (
            "http://h/x?key=own",
            QueryAuth(type="query", query_param="key", query_value="v"),
            {},
            "http://h/x?key=own",
        ),
    ],
)
def test_credentials_become_headers_or_a_query(
    url: str, auth: Auth | None, headers: dict[str, str], sent: str | None
) -> None:
    parsed = address.parse(url)
    secrets = address.secrets_of(parsed, auth)

    assert secrets.headers == headers
    assert str(secrets.applied(parsed)) == (sent or url)


def test_s3_keys_do_not_fit_http() -> None:
    auth = S3Auth(type="s3", access_key_id="a", secret_access_key="s")

    with pytest.raises(errors.InvalidInput, match="type s3"):
        address.secrets_of(URL("http://h/x"), auth)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("https://a/x", "https://a/y", True),
        ("http://a/x", "http://A/y", True),
        ("http://a/x", "https://a/y", True),
        ("https://a/x", "http://a/y", False),
        ("https://a/x", "https://b/y", False),
        ("https://a/x", "https://a:444/y", False),
        ("http://a:81/x", "https://a/y", False),
        ("https://a/x", "https://sub.a/y", False),
    ],
)
def test_where_credentials_may_follow(before: str, after: str, expected: bool) -> None:
    assert address.keeps_secrets(URL(before), URL(after)) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/y?z=%2f", "http://a/y?z=%2f"),
        ("y", "http://a/b/y"),
        ("//c/y", "http://c/y"),
        ("https://u:p@c/y#f", "https://c/y"),
        ("https://c/a b", "https://c/a%20b"),
        ("file:///etc/passwd", None),
        ("ftp://c/y", None),
        ("http://[::1", None),
        ("http://c:0/", None),
    ],
)
def test_where_redirects_lead(target: str, expected: str | None) -> None:
    found = address.joined(URL("http://a/b/x"), target)

    assert (str(found) if found else None) == expected


@pytest.mark.parametrize(
    ("hosts", "url", "expected"),
    [
        (("a",), "https://A/x", True),
        (("A",), "https://a/x", True),
        (("a",), "https://b/x", False),
        (("a",), "https://sub.a/x", False),
        (("*",), "https://b/x", True),
        (("a:81",), "http://a:81/x", True),
        (("a:81",), "http://a:82/x", False),
        ((), "http://a/x", False),
    ],
)
def test_which_hosts_get_the_operator_s_header(
    hosts: tuple[str, ...], url: str, expected: bool
) -> None:
    assert address.OperatorHeader("K", "v", hosts).fits(URL(url)) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:p%40ss@host/x", ("https://host/x", "user:p%40ss")),
        ("https://@host/x", ("https://host/x", "")),
        ("https://host/x@y", ("https://host/x@y", None)),
        ("https://host?x=@y", ("https://host?x=@y", None)),
        ("hf://gpt2@main/model.bin", ("hf://gpt2@main/model.bin", None)),
        ("no url @ all", ("no url @ all", None)),
    ],
)
def test_user_and_password_of_a_url(url: str, expected: tuple[str, str | None]) -> None:
    assert address.parted(url) == expected
