"""Runs programs: argument lists only, never a shell; their output goes to the log."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gateway import errors, pipes
from gateway.config import SECRETS
from gateway.log import logger, plain_text

#: Lines of a program's output that an error repeats.
LAST_LINES = 50

_GRACE_S = 5.0
_PIPE_S = 1.0
_LINE_LENGTH = 2000
_READ_BYTES = 16384
#: What programs have no business with; Hugging Face's token is for install scripts.
_WITHHELD = (SECRETS | {"API_KEYS_FILE"}) - {"HF_TOKEN"}
#: Would make git work on the repository that the gateway was started from.
_OF_ANOTHER_REPOSITORY = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
)
_USER_OF_URL = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_OF_URL = re.compile(
    r"(?i)([?&][^=&\s]*(?:token|key|sig|secret|pass|pwd|auth|cred)[^=&\s]*=)[^&\s]+"
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program to run: what, where, and for how long at most."""

    command: Sequence[str]
    timeout_s: float
    cwd: Path | None = None
    #: Added to our own environment.
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Never shown, whatever the program prints.
    secrets: Sequence[str] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """What it is called: of Python, the module or the script that it runs."""
        first, *rest = (Path(word).name for word in self.command[:3])
        if first.startswith("python") and rest:
            if rest[0] == "-m" and len(rest) > 1:
                return rest[1]
            if rest[0].endswith(".py"):
                return rest[0]
        return first


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a text without the users, passwords and tokens of the URLs in it."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _SECRET_OF_URL.sub(r"\1***", _USER_OF_URL.sub("***@", text))


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return what a program gets: ours without secrets, and nobody is there to be asked."""
    hidden = _WITHHELD | _OF_ANOTHER_REPOSITORY
    kept = {name: value for name, value in os.environ.items() if name.upper() not in hidden}
    english = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
    unattended = {"GIT_TERMINAL_PROMPT": "0", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
    return kept | english | unattended | dict(added)


async def run(program: Program) -> list[str]:
    """Run a program to its end and return its last lines; raises InstallFailed with them."""
    name, began = program.name, time.monotonic()
    lines: deque[str] = deque(maxlen=LAST_LINES)

    def note(line: str) -> None:
        text = masked(plain_text(line), program.secrets)[:_LINE_LENGTH]
        lines.append(text)
        logger.info(text, source="manifest", program=name)

    # A pipe of our own: asyncio's would keep us waiting for whoever took it along.
    read_end, write_end = os.pipe()
    pipe = os.fdopen(read_end, "rb", buffering=0)
    try:
        process = await _started(program, write_end)
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(write_end)
    reading = asyncio.create_task(_read(pipe, note), name=f"output of {name}")
    try:
        status = await _ended(process, program.timeout_s)
    finally:
        # What it left behind may hold the pipe open for ever.
        await asyncio.wait({reading}, timeout=_PIPE_S)
        reading.cancel()
        await asyncio.wait({reading})
    if status != 0:
        raise errors.InstallFailed(
            f"{name} {_reason(status, program.timeout_s, time.monotonic() - began)}",
            last_lines="\n".join(lines),
        )
    return list(lines)


def _reason(status: int | None, timeout_s: float, took_s: float) -> str:
    if status is None:
        return f"did not end within {timeout_s:g} s."
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return f"ended with {how} after {took_s:.0f} s."


async def _started(program: Program, output: int) -> asyncio.subprocess.Process:
    shown = masked(" ".join(program.command), program.secrets)
    logger.info("Running a program", command=shown[:_LINE_LENGTH])
    try:
        return await asyncio.create_subprocess_exec(
            *program.command,
            cwd=program.cwd,
            env=environment(program.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # A session of its own has no terminal to ask on, and dies as one group.
            start_new_session=True,
        )
    except OSError as failure:
        raise errors.InstallFailed(
            f"{program.command[0]} cannot be run: {failure.strerror}."
        ) from failure


async def _ended(process: asyncio.subprocess.Process, timeout_s: float) -> int | None:
    """Return the exit status, None when time ran out; nothing of the program is left then."""
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await process.wait()
        # Also those whom it left behind.
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _read(pipe: IO[bytes], note: Callable[[str], None]) -> None:
    decode, rest = codecs.getincrementaldecoder("utf-8")("replace").decode, ""
    try:
        async with contextlib.aclosing(pipes.written(pipe, _READ_BYTES)) as found:
            async for data in found:
                # A progress bar redraws its line with \r.
                *whole, rest = re.split(r"[\r\n]+", rest + decode(data))
                for line in filter(str.strip, whole):
                    note(line)
                rest = rest[-_LINE_LENGTH:]
    finally:
        if rest.strip():
            note(rest)
