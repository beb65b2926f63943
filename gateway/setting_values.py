"""What the text of a setting means; pure, and every function raises ValueError."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

#: What may stand in SYSTEM_WEBHOOK_EVENTS, beside `all`: ComfyUI's events, and the storages'.
COMFY_EVENTS = (
    *("status", "progress", "progress_state", "executing", "execution_start", "execution_cached"),
    *("executed", "execution_success", "execution_interrupted", "execution_error"),
)
STORAGE_EVENTS = ("file_downloaded", "file_uploaded", "file_deleted")

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")
_LONGEST_PAUSE_S = 365 * 86400.0


def split(value: Any) -> Any:
    """Return the parts of a list written with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def lower(value: Any) -> Any:
    """Return a name that may be written in capitals."""
    return value.lower() if isinstance(value, str) else value


def networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check the CIDRs of a list of CIDRs and hosts."""
    for entry in value:
        if "/" in entry:
            ipaddress.ip_network(entry, strict=False)
    return value


def named_keys(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that each key has a name."""
    # The value is a secret: it is not repeated here, and the report leaves it out.
    if any(not all(entry.partition(":")[::2]) for entry in value):
        raise ValueError("write each as name:key")
    return value


def events(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that each is an event there is."""
    known = ("all", *COMFY_EVENTS, *STORAGE_EVENTS)
    unknown = [name for name in value if name not in known]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no such event; there are {', '.join(known)}")
    return value


def delays(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check a list of pauses in seconds."""
    if not value or not all(
        _SECONDS.fullmatch(pause) and float(pause) <= _LONGEST_PAUSE_S for pause in value
    ):
        raise ValueError("write seconds, as in 5,30,120, each at most a year")
    return value


def web_address(value: str | None) -> str | None:
    """Check that it is http or https."""
    # The value may hold a password: it is not repeated here, and the report leaves it out.
    if value is not None and not _is_web_address(value):
        raise ValueError("write it as http://host/path or https://host/path")
    return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        is_placed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_placed and parts.scheme in ("http", "https") and not re.search(r"\s", value)


def words(value: str | None) -> str | None:
    """Check that a command line has an end to each of its quotes."""
    shlex.split(value or "")
    return value


def webhook_key(secret: str | None) -> bytes | None:
    """Return a secret of webhooks, decoded."""
    if secret is None:
        return None
    # Secrets in use lack their padding, and have been written with either alphabet.
    text = secret.strip().removeprefix("whsec_").rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None
    if not key:
        raise ValueError("it is empty")
    return key


def model_inputs(text: str | None) -> dict[str, dict[str, str]]:
    """Return class -> input -> folder, as MODEL_INPUTS is written."""
    found: dict[str, dict[str, str]] = {}
    for entry in filter(None, (part.strip() for part in (text or "").split(","))):
        source, _, folder = (part.strip() for part in entry.rpartition("="))
        class_type, _, name = source.rpartition(".")
        if not (class_type and name and re.fullmatch(r"[\w-][\w.-]*", folder)):
            raise ValueError(f"{entry[:80]!r} is not Class.input=folder")
        found.setdefault(class_type, {})[name] = folder
    return found
