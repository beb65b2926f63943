"""Who may call, from where, and where the gateway may reach."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Gateway
from tests.docs.running import ROOT, environment, free_port

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "guarded"}},
}
ORIGIN = "https://app.example.org"


@pytest.fixture(scope="session")
def guarded(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with keys from both places, one origin, strict requests and no private networks."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    digest = hashlib.sha256(b"from the file").hexdigest()
    keys.write_text(f"# who may call\nfiled:{digest}\n")
    with start(
        API_KEYS="ann:first-key,ben:second-key",
        API_KEYS_FILE=str(keys),
        CORS_ORIGINS=ORIGIN,
        STRICT_REQUESTS="true",
    ) as found:
        yield found


@pytest.fixture
def key() -> dict[str, str]:
    return {"X-API-Key": "first-key"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer ann:first-key"},
        {"Authorization": "Basic first-key"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"X-API-Key": "ann"},
        {"X-API-Key": hashlib.sha256(b"first-key").hexdigest()},
        {"X-API-Key": "schlüssel"},
    ],
)
@pytest.mark.parametrize("path", ["/prompt", "/jobs", "/logs", "/nowhere"])
async def test_no_key_or_a_wrong_one(guarded: Gateway, headers: dict[str, str], path: str) -> None:
    body = {"prompt": GRAPH} if path == "/prompt" else None
    answer = await guarded.ask(path, body, headers=headers)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert "API key" in answer.json["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first-key"},
        {"Authorization": "bearer second-key"},
        {"X-API-Key": "first-key"},
        {"X-API-Key": "second-key"},
        {"X-API-Key": "from the file"},
    ],
)
async def test_a_key_that_is_known(guarded: Gateway, headers: dict[str, str]) -> None:
    answer = await guarded.ask(body={"prompt": GRAPH}, headers=headers)
    assert (answer.status, len(answer.json["images"])) == (200, 1)


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/metrics"])
async def test_probes_and_metrics_need_no_key(guarded: Gateway, path: str) -> None:
    assert (await guarded.ask(path)).status == 200


async def test_a_key_is_in_no_answer_and_in_no_log(guarded: Gateway, key: dict[str, str]) -> None:
    await guarded.ask(body={"prompt": GRAPH}, headers=key)
    await guarded.ask("/jobs", headers={"X-API-Key": "first-key-mistyped"})
    lines = (await guarded.ask("/logs?tail=1000", headers=key)).raw
    log = (guarded.folder / "gateway.log").read_bytes()
    assert lines.count(b"request")
    for secret in (b"first-key", b"second-key", b"from the file"):
        assert secret not in lines + log


async def test_the_log_names_the_key_of_each_request(guarded: Gateway, key: dict[str, str]) -> None:
    await guarded.ask("/jobs?limit=7", headers=key)
    await guarded.ask("/jobs?limit=7")
    lines = (await guarded.ask("/logs?tail=1000", headers=key)).json["lines"]
    named = [line.get("key") for line in lines if line.get("path") == "/jobs"]
    assert named[-2:] == ["ann", None]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_logged_failure_shows_no_variables(form: str) -> None:
    """They may hold what callers entrust to us."""
    program = f"""
import sys
from gateway import log
log.configure("info", {form!r}, sys.stderr)
def fails(token):
    raise ValueError("told")
try:
    fails("entru" + "sted")
except ValueError:
    log.logger.exception("failed")
"""
    ended = subprocess.run(
        (sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "told" in ended.stderr
    assert "fails" in ended.stderr
    assert "entrusted" not in ended.stderr


async def test_strict_requests_refuse_an_unknown_field(
    guarded: Gateway, key: dict[str, str]
) -> None:
    answer = await guarded.ask(body={"prompt": GRAPH, "webhok": 1}, headers=key)
    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    assert "webhok" in answer.json["error"]
    assert answer.json["location"] == "webhok"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "http://localhost/x.png",
        "http://2130706433/x.png",
        "http://0x7f.1/x.png",
        "http://0/x.png",
        "http://[::1]/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http://10.0.0.1/x.png",
        "http://192.168.0.1/x.png",
        "http://172.16.0.1/x.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/x.png",
    ],
)
async def test_a_private_address_is_not_fetched_from(
    guarded: Gateway, key: dict[str, str], url: str
) -> None:
    graph = {**GRAPH, "1": {"class_type": "LoadImage", "inputs": {"image": url}}}
    answer = await guarded.ask(body={"prompt": graph}, headers=key)
    assert (answer.status, answer.json["code"]) == (400, "input_not_fetched")
    assert "not on the public internet" in answer.json["error"]
    assert "ALLOW_PRIVATE_NETWORKS" in answer.json["hint"]
    assert answer.json["location"] == "prompt.1.inputs.image"


async def test_a_preflight_from_an_origin_that_is_allowed(guarded: Gateway) -> None:
    """A browser sends it without the key."""
    asks = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key, content-type",
    }
    answer = await guarded.ask("/prompt", method="OPTIONS", headers=asks)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "x-api-key" in allowed
    assert "authorization" in allowed
    assert "content-type" in allowed


async def test_a_preflight_from_another_origin(guarded: Gateway) -> None:
    asks = {"Origin": "https://evil.example.org", "Access-Control-Request-Method": "POST"}
    answer = await guarded.ask("/prompt", method="OPTIONS", headers=asks)
    assert 400 <= answer.status < 500
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://evil.org", None)])
async def test_answers_name_the_origin_that_is_allowed(
    guarded: Gateway, key: dict[str, str], origin: str, allowed: str | None
) -> None:
    """Refusals too: the page must be able to read why."""
    for headers in (key, {}):
        answer = await guarded.ask(body={"prompt": GRAPH}, headers={**headers, "Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_start_that_others_could_reach_needs_keys(tmp_path: Path, address: str) -> None:
    ended = subprocess.run(
        (sys.executable, "-m", "gateway", "serve"),
        cwd=ROOT,
        env=environment(tmp_path, HOST=address, PORT=str(free_port())),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    for way_out in ("API_KEYS", "API_KEYS_FILE", "HOST=127.0.0.1", "ALLOW_INSECURE=true"):
        assert way_out in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("settings", [{"ALLOW_INSECURE": "true"}, {"API_KEYS": "ann:first-key"}])
async def test_a_start_that_others_can_reach(
    start: Callable[..., Any], settings: dict[str, str]
) -> None:
    with start(HOST="0.0.0.0", **settings) as found:
        answer = await found.ask("/jobs")
        assert answer.status == (200 if "ALLOW_INSECURE" in settings else 401)
