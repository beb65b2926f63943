"""What ComfyUI says when it refuses a graph, in our words."""

from __future__ import annotations

import difflib
from typing import Any

from gateway import errors
from gateway.comfy.nodes import listed

_CLOSEST = 5


def refused(answer: dict[str, Any]) -> errors.GatewayError:
    """Translate ComfyUI's 400."""
    error = answer.get("error")
    error = error if isinstance(error, dict) else {"message": str(error)}
    if error.get("type") == "prompt_no_outputs":
        return errors.NoOutput()
    node_errors = answer.get("node_errors")
    node_errors = without_tracebacks(node_errors) if isinstance(node_errors, dict) else {}
    details = str(error.get("details") or "").strip()[:1000]
    message = str(error.get("message") or "ComfyUI refused the workflow")
    told, location = _first_of(node_errors)
    sentence = ": ".join(part for part in (message, details, told) if part)
    return errors.InvalidGraph(
        f"ComfyUI refused the workflow: {sentence}",
        hint=_closest(node_errors),
        location=location,
        node_errors=node_errors,
    )


def _closest(node_errors: dict[str, Any]) -> str | None:
    """Return the names most like the first that is in no list, where ComfyUI shows the list."""
    for entry in node_errors.values():
        for error in entry.get("errors") or [] if isinstance(entry, dict) else []:
            extra = error.get("extra_info") if isinstance(error, dict) else None
            if not isinstance(extra, dict) or error.get("type") != "value_not_in_list":
                continue
            allowed = listed(extra.get("input_config"))
            if allowed:
                given = str(extra.get("received_value"))[:300]
                found = difflib.get_close_matches(given, map(str, allowed), _CLOSEST, 0.4)
                return f"The closest: {', '.join(found)}." if found else None
    return None


def _first_of(node_errors: dict[str, Any]) -> tuple[str, str | None]:
    """Return what ComfyUI says of the first node that it names, and where that is."""
    for node_id, entry in node_errors.items():
        location = f"prompt.{node_id}"
        found = entry.get("errors") if isinstance(entry, dict) else None
        if not isinstance(found, list) or not found or not isinstance(found[0], dict):
            return "", location
        first, extra = found[0], found[0].get("extra_info")
        name = extra.get("input_name") if isinstance(extra, dict) else None
        parts = [f"node {node_id} ({entry.get('class_type')})", first.get("message")]
        told = ": ".join(str(part)[:500] for part in [*parts, first.get("details")] if part)
        return told, f"{location}.inputs.{name}" if name else location
    return "", None


def without_tracebacks(node_errors: dict[str, Any]) -> dict[str, Any]:
    """Return node_errors less `extra_info.traceback`, which names ComfyUI's own files."""
    for entry in node_errors.values():
        for error in entry.get("errors") or [] if isinstance(entry, dict) else []:
            if isinstance(error, dict) and isinstance(error.get("extra_info"), dict):
                error["extra_info"].pop("traceback", None)
    return node_errors
