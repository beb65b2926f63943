"""Workflows as they are given: JSON, or a file that has one embedded, in either format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway import errors, graph, loose_json
from gateway.media import embedded, encoded, sniff

#: What the embedded workflow is read from, as sentences name it.
READ_FROM = "PNG, WebP, JPEG, FLAC or MP4"
#: Where programs that save a workflow in JSON put it, beside the bare one.
_WRAPPINGS = ("prompt", "workflow")
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_STRIPPED = (
    "Many programs, and most web sites, strip it: take the file as ComfyUI saved it, "
    "or the workflow's JSON."
)


def is_json(head: bytes) -> bool:
    """Whether what begins so is meant to be an object or a list in JSON."""
    return head.removeprefix(_BOM).lstrip(_SPACE)[:1] in (b"{", b"[")


def workflow_in(path: Path, most_bytes: int, name: str = "The file") -> dict[str, Any]:
    """Return the workflow that a file holds, in whichever format; `name` is told of it.

    JSON is read up to `most_bytes`. Blocks. Raises InvalidJson, InvalidInput, InputTooLarge,
    OSError, and what `graph.check_shape` raises of the graph that a picture holds.
    """
    with path.open("rb") as file:
        head = file.read(sniff.HEAD_BYTES)
        if is_json(head):
            raw = head + file.read(most_bytes + 1 - len(head))
            if len(raw) > most_bytes:
                raise errors.InputTooLarge(
                    f"{name} is JSON of more than {most_bytes / (1 << 20):g} MB (MAX_BODY_SIZE_MB)."
                )
            return _of_json(raw, name)
    return _embedded(embedded.workflow_in(path), head, name)


def workflow_of(data: bytes, name: str = "The file") -> dict[str, Any]:
    """Return the workflow that these bytes of a file hold; raises and blocks as `workflow_in`."""
    if is_json(data[: sniff.HEAD_BYTES]):
        return _of_json(data, name)
    return _embedded(embedded.workflow_of(data), data[: sniff.HEAD_BYTES], name)


def workflow_of_text(text: str, name: str = "The text") -> dict[str, Any]:
    """Return the workflow of a text: JSON, a data URL, or base64 of a file; raises likewise."""
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text.encode(errors="surrogatepass"), name)
    found = encoded.data_url(text)
    given = found or encoded.Encoded(text)
    try:
        data = b"".join(given.pieces())
    except encoded.NotBase64:
        raise errors.InvalidInput(
            "The data URL is not valid base64: it has characters that base64 does not have."
            if found
            else f"{name} is no workflow: neither JSON, nor a URL, nor base64 of a file.",
            hint=f"Give the workflow itself, or a {READ_FROM} that ComfyUI made, or a JSON file: "
            "by URL, as a data URL, or as base64.",
        ) from None
    return workflow_of(data, "The data URL" if found else name)


def _of_json(raw: bytes, name: str) -> dict[str, Any]:
    try:
        found = loose_json.parse(raw.removeprefix(_BOM))
    except (ValueError, RecursionError) as failure:
        raise errors.InvalidJson(
            f"{name} is not JSON: {str(failure)[:200]}.",
            hint="Save the workflow anew, from the canvas or with Export (API).",
        ) from None
    return _unwrapped(found, name)


def _unwrapped(found: Any, name: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise errors.InvalidInput(
            f"{name} is JSON, and no workflow: it is no object.",
            hint="A workflow is an object: of nodes by id, or with `nodes` and `links`.",
        )
    if isinstance(found.get("nodes"), list):
        return found
    for key in _WRAPPINGS:
        inner = found.get(key)
        if isinstance(inner, dict) and "class_type" not in inner:
            # As a request to /prompt holds it, or as a program wrote down what a picture held.
            return inner
    return found


def _embedded(found: embedded.Found | None, head: bytes, name: str) -> dict[str, Any]:
    if found is None:
        raise _without(head, name)
    if graph.is_ui_format(found.best):
        return found.best
    # What ran bears the marks of its job.
    return graph.unmarked(graph.check_shape(found.best))


def _without(head: bytes, name: str) -> errors.InvalidInput:
    kind = sniff.kind_of(head)
    if kind is not None:
        return errors.InvalidInput(
            f"{name} is {kind.mime}, and no workflow is embedded in it that can be read.",
            hint=f"{READ_FROM} files that ComfyUI made hold their workflow. {_STRIPPED}",
        )
    if not head:
        told = "it is empty"
    elif sniff.is_html(head):
        told = "it is a web page (HTML), which often means that a login is needed"
    else:
        told = f"it begins with {head[:12].hex(' ')}"
    return errors.InvalidInput(
        f"{name} is neither JSON nor of a type that holds a workflow: {told}.",
        hint=f"Give JSON, or a {READ_FROM} that ComfyUI made.",
    )
