"""No secret is ever written, told, or sent where it does not belong: everything is searched."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.acceptance.conftest import Gateway, png
from tests.listening import listening
from tests.weights import decoding, safetensors

#: Planted: each is unlike anything else that could be written.
HEADER = "planted-header-5f1c9a"
TOKEN = "planted-token-83ab17"
QUERY = "planted-query-0c44de"
PASSWORD = "planted-password-9e2b60"
EXTRA = "planted-extra-71d0f3"
HF_TOKEN = "hf_plantedtoken4b8e21"
AWS_SECRET = "planted-aws-secret-aa52c7"
WEBHOOK = base64.b64encode(b"planted-webhook-secret-d1").decode()
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
PLANTED = (HEADER, TOKEN, QUERY, PASSWORD, BASIC, EXTRA, HF_TOKEN, AWS_SECRET, WEBHOOK)


@dataclass
class Origin:
    """A host that asks for credentials, and another that must never see any."""

    url: str = ""
    other: str = ""
    #: Headers and targets that each of the two has seen.
    seen: list[str] = field(default_factory=list)
    seen_by_other: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        told = f"{request.path_qs} {dict(request.headers)}"
        self.seen.append(told)
        if not any(secret in told for secret in (TOKEN, QUERY, BASIC, HEADER)):
            return web.Response(status=401, text=f"no: {told}")
        if request.path.startswith("/moved/"):
            raise web.HTTPFound(f"{self.other}/{request.path.rpartition('/')[2]}")
        return _file(request)

    async def answer_elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.seen_by_other.append(f"{request.path_qs} {dict(request.headers)}")
        return _file(request)


def _file(request: web.Request) -> web.Response:
    name = request.path.rpartition("/")[2]
    if name.endswith(".png"):
        return web.Response(body=png(), headers={"ETag": '"1"'})
    if name.startswith("broken"):
        return web.Response(status=500, text=str(dict(request.headers)))
    return web.Response(body=safetensors(2048), headers={"ETag": '"1"'})


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    found = Origin()
    async with (
        listening(web.get("/{path:.*}", found.answer)) as found.url,
        listening(web.get("/{path:.*}", found.answer_elsewhere)) as found.other,
    ):
        yield found


@pytest.fixture(scope="module")
def secretive(start: Callable[..., Any]) -> Iterator[Gateway]:
    with start(
        ALLOW_PRIVATE_NETWORKS="127.0.0.0/8",
        LOG_LEVEL="debug",
        OUTPUT_TTL_S="3600",
        HF_TOKEN=HF_TOKEN,
        AWS_ACCESS_KEY_ID="AKPLANTED",
        AWS_SECRET_ACCESS_KEY=AWS_SECRET,
        WEBHOOK_SECRET=WEBHOOK,
        HTTP_AUTH_HEADER_NAME="X-Operator",
        HTTP_AUTH_HEADER_VALUE=HEADER,
        HTTP_AUTH_HOSTS="operator.example",
    ) as found:
        yield found


def bodies(origin: Origin) -> dict[str, dict[str, Any]]:
    """Return requests that carry a secret each, by a name for it."""
    bare = origin.url.removeprefix("http://")

    def with_auth(path: str, **auth: str) -> dict[str, Any]:
        given = [{"url_pattern": f"{origin.url}/**", "auth": auth}]
        return {"prompt": decoding(origin.url + path), "credentials": given}

    def with_picture(url: str, **fields: Any) -> dict[str, Any]:
        nodes = {
            "1": {"class_type": "LoadImage", "inputs": {"image": url}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
        }
        nodes["2"]["inputs"]["filename_prefix"] = "p"
        return {"prompt": nodes, **fields}

    bearer = {"type": "bearer", "token": TOKEN}
    return {
        "bearer": with_auth("/a/bearer.safetensors", **bearer),
        "basic": with_auth("/a/b.safetensors", type="basic", username="me", password=PASSWORD),
        "header": with_auth("/a/h.safetensors", type="header", header_name="X", header_value=TOKEN),
        "query": with_auth("/a/q.safetensors", type="query", query_param="t", query_value=QUERY),
        "moved": with_auth("/moved/m.safetensors", **bearer),
        "broken": with_auth("/a/broken.safetensors", **bearer),
        "user in a model's URL": {
            "prompt": decoding(f"http://me:{PASSWORD}@{bare}/a/u.safetensors")
        },
        "user in a picture's URL": with_picture(f"http://me:{PASSWORD}@{bare}/a/u.png"),
        "refused": with_picture(f"http://me:wrong{PASSWORD}@{bare}/b/r.png"),
        "extra data": with_picture(
            f"http://me:{PASSWORD}@{bare}/a/u.png", extra_data={"api_key": EXTRA}
        ),
    }


EXPECTED = {"broken": 400, "refused": 400}


def everything_written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


async def test_no_answer_and_no_file_holds_a_secret(secretive: Gateway, origin: Origin) -> None:
    answers = {}
    for name, body in bodies(origin).items():
        answers[name] = await secretive.ask(
            body={**body, "id": name.replace(" ", "-").replace("'", "")}
        )
    for path in ("/jobs", "/logs?tail=2000", "/metrics", "/cache", "/downloads"):
        answers[path] = await secretive.ask(path)

    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == {name: EXPECTED.get(name, 200) for name in answers}
    for name, answer in answers.items():
        leaked = [secret for secret in PLANTED if secret.encode() in answer.raw]
        assert not leaked, f"{name} answers {leaked}"
    for path, content in everything_written(secretive.folder):
        leaked = [secret for secret in PLANTED if secret.encode() in content]
        assert not leaked, f"{path} holds {leaked}"


async def test_a_redirect_takes_no_secret_to_another_host(
    secretive: Gateway, origin: Origin
) -> None:
    body = bodies(origin)["moved"]

    answer = await secretive.ask(body=body)

    assert answer.status == 200, answer.told
    assert any(TOKEN in told for told in origin.seen)
    assert origin.seen_by_other
    assert not [told for told in origin.seen_by_other for secret in PLANTED if secret in told]
