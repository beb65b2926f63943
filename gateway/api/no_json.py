"""Bodies that are no JSON: what they look like, and how to send what was meant."""

from __future__ import annotations

import binascii

from gateway import errors, given, graph, written
from gateway.media import encoded, sniff

_BY_URL = '{"prompt": "https://..."}'
_AS_FILE = "`curl -F prompt=@FILE`, or `curl --data-binary @FILE`"
_WAYS = f"A file with a workflow in it can be sent as it is, by {_AS_FILE}; or by URL: {_BY_URL}."
#: What files begin with that are sent most, also where bytes got lost: name, marks, how far in.
_MARKS = (
    ("a PNG", (b"PNG",), 8),
    ("a JPEG", (b"\xff\xd8\xff", b"JFIF", b"Exif"), 40),
    ("a WebP", (b"WEBP",), 40),
    ("a FLAC", (b"fLaC",), 4),
    ("an MP4", (b"ftyp",), 24),
)
#: What takes the place of a byte that is no text.
_REPLACED = "\ufffd".encode()
_MANY = 20
#: Bytes of a file in which there is a line break, be it by chance.
_LONG = 1024
_BASE64 = 64


def check_whole(raw: bytes) -> None:
    """Raise InvalidJson for a file that was sent as text, and is none any more."""
    name = _looks_like(raw)
    if name is None or written.is_json(raw):
        return
    has_lost = b"\n" not in raw and b"\r" not in raw
    # PNG begins with line breaks, lest this goes unseen; others have them by chance.
    is_cut = has_lost and (len(raw) > _LONG or name == "a PNG")
    if is_cut or raw[: sniff.HEAD_BYTES].count(_REPLACED) > _MANY:
        raise errors.InvalidJson(
            f"The body looks like {name} that was sent as text, which has damaged it.",
            hint=f"`curl -d` does so. Send the file by {_AS_FILE}; or by URL: {_BY_URL}.",
        )


def explain(failure: errors.InvalidJson, raw: bytes) -> None:
    """Have a refusal say what the body looks like, and which other ways there are."""
    told = _told(raw)
    if told is not None:
        looks, instead = told
        failure.message = f"The body is not JSON: it looks like {looks}."
        failure.hint = f"{failure.hint or ''} {instead}".strip()
    elif not written.is_json(raw):
        if raw.strip():
            head = raw[: sniff.HEAD_BYTES]
            failure.message = f"The body is not JSON: {given.instead(head)}."
        failure.hint = f"{failure.hint or ''} {_WAYS}".strip()


def _looks_like(raw: bytes) -> str | None:
    for name, marks, within in _MARKS:
        if any(mark in raw[:within] for mark in marks):
            return name
    return None


def _told(raw: bytes) -> tuple[str, str] | None:
    text = raw[: sniff.HEAD_BYTES].decode(errors="replace").strip()
    if graph.is_url(text):
        return "a URL", f"Send it as {_BY_URL}."
    if encoded.data_url(text) is not None:
        return "a data URL", 'Send it as {"prompt": "data:..."}.'
    if _is_base64(text):
        return "base64 of a file", 'Send it as {"prompt": "<base64>"}.'
    if text.startswith("prompt="):
        return "a form in one line", f"Send it by {_AS_FILE}."
    return None


def _is_base64(text: str) -> bool:
    """Whether a text begins as base64 of something that may hold a workflow."""
    head = "".join(text.split())[:_BASE64]
    try:
        data = binascii.a2b_base64(head[: len(head) // 4 * 4], strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return sniff.kind_of(data) is not None or (len(data) > 1 and written.is_json(data))
