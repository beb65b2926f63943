"""What files hold: JSON in either format, bare or with a request around it, or a picture."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.cli.failure import CommandFailed
from gateway.cli.workflow_file import held, held_of
from tests import embedding

GRAPH = {"1": {"class_type": "A", "inputs": {"x": 1}}}
CANVAS: dict[str, Any] = {"nodes": [{"id": 1, "type": "A"}], "links": []}


def png(**held: Any) -> bytes:
    """Return a picture as ComfyUI saves it."""
    return embedding.png({name: json.dumps(found) for name, found in held.items()})


def put(path: Path, found: Any) -> Path:
    path.write_bytes(found if isinstance(found, bytes) else json.dumps(found).encode())
    return path


class TestJson:
    def test_the_fields_around_the_graph_are_kept(self, tmp_path: Path) -> None:
        found = held(put(tmp_path / "w.json", {"prompt": GRAPH, "priority": 3})).file()
        assert (found.workflow, found.fields) == (GRAPH, {"priority": 3})
        assert found.body == {"priority": 3, "prompt": found.workflow}

    def test_a_node_may_be_called_prompt(self, tmp_path: Path) -> None:
        node = {"prompt": {"class_type": "A", "inputs": {}}}
        assert held(put(tmp_path / "w.json", node)).file().workflow == node

    @pytest.mark.parametrize(
        ("whole", "fields"),
        [(CANVAS, {}), ({"prompt": CANVAS, "priority": 3}, {"priority": 3})],
    )
    def test_a_workflow_of_the_canvas(self, tmp_path: Path, whole: Any, fields: Any) -> None:
        found = held(put(tmp_path / "w.json", whole))
        assert (found.is_canvas, found.content, found.fields) == (True, CANVAS, fields)
        with pytest.raises(errors.InvalidRequest):
            found.file()

    @pytest.mark.parametrize(
        "written",
        [
            codecs.BOM_UTF8 + json.dumps(GRAPH).encode(),
            json.dumps(GRAPH).encode("utf-16"),
            b'\n {"1": {"class_type": "A", "inputs": {"x": 1}, "is_changed": NaN}}',
        ],
        ids=["marked", "utf-16", "nan"],
    )
    def test_as_other_programs_write_it(self, tmp_path: Path, written: bytes) -> None:
        found = held(put(tmp_path / "w.json", written)).file()
        assert found.workflow["1"]["inputs"] == {"x": 1}

    @pytest.mark.parametrize(
        ("written", "told"),
        [
            (b"", "it is empty"),
            (b"{", "is not JSON"),
            (b'{"nodes": [', "is not JSON"),
            (b"\xff\xfe\x00", "neither JSON nor"),
            (b"[]", "it is a list"),
            (b"[" * 100_000, "nests too deep"),
            (b"[" * 900 + b"]" * 900, "it is a list"),
            (b'{"a":' * 900 + b"1" + b"}" * 900, "nests deeper"),
            (b'{"1": {"class_type": "A", "inputs": ' + b"[" * 300 + b"]" * 300 + b"}}", "deeper"),
        ],
    )
    def test_what_is_no_workflow(self, tmp_path: Path, written: bytes, told: str) -> None:
        with pytest.raises(CommandFailed, match=told):
            held(put(tmp_path / "w.json", written))

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match=r"w\.json: No such file"):
            held(tmp_path / "w.json")
        with pytest.raises(CommandFailed, match="Is a directory"):
            held(tmp_path)

    def test_what_never_ends_is_refused(self) -> None:
        with pytest.raises(CommandFailed, match="holds more than 100 MB"):
            held(Path("/dev/zero"))


class TestPictures:
    def test_the_graph_that_ran_comes_first(self, tmp_path: Path) -> None:
        found = held(put(tmp_path / "x.png", png(prompt=GRAPH, workflow=CANVAS)))
        assert (found.is_embedded, found.is_canvas, found.content) == (True, False, GRAPH)

    def test_else_the_canvas(self, tmp_path: Path) -> None:
        found = held(put(tmp_path / "x.png", png(workflow=CANVAS)))
        assert (found.is_embedded, found.is_canvas, found.content) == (True, True, CANVAS)

    def test_what_it_is_is_told_by_its_bytes(self, tmp_path: Path) -> None:
        assert held(put(tmp_path / "x.json", png(prompt=GRAPH))).content == GRAPH
        assert held(put(tmp_path / "x.png", GRAPH)).content == GRAPH
        assert held_of("http://x/y", png(prompt=GRAPH)).content == GRAPH

    def test_the_marks_of_its_job_are_gone(self, tmp_path: Path) -> None:
        job = "0f8fad5b-d9cb-469f-a165-70867728950e"
        inputs = {"filename_prefix": f"{job}_cat", "comfy_gateway_job": job}
        ran = {"1": {"class_type": "SaveImage", "inputs": inputs}}
        found = held(put(tmp_path / "x.png", png(prompt=ran))).file()
        assert found.workflow["1"]["inputs"] == {"filename_prefix": "cat"}

    @pytest.mark.parametrize("whole", [png(), png(parameters="a cat"), png()[:20]])
    def test_one_without_a_workflow(self, tmp_path: Path, whole: bytes) -> None:
        with pytest.raises(CommandFailed, match="is image/png, and no workflow") as raised:
            held(put(tmp_path / "x.png", whole))
        assert "as ComfyUI saved it" in (raised.value.hint or "")
