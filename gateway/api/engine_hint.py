"""What to say of classes that are missing, where it is the embedded engine that lacks them."""

from __future__ import annotations

from gateway import errors
from gateway.api.parts import Parts


def add(parts: Parts, failure: errors.GatewayError) -> None:
    """Have the hint say which engine this is, if it is the embedded one."""
    if parts.settings.engine_kind != "embedded":
        return
    told = [failure.hint] if failure.hint else []
    count = len(parts.catalog.definitions)
    told.append(f"This is the embedded engine, of {count} classes: set COMFY_HOME to run ComfyUI.")
    failure.hint = " ".join(told)
