"""The gateway as the command line speaks to it: over HTTP, like any client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from gateway.cli.failure import CommandFailed
from gateway.cli.fetching import shown

DEFAULT_URL = "http://127.0.0.1:3000"

_CONNECT_TIMEOUT_S = 10.0
#: Characters that are told of a word in a file.
_LONGEST = 200
_ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Refused(CommandFailed):
    """The gateway answered, and the answer is not a success."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        """`body` is an error answer of the gateway, or whatever else was there instead."""
        self.status = status
        self.code = body.get("code")
        self.body = body
        error = body.get("error")
        message = error if isinstance(error, str) else f"The gateway answered {status}."
        super().__init__(message, hint=_hint(status, body))


def _hint(status: int, body: dict[str, Any]) -> str | None:
    if status == 401 and not body.get("hint"):
        return "Give the key with --key, or in GATEWAY_API_KEY."
    several = parameters_hint(body.get("errors")) or "\n      ".join(
        canvas_nodes(body.get("nodes"))
    )
    hint: str | None = body.get("hint")
    return several or hint or node_hint(body.get("node_errors"))


def parameters_hint(problems: Any) -> str | None:
    """Return what is wrong with which parameter, a line each, when there are several."""
    if not isinstance(problems, list) or len(problems) < 2:
        return None
    found = [
        f"{one.get('parameter')}: {one.get('message')}; allowed: {one.get('allowed')}"
        for one in problems
    ]
    return "\n      ".join(found)


def node_hint(node_errors: dict[str, Any] | None) -> str | None:
    """Return what is wrong with which node, a line each."""
    found = [
        f"node {node_id}: {error.get('message')}: {error.get('details')}"
        for node_id, entry in (node_errors or {}).items()
        for error in entry.get("errors", ())
    ]
    return "\n      ".join(found) or None


def canvas_nodes(nodes: Any) -> list[str]:
    """Return why which nodes of the canvas cannot be converted, a sentence each."""
    return [_canvas_node(node) for node in nodes or () if isinstance(node, dict)]


def _canvas_node(node: dict[str, Any]) -> str:
    # What stands in a file may be of any length.
    said = {key: str(value)[:_LONGEST] for key, value in node.items() if value}
    title = f" {said['title']!r}" if "title" in said else ""
    custom = f" of the custom node {said['custom_node']}" if "custom_node" in said else ""
    return (
        f"node {said.get('id')}{title} ({said.get('class_type')}){custom}: {said.get('message')}."
    )


class Unreached(CommandFailed):
    """The gateway did not answer, or the connection broke: another try may do better."""


@dataclass(frozen=True)
class Address:
    """Where the gateway is, and the key it asks for."""

    url: str = DEFAULT_URL
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries; raises CommandFailed."""
        # A file of keys leaves its line's end behind, be it one of Windows.
        key = (self.key or "").strip()
        if not key.isprintable():
            raise CommandFailed(
                "The API key has characters in it that no key has.",
                hint="Give one key, on one line, with --key or in GATEWAY_API_KEY.",
            )
        return {"Authorization": f"Bearer {key}"} if key else {}


class Client:
    """Requests to one gateway; failures are CommandFailed."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    @property
    def url(self) -> str:
        """Where the gateway is, without a slash at the end."""
        return self._url

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: Address) -> AsyncIterator[Client]:
        """Yield a client for one command."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=address.headers, timeout=timeout) as session:
            yield cls(session, address.url)

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer that is a success; raises Refused, CommandFailed."""
        try:
            async with self._session.request(method, f"{self._url}{path}", **options) as response:
                if response.status >= 400:
                    raise Refused(response.status, _object(await response.read()))
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise CommandFailed(
                f"{shown(self._url)!r} is not an address.", hint=f"For example: --url {DEFAULT_URL}"
            ) from None
        except aiohttp.ClientConnectorError as failure:
            reason = failure.os_error.strerror or failure.os_error
            raise Unreached(
                f"No gateway can be reached at {shown(self._url)} ({reason}).",
                hint="Start one with `gateway serve`, or say with --url where it is.",
            ) from None
        except (aiohttp.ClientError, TimeoutError) as failure:
            raise Unreached(
                f"The connection to {shown(self._url)} broke: {failure or 'no answer in time'}."
            ) from None

    async def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the object that the gateway answers."""
        async with self.request(method, path, timeout=_ANSWER_TIMEOUT, **options) as response:
            return _object(await response.read())


def job_path(job_id: str) -> str:
    """Return the address of a job; raises Refused for what can be no part of an address."""
    if job_id in ("", ".", ".."):
        raise Refused(404, {"error": f"There is no job {job_id!r}.", "code": "job_not_found"})
    return f"/jobs/{quote(job_id, safe='')}"


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
