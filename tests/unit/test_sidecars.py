"""What is told of a run's outputs, and which models are read after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway import graph
from gateway.jobs.job import Job
from gateway.sidecars import VERSION, Sidecars

GRAPH = {
    "1": {"class_type": "VAELoader", "inputs": {"vae_name": "a.safetensors"}},
    "2": {"class_type": "VAEDecode", "inputs": {"vae": ["1", 0], "samples": ["9", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
    "9": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
}


class Known:
    """Knows the checksums it is given, and who was wanted."""

    def __init__(self, **known: str) -> None:
        self.sums = known
        self.looked_at = 0
        self.wanted: list[tuple[str, str]] = []

    def known(self, folder: str, name: str) -> str | None:
        self.looked_at += 1
        return self.sums.get(folder)

    def want(self, models: Iterable[tuple[str, str]]) -> None:
        self.wanted.extend(models)


def job(**request: Any) -> Job:
    return Job(id="j", request=request, graph=GRAPH, fingerprint="", created_at=0.0)


def outputs(*nodes: str) -> list[dict[str, Any]]:
    return [{"node_id": node} for node in nodes]


def test_each_output_node_is_told_once() -> None:
    told = Sidecars().origin(job(), GRAPH, outputs("3", "3", "2"))
    assert list(told["recipes"]) == ["3", "2"]
    assert told["versions"] == {"gateway": VERSION, "comfyui": None}


def test_what_is_not_known_is_read_after_the_job() -> None:
    known = Known()
    sidecars = Sidecars(known)
    told = sidecars.origin(job(), GRAPH, outputs("3", "2"))
    model = {"folder": "vae", "name": "a.safetensors", "sha256": None}
    assert told["recipes"]["3"]["models"] == [model]
    assert known.wanted == []
    sidecars.run_over(told)
    assert known.wanted == [("vae", "a.safetensors")]


def test_what_is_known_is_not_read_again() -> None:
    known = Known(vae="ab")
    sidecars = Sidecars(known)
    told = sidecars.origin(job(), GRAPH, outputs("3"))
    assert told["recipes"]["3"]["models"][0]["sha256"] == "ab"
    sidecars.run_over(told)
    assert known.wanted == []


def test_where_none_are_wished_nothing_is_looked_at() -> None:
    known = Known()
    sidecars = Sidecars(known)
    assert sidecars.origin(job(metadata=False), GRAPH, outputs("3")) == {}
    assert sidecars.origin(job(), GRAPH, []) == {}
    sidecars.run_over({})
    assert (known.looked_at, known.wanted) == (0, [])


def test_nodes_that_a_node_expanded_into() -> None:
    told = Sidecars().origin(job(), GRAPH, outputs("3.0.1", "elsewhere", "5.1"))
    assert told["recipes"]["3.0.1"]["models"] != []
    assert told["recipes"]["elsewhere"] == told["recipes"]["5.1"] == {"models": []}


def test_our_own_marks_are_of_no_interest() -> None:
    marked = graph.made_unique(GRAPH, "j", {"SaveImage"})
    plain = Sidecars().origin(job(), GRAPH, outputs("3"))
    assert Sidecars().origin(job(), marked, outputs("3")) == plain
