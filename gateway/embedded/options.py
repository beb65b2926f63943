"""The command line: ComfyUI's own flags as far as they matter here, and the faults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from gateway.embedded.faults import Faults


@dataclass(frozen=True, slots=True)
class Options:
    """What the engine was asked for."""

    listen: tuple[str, ...]
    port: int
    base_directory: Path | None
    models_directory: Path | None
    input_directory: Path | None
    output_directory: Path | None
    temp_directory: Path | None
    extra_model_paths: tuple[Path, ...]
    max_upload_bytes: int
    previews: bool
    preview_size: int
    metadata: bool
    faults: Faults
    ignored: tuple[str, ...]


def parse(argv: Sequence[str] | None = None) -> Options:
    known, ignored = _parser().parse_known_args(argv)
    return Options(
        listen=tuple(known.listen.split(",")),
        port=known.port,
        base_directory=known.base_directory,
        models_directory=known.models_directory,
        input_directory=known.input_directory,
        output_directory=known.output_directory,
        temp_directory=known.temp_directory,
        extra_model_paths=tuple(path for group in known.extra_model_paths_config for path in group),
        max_upload_bytes=round(known.max_upload_size * 1024 * 1024),
        previews=known.preview_method != "none",
        preview_size=known.preview_size,
        metadata=not known.disable_metadata,
        faults=Faults(**{field.name: getattr(known, field.name) for field in fields(Faults)}),
        ignored=tuple(ignored),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.embedded",
        description="Speak ComfyUI's protocol without torch. It draws, it does not diffuse.",
        epilog="Any other flag of ComfyUI is accepted and ignored.",
        allow_abbrev=False,
    )
    _add_comfyui_flags(parser)
    _add_fault_flags(parser.add_argument_group("faults", "misbehave on purpose, for tests"))
    return parser


def _add_comfyui_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1", nargs="?", const="0.0.0.0,::")
    parser.add_argument("--port", type=int, default=8188, help="0 takes a free one and prints it")
    parser.add_argument("--base-directory", type=Path, help="holds models, input, output, temp")
    parser.add_argument("--models-directory", type=Path, help="instead of models in the base")
    parser.add_argument("--input-directory", type=Path)
    parser.add_argument("--output-directory", type=Path)
    parser.add_argument("--temp-directory", type=Path, help="its folder `temp` is cleared at start")
    parser.add_argument(
        "--extra-model-paths-config", type=Path, nargs="+", action="append", default=[]
    )
    parser.add_argument("--max-upload-size", type=float, default=100, help="in MB")
    parser.add_argument("--preview-method", default="auto", help="none sends no previews")
    parser.add_argument("--preview-size", type=int, default=512)
    parser.add_argument("--disable-metadata", action="store_true")


def _add_fault_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--startup-delay", type=float, default=0.0, metavar="S", help="listen S seconds late"
    )
    group.add_argument(
        "--crash-after", type=int, default=0, metavar="N", help="exit amid the Nth prompt"
    )
    group.add_argument("--exit-code", type=int, default=1, help="what --crash-after exits with")
    group.add_argument("--ignore-sigterm", action="store_true")
    group.add_argument(
        "--drop-ws", type=int, default=0, metavar="N", help="cut each WebSocket after N frames"
    )
    group.add_argument(
        "--mute-ws", type=int, default=0, metavar="N", help="send each WebSocket only N frames"
    )
    group.add_argument(
        "--slow", type=float, default=0.0, metavar="S", help="each node takes S seconds or more"
    )
    group.add_argument(
        "--step-delay", type=float, default=0.0, metavar="S", help="each KSampler step takes S more"
    )
    group.add_argument(
        "--hang-after", type=int, default=0, metavar="N", help="HTTP stops answering at prompt N"
    )
    group.add_argument(
        "--hang-node",
        type=int,
        default=0,
        nargs="?",
        const=1,
        metavar="N",
        help="no node ends from the Nth prompt on (default 1), while HTTP answers",
    )
    group.add_argument(
        "--nan-frames", action="store_true", help="frames and outputs hold NaN, Infinity, null data"
    )
    group.add_argument(
        "--no-prompt-id",
        action="store_true",
        help="like an old core, ignore the caller's prompt_id",
    )
