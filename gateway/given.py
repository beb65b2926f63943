"""Workflows as they are given: JSON, or a file that has one embedded, in either format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gateway import errors, written
from gateway.media import embedded, encoded, sniff

#: What the embedded workflow is read from, as sentences name it.
READ_FROM = "PNG, WebP, JPEG, FLAC or MP4"
#: Whether what begins so is meant to be an object or a list in JSON.
is_json = written.is_json

_STRIPPED = (
    "Many programs, and most web sites, strip it: take the file as ComfyUI saved it, "
    "or the workflow's JSON."
)
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"(\xb5/\xfd")
_SHOWN = 24


class Given(NamedTuple):
    """A workflow out of a file, in the format that it has there."""

    workflow: dict[str, Any]
    #: The fields of the request that it is the `prompt` of.
    fields: dict[str, Any]
    #: Whether it was found in a picture, a sound or a film.
    is_embedded: bool = False


def workflow_in(path: Path, most_bytes: int, name: str = "The file") -> dict[str, Any]:
    """Return the workflow that a file holds, in whichever format; `name` is told of it.

    JSON is read up to `most_bytes`. Blocks. Raises InvalidJson, InvalidInput, InputTooLarge,
    OSError, and what `graph.check_shape` raises of the graph that a picture holds.
    """
    return read_in(path, most_bytes, name).workflow


def workflow_of(data: bytes, name: str = "The file") -> dict[str, Any]:
    """Return the workflow that these bytes of a file hold; raises and blocks as `workflow_in`."""
    return read_of(data, name).workflow


def read_in(path: Path, most_bytes: int, name: str) -> Given:
    """Return what a file holds, what is around it too; raises and blocks as `workflow_in`."""
    with path.open("rb") as file:
        head = file.read(sniff.HEAD_BYTES)
        if is_json(head):
            raw = head + file.read(most_bytes + 1 - len(head))
            if len(raw) > most_bytes:
                raise errors.InputTooLarge(
                    f"{name} is JSON of more than {most_bytes / (1 << 20):g} MB (MAX_BODY_SIZE_MB)."
                )
            return _of_json(raw, name)
    found = embedded.workflow_in(path)
    if found is None:
        raise _without(head, embedded.texts_in(path), name)
    return Given(written.of_a_run(found.best), {}, is_embedded=True)


def read_of(data: bytes, name: str) -> Given:
    """Return what the bytes of a file hold; raises and blocks as `workflow_in`."""
    if is_json(data[: sniff.HEAD_BYTES]):
        return _of_json(data, name)
    return Given(embedded_in(data, name), {}, is_embedded=True)


def embedded_in(data: bytes, name: str) -> dict[str, Any]:
    """Return the workflow of a picture, a sound or a film; raises and blocks as `workflow_in`."""
    found = embedded.workflow_of(data)
    if found is None:
        raise _without(data[: sniff.HEAD_BYTES], embedded.texts_of(data), name)
    return written.of_a_run(found.best)


def workflow_of_text(text: str, name: str = "The text") -> dict[str, Any]:
    """Return the workflow of a text: JSON, a data URL, or base64 of a file; raises likewise."""
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text.encode(errors="surrogatepass"), name).workflow
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


def _of_json(raw: bytes, name: str) -> Given:
    try:
        found = written.parse(raw)
    except written.NotJson as failure:
        raise errors.InvalidJson(
            f"{name} is not JSON: {failure}.",
            hint="Save the workflow anew, from the canvas or with Export (API).",
        ) from None
    if not isinstance(found, dict):
        what = "a list" if isinstance(found, list) else "a single value"
        raise errors.InvalidInput(
            f"{name} is JSON, and no workflow: it is {what}.",
            hint="A workflow is {node id: node}, or {nodes, links} of the canvas.",
        )
    inside = written.unwrapped(found)
    return Given(inside.workflow, inside.fields)


def _without(head: bytes, texts: dict[str, str], name: str) -> errors.InvalidInput:
    kind = sniff.kind_of(head)
    if kind is None:
        return errors.InvalidInput(
            f"{name} is neither JSON nor of a type that holds a workflow: {instead(head)}.",
            hint=f"Give JSON, or a {READ_FROM} that ComfyUI made.",
        )
    if texts:
        return errors.InvalidInput(
            f"{name} is {kind.mime}, and the workflow in it is not JSON that can be read.",
            hint=f"It may be cut off. {_STRIPPED}",
        )
    return errors.InvalidInput(
        f"{name} is {kind.mime}, and no workflow is embedded in it that can be read.",
        hint=f"{READ_FROM} files that ComfyUI made hold their workflow. {_STRIPPED}",
    )


def instead(head: bytes) -> str:
    """Return what a file is, by its beginning, that is neither JSON nor a picture or the like."""
    kind = sniff.kind_of(head)
    if kind is not None:
        return f"it is {kind.mime}"
    if not head.strip():
        return "it is empty"
    if sniff.is_html(head):
        return "it is a web page (HTML), which often means that a login is needed"
    if head.startswith(_ARCHIVES):
        return "it is an archive; take the file out of it"
    # The last character may be cut.
    text = head[: 4 * _SHOWN].decode(errors="replace").rstrip("\ufffd")
    if "\ufffd" not in text and all(one.isprintable() or one.isspace() for one in text):
        return f"it is text that begins with {' '.join(text.split())[:_SHOWN]!r}"
    return f"it begins with {head[:12].hex(' ')}"
