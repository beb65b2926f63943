"""What ComfyUI says of its node classes, from a file or from ComfyUI itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gateway import loose_json, written
from gateway.cli import fetching
from gateway.cli import settings as setting
from gateway.cli.failure import CommandFailed

_MOST_BYTES = 500 << 20
_HINT = (
    "--object-info takes what ComfyUI answers to GET /object_info, {class: {input, output, ..}}: "
    "its address, or a file that it was saved to, as by "
    "curl -s http://127.0.0.1:8188/object_info > object_info.json"
)
_NO_COMFYUI = (
    "This is a gateway, and no ComfyUI: give the address of the ComfyUI behind it, as "
    "http://127.0.0.1:8188, or a file that its /object_info was saved to."
)
_ANOTHER = (
    "ComfyUI tells of its nodes at /object_info: give its address, or a file that it was saved to."
)


async def read(source: str | None) -> dict[str, Any]:
    """Return the mapping of `/object_info`: class -> definition; raises CommandFailed.

    Without a source, ComfyUI is asked where the settings of the environment say that it is.
    """
    if source is None:
        return await _asked(f"{setting.read().comfy_url}/object_info")
    if fetching.is_url(source):
        return await _asked(_address(source))
    return definitions(source, await asyncio.to_thread(_bytes, source))


async def _asked(url: str) -> dict[str, Any]:
    try:
        raw = await fetching.fetched(url, _MOST_BYTES)
    except fetching.Answered as failure:
        raise CommandFailed(
            f"ComfyUI cannot be asked for its nodes: {failure.message}",
            hint=_NO_COMFYUI if _is_gateway(failure.body) else _ANOTHER,
        ) from None
    except CommandFailed as failure:
        raise CommandFailed(
            f"ComfyUI cannot be asked for its nodes: {failure.message}",
            hint="Start it, or give --object-info a file that /object_info was saved to.",
        ) from None
    return definitions(fetching.shown(url), raw)


def _is_gateway(body: bytes) -> bool:
    """Whether an error answer is one of ours."""
    try:
        found = loose_json.parse(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"error", "code"} <= found.keys()


def _address(url: str) -> str:
    """Return where `/object_info` is, also of an address that names only ComfyUI."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # No address: who asks there says so.
        return url
    bare = parts.path in ("", "/") and not parts.query
    return urlunsplit(parts._replace(path="/object_info")) if bare else url


def _bytes(source: str) -> bytes:
    try:
        with Path(source).open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as failure:
        raise CommandFailed(f"{source}: {failure.strerror}.", hint=_HINT) from None
    if len(raw) > _MOST_BYTES:
        raise CommandFailed(f"{source} holds more than {_MOST_BYTES >> 20} MB.", hint=_HINT)
    return raw


def definitions(source: str, raw: bytes) -> dict[str, Any]:
    """Return the classes out of JSON, bare or as {"object_info": them}; raises CommandFailed."""
    from gateway import given

    try:
        # Custom nodes put NaN and Infinity into what they say of themselves.
        found = written.parse(raw)
    except written.NotJson as failure:
        said = str(failure) if written.is_json(raw) else given.instead(raw[: written.HEAD_BYTES])
        raise CommandFailed(f"{source} is not JSON: {said}.", hint=_HINT) from None
    if isinstance(found, dict) and not _is_definition(found.get("object_info")):
        found = found.get("object_info", found)
    if isinstance(found, dict) and any(map(_is_definition, found.values())):
        return {name: entry for name, entry in found.items() if isinstance(entry, dict)}
    raise CommandFailed(f"{source} holds {_instead(found)}.", hint=_HINT)


def _is_definition(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("input"), dict)


def _instead(found: Any) -> str:
    """Return what it holds that is no mapping of node classes."""
    return "a workflow, and no node classes" if written.is_workflow(found) else "no node classes"
