"""Where the caller of a job finds what an error names; pure."""

from __future__ import annotations

import re

from gateway.jobs.job import Job

_PLACE = re.compile(r"prompt\.(?P<node>.+)\.inputs\.(?P<name>[^.]+)")


def in_request(job: Job, location: str | None) -> str | None:
    """Return the place in the request of a place in the graph that was made of it.

    A caller of a named workflow knows no node ids, nor does one who gave a LoRA; both know the URL.
    """
    found = _PLACE.fullmatch(location or "")
    node = job.graph.get(found["node"]) if found else None
    value = node.get("inputs", {}).get(found["name"]) if found and node else None
    if not isinstance(value, str):
        return location
    for name, given in (job.request.get("input") or {}).items():
        if given == value:
            return f"input.{name}"
    for at, lora in enumerate(job.request.get("loras") or ()):
        if lora.get("url") == value:
            return f"loras.{at}.url"
    return location
