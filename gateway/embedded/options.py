"""The command line: ComfyUI's own flags as far as they matter here, and the faults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from gateway.embedded.faults import Faults

FAULT_FLAGS: dict[str, tuple[type, str, str]] = {
    "--startup-delay": (float, "S", "listen S seconds late"),
    "--crash-after": (int, "N", "exit amid the Nth prompt"),
    "--exit-code": (int, "CODE", "what --crash-after exits with"),
    "--ignore-sigterm": (bool, "", "only SIGKILL ends it"),
    "--drop-ws": (int, "N", "cut each WebSocket after N frames"),
    "--mute-ws": (int, "N", "send each WebSocket only N frames"),
    "--slow": (float, "S", "each node takes S seconds or more"),
    "--step-delay": (float, "S", "each KSampler step takes S seconds more"),
    "--hang-after": (int, "N", "HTTP stops answering at prompt N"),
    "--hang-node": (int, "N", "no node ends from prompt N on (1), while HTTP answers"),
    "--nan-frames": (bool, "", "frames and outputs hold NaN, Infinity and null data"),
    "--oom-at": (int, "N", "memory is full at the Nth prompt alone"),
    "--oom-from": (int, "N", "memory is full from prompt N on"),
    "--oom-until-freed": (int, "N", "memory is full from prompt N on, until /free has had effect"),
    "--gpu-error-at": (int, "N", "the GPU reports an error at the Nth prompt alone"),
    "--gpu-error-from": (int, "N", "the GPU reports errors from prompt N on"),
    "--fault-class": (str, "CLASS", "the five above strike nodes of this class alone"),
    "--end-worker": (int, "N", "nothing runs after the Nth prompt, while HTTP answers"),
    "--leak-mb": (int, "MB", "each prompt keeps so much memory for good"),
    "--no-prompt-id": (bool, "", "like an old core, ignore the caller's prompt_id"),
}


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
    for name, (kind, metavar, text) in FAULT_FLAGS.items():
        if kind is bool:
            group.add_argument(name, action="store_true", help=text)
        elif name == "--hang-node":
            group.add_argument(name, type=kind, default=0, nargs="?", const=1, help=text)
        else:
            default = {"--exit-code": 1, "--fault-class": ""}.get(name, 0)
            group.add_argument(name, type=kind, default=default, metavar=metavar, help=text)
