"""What JSON holds that people and programs save, and the same of it at every door."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway import errors, given, written
from gateway.cli.failure import CommandFailed
from gateway.cli.workflow_file import held
from gateway.warmup import _parsed
from gateway.workflows.files import graph_file
from gateway.workflows.files.conversion import Conversion
from tests import embedding
from tests.contract.canvas_folder import CANVAS, OBJECT_INFO, plain
from tests.contract.canvas_folder import GRAPH as CONVERTED

GRAPH = {"1": {"class_type": "A", "inputs": {"x": 1}}}
JOB = "0f8fad5b-d9cb-469f-a165-70867728950e"
RAN = {"1": {"class_type": "A", "inputs": {"x": 1, "comfy_gateway_job": JOB}, "is_changed": [1]}}
READING = Conversion(lambda: OBJECT_INFO, given.embedded_in)


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def every_door(tmp_path: Path, raw: bytes) -> list[Any]:
    """Return what becomes of a file in a body, WORKFLOW_DIR, the warm-up, the command line."""
    file = tmp_path / "w.json"
    file.write_bytes(raw)
    parsed = graph_file.parse("w.json", raw, READING)
    assert parsed.found is not None, parsed.mistakes
    in_cli = held(file).content
    bodies = [given.workflow_of(raw), given.workflow_in(file, 1 << 20), in_cli]
    if parsed.is_canvas:
        assert all(body == CANVAS for body in bodies)
        return [plain(parsed.found.graph), plain(_parsed(raw, READING))]
    return [*bodies, parsed.found.graph, _parsed(raw, READING)]


FILES = {
    "bare": text(GRAPH),
    "marked": codecs.BOM_UTF8 + text(GRAPH),
    "utf-16": json.dumps(GRAPH).encode("utf-16"),
    "utf-16, not marked": json.dumps(GRAPH).encode("utf-16-le"),
    "a request": text({"prompt": GRAPH, "priority": 3}),
    "by a program": text({"workflow": GRAPH}),
    "both": text({"prompt": {"text": "a cat"}, "workflow": GRAPH}),
    "described": text({**GRAPH, "_workflow_metadata": {"description": "x"}}),
    "a picture": embedding.png({"prompt": json.dumps(RAN)}),
    "a picture of another program": embedding.png(
        {"prompt": '{"text": "a cat"}', "workflow": json.dumps(GRAPH)}
    ),
}
CANVASES = {
    "bare": text(CANVAS),
    "utf-16": json.dumps(CANVAS).encode("utf-16"),
    "a request": text({"prompt": CANVAS}),
    "by a program": text({"workflow": CANVAS, "name": "x"}),
    "a picture": embedding.png({"prompt": '{"text": "a cat"}', "workflow": json.dumps(CANVAS)}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_graph_is_the_same_at_every_door(tmp_path: Path, name: str) -> None:
    assert every_door(tmp_path, FILES[name]) == [GRAPH] * 5


@pytest.mark.parametrize("name", CANVASES)
def test_so_is_a_canvas(tmp_path: Path, name: str) -> None:
    assert every_door(tmp_path, CANVASES[name]) == [CONVERTED] * 2


def test_so_are_nan_and_halves_of_characters(tmp_path: Path) -> None:
    raw = b'{"1": {"class_type": "A", "inputs": {"x": NaN, "y": "\\ud800"}}}'
    expected = {"1": {"class_type": "A", "inputs": {"x": None, "y": "\ufffd"}}}
    assert every_door(tmp_path, raw) == [expected] * 5


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"nodes": [', "not JSON"),
        (b'{"a": "\xff"}', "no characters"),
        (b'{"a":' * 100_000, "too deep"),
        (b'{"a": NaN, "b": ' + b"1" * 5000 + b"}", "too long"),
        (b"<!doctype html><html>", r"a web page \(HTML\)"),
        (b"PK\x03\x04" + bytes(40), "an archive"),
        (b"nodes:\n  - a\n", "text that begins with 'nodes: - a'"),
        ("größer".encode(), "text that begins with"),
        (b"\x00\x01\x02", "begins with 00 01 02"),
        (b" \n", "it is empty"),
        (b"GIF89a" + bytes(40), "is image/gif, and no workflow"),
        (embedding.png({"workflow": '{"nodes": ['}), "the workflow in it is not JSON"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_so_is_what_is_told_of_anything_else(tmp_path: Path, raw: bytes, told: str) -> None:
    file = tmp_path / "w.json"
    file.write_bytes(raw)
    with pytest.raises(errors.RequestRefused, match=told):
        given.workflow_of(raw)
    with pytest.raises(errors.RequestRefused, match=told):
        given.workflow_in(file, 1 << 20)
    with pytest.raises(errors.RequestRefused, match=told):
        _parsed(raw, READING)
    with pytest.raises(CommandFailed, match=told):
        held(file)
    [wrong] = graph_file.parse("w.json", raw, READING).mistakes
    assert re.search(told, wrong.message)


def test_a_graph_may_have_nodes_of_these_names() -> None:
    for whole in ({"prompt": GRAPH["1"]}, {"workflow": {"a": 1}, **GRAPH}):
        assert written.unwrapped(whole).workflow == whole


@pytest.mark.parametrize("most", [4, 64])
def test_depth(most: int) -> None:
    value: Any = 1
    for _ in range(most):
        value = {"a": [value][0]}
    assert not written.is_deeper(value, most)
    assert written.is_deeper([value], most)
