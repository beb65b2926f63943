"""What a caller is told of a place in a graph that was made for the request."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.jobs.job import Job
from gateway.jobs.locations import in_request

GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "https://host/a.png"}},
    "a.b": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "https://host/l", "model": ["1", 0]},
    },
}


def job(**request: Any) -> Job:
    return Job(id="x", request=request, graph=GRAPH, fingerprint="", created_at=0.0)


@pytest.mark.parametrize(
    ("request_", "location", "told"),
    [
        (
            {"input": {"n": 1, "photo": "https://host/a.png"}},
            "prompt.1.inputs.image",
            "input.photo",
        ),
        ({"loras": [{"url": "https://host/l"}]}, "prompt.a.b.inputs.lora_name", "loras.0.url"),
        ({"loras": [{"name": "l"}]}, "prompt.1.inputs.image", "prompt.1.inputs.image"),
        ({}, "prompt.1.inputs.image", "prompt.1.inputs.image"),
        ({"input": {"x": ["1", 0]}}, "prompt.a.b.inputs.model", "prompt.a.b.inputs.model"),
        ({}, "prompt.9.inputs.image", "prompt.9.inputs.image"),
        ({}, "webhook_v2", "webhook_v2"),
        ({}, None, None),
    ],
)
def test_places(request_: dict[str, Any], location: str | None, told: str | None) -> None:
    assert in_request(job(**request_), location) == told
