"""How ComfyUI is launched: its command line, and what that may name."""

from __future__ import annotations

import shlex
import sys
from string import Template

from gateway.config import Settings


def variables(settings: Settings) -> dict[str, str]:
    """Return the folders and addresses as an operator's own CMD may name them."""
    return {
        "DIRECT_ADDRESS": settings.direct_address,
        "COMFYUI_PORT_HOST": str(settings.comfyui_port_host),
        "MODEL_DIR": str(settings.models),
        "INPUT_DIR": str(settings.inputs),
        "OUTPUT_DIR": str(settings.outputs),
        "TEMP_DIR": str(settings.temp),
        "CUSTOM_NODES_DIR": str(settings.custom_nodes),
        "CACHE_DIR": str(settings.cache),
        "STATE_DIR": str(settings.state),
    }


def line(settings: Settings) -> list[str]:
    """Return the child's command line, as `wire/jobs.md` (Folders) has it."""
    if settings.cmd:
        # Split first: a folder with blanks or quotes in its name stays one word.
        known = variables(settings)
        return [Template(word).safe_substitute(known) for word in shlex.split(settings.cmd)]
    folders = [
        *("--listen", settings.direct_address, "--port", str(settings.comfyui_port_host)),
        *("--input-directory", str(settings.inputs)),
        *("--output-directory", str(settings.outputs)),
        # ComfyUI appends "temp" to what --temp-directory names (main.py, 0.3.64).
        *("--temp-directory", str(settings.temp.parent)),
        *("--extra-model-paths-config", str(settings.extra_model_paths)),
    ]
    if settings.engine_kind == "embedded":
        return [sys.executable, "-m", "gateway.embedded", *folders]
    return [settings.engine_python(), "main.py", *folders]
