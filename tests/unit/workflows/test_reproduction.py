"""The graph of a job, as it would be sent to run again."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import graph
from gateway.jobs.job import Job, ModelInput
from gateway.workflows.reproduction import as_sent

URL = "https://host/a.png"
WEIGHTS = "https://host/w.safetensors"
SENT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": URL}, "_meta": {"title": "Photo"}},
    "2": {"class_type": "VAELoader", "inputs": {"vae_name": WEIGHTS}},
    "3": {"class_type": "VHS_LoadImages", "inputs": {"directory": [URL, "made.png"]}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"}},
    "5": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    "6": {"class_type": "Odd", "inputs": {"filename_prefix": ["1", 0]}},
    "7": {"class_type": "VHS_LoadImagesPath", "inputs": {"directory": "/in/put/mine"}},
}
MODELS = [ModelInput(node_id="2", name="vae_name", url=WEIGHTS, folder="vae")]
FILES = {
    ("1", "image"): "fetched.png",
    ("2", "vae_name"): "cached.safetensors",
    ("3", "directory"): "folder",
}


def job(ran: dict[str, Any] | None = None, **result: Any) -> Job:
    return Job(
        id="j1",
        request={},
        graph=ran or SENT,
        fingerprint="",
        created_at=0.0,
        models=MODELS,
        result=result,
    )


def as_run(*, prepend: bool = True) -> Job:
    ran = graph.with_inputs(SENT, dict(FILES))
    ran = graph.with_prefixes(ran, "j1", prepend=prepend)
    ran = graph.made_unique(ran, "j1", {"PreviewImage"})
    return job(ran, outputs=[], sources=graph.replaced_urls(SENT, ran))


def expected(prefix: str = "a/b") -> dict[str, Any]:
    edits = {("7", "directory"): "mine", ("4", "filename_prefix"): prefix}
    return graph.with_inputs(SENT, edits)


def test_a_graph_that_ran_is_as_it_was_sent() -> None:
    assert as_sent(as_run(), "/in/put") == expected()


def test_a_prefix_that_was_not_kept_is_comfyuis_own() -> None:
    assert as_sent(as_run(prepend=False), "/in/put") == expected(prefix="ComfyUI")


@pytest.mark.parametrize("result", [{}, {"progress": {"value": 0.5}}])
def test_a_graph_that_never_ran_is_as_it_was_accepted(result: dict[str, Any]) -> None:
    assert as_sent(job(**result), "/in/put") == expected()


def test_a_job_of_an_earlier_release_knows_its_weights() -> None:
    ran = graph.with_inputs(SENT, dict(FILES))
    sent = as_sent(job(ran, outputs=[]), "/in/put")
    assert sent["2"]["inputs"]["vae_name"] == WEIGHTS
    assert sent["1"]["inputs"]["image"] == "fetched.png"


def test_what_only_looks_like_the_jobs_prefix_stays() -> None:
    ran = graph.with_inputs(SENT, {("4", "filename_prefix"): "j1_j1_x"})
    assert as_sent(job(ran, outputs=[]), "")["4"]["inputs"]["filename_prefix"] == "j1_x"
