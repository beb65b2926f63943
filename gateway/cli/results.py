"""What a job made, saved where `--output` says, each with its sidecar beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.cli import saving
from gateway.cli.client import Client, Refused, job_path
from gateway.cli.failure import CommandFailed

#: What a picture is converted to when the name of its file ends so.
_CONVERTED = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
_CHUNK = 256 * 1024


@dataclass
class Saved:
    """The files of one job."""

    files: list[Path] = field(default_factory=list)
    #: Beside them; and what they say.
    sidecars: list[Path] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_folder(output: str) -> bool:
    """Whether `--output` names a folder: it is one, ends as one, or has no ending of a file."""
    path = Path(output)
    return output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix


def conversion(output: str) -> dict[str, Any] | None:
    """Return `convert_output` of a request whose output is to be such a file."""
    form = None if is_folder(output) else _CONVERTED.get(Path(output).suffix.lower())
    return {"format": form} if form else None


def places(output: str, outputs: Sequence[dict[str, Any]]) -> list[Path]:
    """Return where each output is saved: picture.png, or picture-1.png, picture-2.png, ..."""
    path = Path(output).expanduser()
    if is_folder(output):
        return [path / name for name in saving.unique_names(list(outputs))]
    if len(outputs) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, len(outputs) + 1)]


async def save(client: Client, job: dict[str, Any], output: str, *, sidecars: bool) -> Saved:
    """Save every output of a job that succeeded; raises CommandFailed."""
    saved = Saved()
    for entry, file in zip(job["outputs"], places(output, job["outputs"]), strict=True):
        address = f"{job_path(job['id'])}/outputs/{entry['index']}"
        try:
            async with client.request("GET", address) as response:
                await saving.write(file, response.content.iter_chunked(_CHUNK))
        except Refused as refused:
            raise _gone(refused) from None
        saved.files.append(file)
        if sidecars:
            await _sidecar(client, address, file, saved)
    return saved


async def _sidecar(client: Client, address: str, file: Path, saved: Saved) -> None:
    try:
        found = await client.ask("GET", f"{address}/metadata")
    except Refused as refused:
        saved.notes.append(f"{file.name} has no sidecar: {refused.message}")
        return
    beside = file.with_name(f"{file.name}.json")
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    await saving.write(beside, saving.once(text))
    saved.sidecars.append(beside)
    saved.told.append(found)


def _gone(refused: Refused) -> CommandFailed:
    if refused.code != "output_not_found":
        return refused
    return CommandFailed(
        refused.message,
        hint="Outputs stay for OUTPUT_TTL_S after the end; with 0, use `gateway submit`.",
    )
