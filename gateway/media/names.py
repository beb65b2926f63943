"""Names of files that callers give: what they may look like, and where they lead."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway import errors

NAME_LENGTH = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MARK = re.compile(r"(.+) \[(input|output|temp)\]", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")
_LOOKS_LIKE_PATH = re.compile(r"^[~/]|^\.{1,2}/|\\|^[A-Za-z]:|\.[A-Za-z0-9]{1,5}$")
_CLOSEST = 3
#: What callers are told of a folder: where it lies on this machine is nobody's business.
_SETTINGS = {"input": "INPUT_DIR", "output": "OUTPUT_DIR", "temp": "TEMP_DIR"}
_LISTED = 5000


def is_plausible(name: str) -> bool:
    """Whether a text could be the name of a file inside a folder, to be looked for there."""
    return (
        0 < len(name) <= NAME_LENGTH
        and not _CONTROL.search(name)
        and not name.startswith("/")
        and "\\" not in name
        and not _DRIVE.match(name)
        and ".." not in name.split("/")
    )


def looks_like_path(value: str) -> bool:
    """Whether a refused text was meant as a path rather than as base64."""
    return len(value) <= NAME_LENGTH and _LOOKS_LIKE_PATH.search(value) is not None


def split_mark(value: str) -> tuple[str, str]:
    """Return (name, folder): ComfyUI's ` [output]`, ` [temp]` or ` [input]` names the folder."""
    found = _MARK.fullmatch(value) if len(value) <= NAME_LENGTH else None
    return (found[1], found[2]) if found else (value, "input")


def inside(folder: Path, name: str) -> Path | None:
    """Return where a name leads; None when that is outside of `folder`, through links too."""
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, name))
    return Path(path) if os.path.commonpath([root, path]) == root and path != root else None


def find(folders: Mapping[str, Path], value: str, *, is_folder: bool = False) -> bool:
    """Whether a plausible name is there; raises InvalidInput when it leads out of its folder."""
    name, kind = split_mark(value)
    try:
        path = inside(folders[kind], name)
        there = (folders[kind] / name).exists()
    except (OSError, ValueError):
        # Longer than the file system takes, or a loop of links.
        return False
    if path is None:
        if there:
            raise errors.InvalidInput(
                f"{value!r} leads out of the {kind} folder.",
                hint=f"Put the file itself into {_SETTINGS[kind]}, not a link to it.",
            )
        return False
    return path.is_dir() if is_folder else path.is_file()


def refusal(
    folders: Mapping[str, Path], value: str, is_hidden: Callable[[str], bool]
) -> errors.InvalidInput:
    """Return why a text is neither a name nor a file; it looks around for what was meant.

    Names for which `is_hidden` holds are other callers' business.
    """
    if len(value) > NAME_LENGTH:
        return errors.InvalidInput(
            f"The value ({len(value):,} characters) is not base64 of a known type.",
            hint="Send a URL, base64 of a picture, sound or video, or the name of a file.",
        )
    problem = _shape_problem(value)
    if problem:
        return errors.InvalidInput(
            f"{value[:80]!r} {problem}.",
            hint="Give the name of a file in the input folder, a URL, or base64.",
        )
    name, kind = split_mark(value)
    close = _closest(folders[kind], name, is_hidden)
    near = f" Closest: {', '.join(close)}." if close else ""
    return errors.InvalidInput(
        f"There is no file {name[:80]!r} in the {kind} folder ({_SETTINGS[kind]}).{near}",
        hint="Give a URL or base64, or put the file there; base64 must be of a known type.",
        closest=close or None,
    )


def _shape_problem(value: str) -> str | None:
    if not value.strip():
        return "is empty"
    if _CONTROL.search(value):
        return "has control characters in it"
    if value.startswith(("/", "~")) or _DRIVE.match(value):
        return "is an absolute path: only files in the folders of ComfyUI are read"
    if "\\" in value:
        return "has a backslash in it: folders are separated by /"
    if ".." in value.split("/"):
        return "leaves its folder"
    return None


def _closest(folder: Path, name: str, is_hidden: Callable[[str], bool]) -> list[str]:
    parent, _, wanted = name.rpartition("/")
    place = inside(folder, parent) if parent else folder
    try:
        with os.scandir(place or folder) as entries:
            known = [entry.name for entry, _ in zip(entries, range(_LISTED), strict=False)]
    except OSError:
        return []
    shown = [entry for entry in known if entry[0] != "." and not is_hidden(entry)]
    close = difflib.get_close_matches(wanted, shown, _CLOSEST, 0.5)
    return [f"{parent}/{entry}" if parent else entry for entry in close]
