"""What the file of a URL is called in the cache."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from pathlib import PurePosixPath

from gateway.storage import address

STEM_LENGTH = 32

_NAME = re.compile(r"([A-Za-z0-9_-]{32})(\.[A-Za-z0-9_-]{1,32})?")
_EXTENSION = re.compile(r"\.[A-Za-z0-9_-]{1,32}")
#: Says no more than that there are bytes.
_BYTES = ("application/octet-stream", "binary/octet-stream", "application/x-binary")


def stem(url: str) -> str:
    """Return the name without its extension: of the URL as written, less user and password."""
    digest = hashlib.sha256(address.parted(url)[0].encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest)[:STEM_LENGTH].decode()


def stem_of(name: str) -> str | None:
    """Return the stem of a file's name; None for what the cache would not call a file."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def extension(url: str, filename: str | None, content_type: str | None) -> str:
    """Return the extension, with its dot, that the URL, else the answer to it, tells; or ""."""
    return extension_of_url(url) or _suffix(filename or "") or _of_type(content_type)


def extension_of_url(url: str) -> str:
    """Return the extension of a URL's path, or ""."""
    rest = address.parted(url)[0].partition("://")[2]
    path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")[2]
    return _suffix(path)


def is_vague(content_type: str | None) -> bool:
    """Whether a content type says nothing of what the bytes are."""
    return not content_type or _media_type(content_type) in _BYTES


def _of_type(content_type: str | None) -> str:
    if not content_type:
        return ""
    kind = _media_type(content_type)
    return ".bin" if kind in _BYTES else mimetypes.guess_extension(kind) or ""


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _suffix(name: str) -> str:
    found = PurePosixPath(name.replace("\\", "/")).suffix
    return found if _EXTENSION.fullmatch(found) else ""
