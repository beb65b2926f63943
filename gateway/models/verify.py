"""Whether a file is the model it is said to be, told from its bytes.

What is not async belongs in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import struct
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import BinaryIO, TypeVar

import orjson

from gateway.models.safetensors_header import Misfit, data_end
from gateway.storage.failures import GIVEN_TOKEN

#: The safetensors format allows no larger header.
HEADER_LIMIT = 100_000_000

#: Threads of our own: a hash takes minutes, in which everything else needs those of the process.
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="verify")
_HASHED_AT_ONCE = 1 << 20
_JSON_PAGE = 1 << 20
_HEAD = 4096
_END_OF_ZIP = struct.Struct("<4s4H2LH")
_MOST_COMMENT = 1 << 16
_ZIP64 = 0xFFFFFFFF
# Possessive: else comment after comment, from a host that means ill, costs exponential time.
_HTML = re.compile(
    rb"(?is)\s*+(?:\xef\xbb\xbf)?+\s*+(?:(?><!--.*?-->)\s*+)*+"
    rb"<(?:!doctype\s++html|html|head|body)\b"
)
_WEIGHTS = {
    *(".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx"),
}
#: Files that may be a web page.
PAGES = {".html", ".htm", ".xhtml"}
_ZIPS = {".ckpt", ".pt", ".pt2", ".pth", ".bin"}


_Result = TypeVar("_Result")


class Flaw(Exception):
    """A file is not what it should be: `expected`, and `found` instead."""

    def __init__(self, expected: str, found: str, hint: str | None = None) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found
        self.hint = hint


_LOGIN = (
    f"The host may ask for a login: give credentials ({GIVEN_TOKEN}), or a URL that leads to the "
    "file itself."
)


async def checked(
    path: Path, suffix: str, size: int | None = None, sha256: str | None = None
) -> bool:
    """Return and raise as `check`, in a thread that ends when the caller is cancelled."""
    return await _apart(lambda stop: check(path, suffix, size, sha256, stop))


async def hashed(path: Path) -> str:
    """Return and raise as `sha256_of`, in a thread that ends when the caller is cancelled."""
    return await _apart(lambda stop: sha256_of(path, stop))


async def _apart(work: Callable[[Event], _Result]) -> _Result:
    stop = Event()
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work, stop)
    finally:
        stop.set()


def check(
    path: Path,
    suffix: str,
    size: int | None = None,
    sha256: str | None = None,
    stop: Event | None = None,
) -> bool:
    """Return whether the format itself proves the file whole; raises Flaw, OSError.

    `size` and `sha256` are what the file should have, where that is known.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if size is not None and size != length:
            raise Flaw(f"{size:,} bytes", f"{length:,} bytes")
        is_proven = _checked_content(file, suffix.lower(), length, stop)
    if sha256 is not None:
        check_sha256(path, sha256, stop)
    return is_proven or sha256 is not None


def check_sha256(path: Path, expected: str, stop: Event | None = None) -> str:
    """Return the sha256 of a file; raises Flaw when it is another, OSError."""
    found = sha256_of(path, stop)
    if found != expected.lower():
        raise Flaw(f"sha256 {expected.lower()}", f"sha256 {found}")
    return found


def sha256_of(path: Path, stop: Event | None = None) -> str:
    """Return the sha256 of a file in hex; raises OSError, and CancelledError once `stop` is set."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_HASHED_AT_ONCE))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            if stop is not None and stop.is_set():
                raise CancelledError
    return digest.hexdigest()


def sniffed(head: bytes) -> str:
    """Return the extension that the first bytes of a file speak for, or ""."""
    if head.startswith(b"GGUF"):
        return ".gguf"
    if len(head) > 8 and head[8:9] == b"{" and 2 <= _header_length(head) <= HEADER_LIMIT:
        return ".safetensors"
    return ""


def _header_length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little")


def _checked_content(file: BinaryIO, suffix: str, length: int, stop: Event | None) -> bool:
    head = file.read(_HEAD)
    if suffix in _WEIGHTS and not head:
        raise Flaw("a model", "an empty file")
    if suffix not in PAGES and _HTML.match(head):
        raise Flaw("a model", "a web page", _LOGIN)
    if suffix in _WEIGHTS and _is_json(file, head, length):
        raise Flaw("a model", f"a message: {_quoted(head)}", _LOGIN)
    format_check = _FORMATS.get(suffix)
    if format_check is not None:
        return format_check(file, head, length, stop)
    return suffix in _ZIPS and head.startswith(b"PK\x03\x04") and _check_zip(file, length)


def _is_json(file: BinaryIO, head: bytes, length: int) -> bool:
    if head.lstrip()[:1] not in (b"{", b"[") or length > _JSON_PAGE:
        return False
    file.seek(0)
    try:
        orjson.loads(file.read(_JSON_PAGE))
    except orjson.JSONDecodeError:
        return False
    return True


def _quoted(head: bytes) -> str:
    text = head[:200].decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _check_safetensors(file: BinaryIO, head: bytes, length: int, stop: Event | None) -> bool:
    header_bytes = _header_length(head)
    if length < 8 or not 2 <= header_bytes <= HEADER_LIMIT:
        raise Flaw("a safetensors file", "no length of a header at its beginning")
    if 8 + header_bytes > length:
        raise Flaw(f"a header of {header_bytes:,} bytes", f"a file of {length:,} bytes")
    try:
        end = 8 + header_bytes + data_end(file, header_bytes, stop)
    except Misfit as misfit:
        raise Flaw(misfit.expected, misfit.found) from None
    if end != length:
        raise Flaw(f"{end:,} bytes, as the header has it", f"{length:,} bytes")
    return True


def _check_gguf(file: BinaryIO, head: bytes, length: int, stop: Event | None) -> bool:
    if not head.startswith(b"GGUF"):
        raise Flaw("a GGUF file", "other first bytes")
    return False


def _check_zip(file: BinaryIO, length: int) -> bool:
    """A torch file is a zip, whose table of contents is its very end."""
    file.seek(max(0, length - _MOST_COMMENT - _END_OF_ZIP.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and at + _END_OF_ZIP.size <= len(tail):
        *_, size, offset, comment = _END_OF_ZIP.unpack_from(tail, at)
        begins_at = length - len(tail) + at
        fits = offset == _ZIP64 or offset + size <= begins_at
        if fits and begins_at + _END_OF_ZIP.size + comment == length:
            return True
    raise Flaw("a zip file's table of contents at its end", "none, so that it is cut short")


_FORMATS: dict[str, Callable[[BinaryIO, bytes, int, Event | None], bool]] = {
    ".safetensors": _check_safetensors,
    ".sft": _check_safetensors,
    ".gguf": _check_gguf,
}
