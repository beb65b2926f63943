"""What may stand in the manifest's fields; each check returns the value or raises ValueError."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationInfo

from gateway.config import Settings
from gateway.manifest import sources

_APT = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]+)?(=[A-Za-z0-9.+~:-]+)?")
_PIP = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[\w\s,.-]*\])?\s*"
    r"(\(?\s*(===|~=|==|!=|<=|>=|<|>)[^;]+)?(@\s*\S+\s*)?(;.+)?"
)
_PIP_URL = re.compile(r"(git\+)?(https?|ssh)://\S+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S[^\x00-\x1f\x7f]*")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def as_tuple(value: Any) -> Any:
    """Take a list as a tuple; an empty section (every line below it commented out) as none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("this must be a list")  # noqa: TRY004
    return tuple(value)


def as_mapping(value: Any) -> Any:
    """Take an empty section as none."""
    return {} if value is None else value


def apt(value: str) -> str:
    """A package of apt."""
    if not _APT.fullmatch(value):
        raise ValueError("a package of apt is name or name=version")
    return value


def pip(value: str) -> str:
    """A requirement, as pip takes it."""
    value = value.strip()
    if value.startswith("-"):
        raise ValueError(
            "pip's options are not taken; set its variables, as PIP_INDEX_URL, in the environment"
        )
    if _CONTROL.search(value) or not (_PIP.fullmatch(value) or _PIP_URL.fullmatch(value)):
        raise ValueError("a package of pip is a requirement: name, name==1.2 or name @ URL")
    return value


def source(value: Any, info: ValidationInfo) -> sources.GitNode | sources.RegistryNode:
    """A custom node."""
    if not isinstance(value, str):
        raise ValueError("a custom node is text: a registry name or a git URL")  # noqa: TRY004
    return sources.parse(value, _settings(info).allowed_file_roots)


def url(value: str) -> str:
    """A URL of any storage."""
    if not _URL.fullmatch(value.strip()):
        raise ValueError("this is not a URL")
    return value.strip()


def sha256(value: str) -> str:
    """A checksum, in small letters."""
    if not _SHA256.fullmatch(value):
        raise ValueError("sha256 is 64 hexadecimal digits")
    return value.lower()


def relative(value: str) -> str:
    """A path inside the models folder."""
    parts = value.split("/")
    if _CONTROL.search(value) or "\\" in value or {"", ".", ".."} & set(parts):
        raise ValueError("this must be a path inside the models folder, without . or ..")
    if any(len(part.encode(errors="replace")) > 255 for part in parts):
        raise ValueError("a part of this path is longer than 255 bytes")
    return value


def folder(value: str) -> str:
    """A folder of models."""
    if "/" in value:
        raise ValueError("type is the name of one folder, as checkpoints or loras")
    return relative(value)


def local_path(value: str, info: ValidationInfo) -> str:
    """A path inside the models folder: FOLDER/NAME."""
    path = _below_models(value, _settings(info))
    if "/" not in relative(path):
        raise ValueError("local_path is FOLDER/NAME, as checkpoints/x.safetensors")
    return path


def _below_models(value: str, settings: Settings) -> str:
    if not value.startswith("/"):
        return value.removeprefix("./").removeprefix("models/")
    roots = [settings.models]
    if settings.comfy_home:
        roots.append(settings.comfy_home.expanduser().absolute() / "models")
    for root in roots:
        if value.startswith(f"{root}/"):
            return value.removeprefix(f"{root}/")
    raise ValueError(
        f"local_path lies outside MODEL_DIR ({settings.models}); write it relative to that"
    )


def _settings(info: ValidationInfo) -> Settings:
    settings: Settings = (info.context or {})["settings"]
    return settings
