"""What stands beside an output as `<its name>.json`; for threads."""

from __future__ import annotations

import contextlib
import errno
import json
import stat
from pathlib import Path
from typing import Any

import orjson

CONTENT_TYPE = "application/json"

#: No sidecar of ours is larger: what is, is somebody else's.
_MOST = 1024 * 1024
#: What every sidecar of ours says, and hardly another JSON.
_MARKS = {"job_id", "node_id", "gateway_version", "comfyui_version"}


def name_of(filename: str) -> str:
    """Return what the sidecar of a file is called."""
    return f"{filename}.json"


def path_of(output: Path) -> Path:
    """Return where the sidecar of an output stands."""
    return output.with_name(name_of(output.name))


def write(output: Path, content: dict[str, Any]) -> Path:
    """Write the sidecar of an output, whole or not at all; raises OSError.

    Over an older one of ours it is written; whatever else bears its name stays.
    """
    path = path_of(output)
    if not _is_free(path):
        raise FileExistsError(errno.EEXIST, "another file has this name", str(path))
    # Of a fixed name: what a sudden end leaves of it is written over by the next attempt.
    beside = output.with_name(f".{content['job_id']}.{content['index']}.json")
    try:
        beside.write_bytes(_encoded(content))
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    return path


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half a character in a prompt, or a number beyond 64 bits: both can be written so.
        return f"{json.dumps(content, indent=2)}\n".encode()


def _is_free(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
        return False
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _MARKS
