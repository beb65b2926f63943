"""`gateway convert`, `check` and `workflows new`, on what people save; no gateway runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import yaml

from gateway import cli
from tests.acceptance.test_cli_without_gateway import OBJECT_INFO, run
from tests.acceptance.test_cli_without_gateway import workflow as graph
from tests.hosts import Host, running, says
from tests.ports import free_port
from tests.unit.cli.test_workflow_file import png, put

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "color": 0}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def canvas(**of_first: Any) -> dict[str, Any]:
    first = {"id": 1, "type": "EmptyImage", "widgets_values": [8, 0], **of_first}
    saver = {
        "id": 3,
        "type": "SaveImage",
        "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
        "widgets_values": ["x"],
    }
    first["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]
    note = {"id": 4, "type": "Note", "widgets_values": ["what it is for"]}
    return {
        "nodes": [first, saver, note],
        "links": [[1, 1, 0, 3, 0, "IMAGE"]],
        "version": 0.4,
    }


UNKNOWN = canvas(type="Blur", title="Soften it", properties={"cnr_id": "comfyui-blur"})
TOLD = "node 1 'Soften it' (Blur) of the custom node comfyui-blur"


def bare(path: Path) -> Any:
    """Return the graph in a file, less what the canvas calls its nodes."""
    found = json.loads(path.read_bytes())
    return {key: {k: v for k, v in node.items() if k != "_meta"} for key, node in found.items()}


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """What runs the command line here: a process for each would take a second."""

    def called(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Ended(status, said.out, said.err)

    return called


@pytest.fixture
def info(tmp_path: Path) -> Path:
    return put(tmp_path / "object_info.json", OBJECT_INFO)


@pytest.fixture
def convert(command: Command, info: Path, tmp_path: Path) -> Command:
    def called(*files: str | Path) -> Ended:
        return command("convert", *files, "--object-info", info, "--out", tmp_path / "a" / "out")

    return called


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


class TestConvert:
    def test_it_is_a_command_of_its_own(self, tmp_path: Path, info: Path) -> None:
        file = put(tmp_path / "w.json", canvas())
        out = tmp_path / "out"
        given = (str(file), "--object-info", str(info), "--out", str(out))
        ended = run(tmp_path, "convert", *given)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"{out / 'w.json'}\n"
        assert bare(out / "w.json") == GRAPH
        assert (out / "w.json").read_text().startswith('{\n  "1": {\n')
        assert [path.name for path in out.iterdir()] == ["w.json"]

    def test_a_file_that_fails_does_not_stop_the_others(
        self, convert: Command, tmp_path: Path
    ) -> None:
        files = [
            put(tmp_path / "broken.json", b'{"nodes": ['),
            tmp_path / "none.json",
            put(tmp_path / "unknown.json", UNKNOWN),
            put(tmp_path / "empty.png", png()),
            put(tmp_path / "no graph.json", {"name": "x"}),
            put(tmp_path / "last.json", canvas()),
        ]
        ended = convert(*files)
        out = tmp_path / "a" / "out"
        assert (ended.status, ended.out) == (1, f"{out / 'last.json'}\n")
        for file in files[:-1]:
            assert f"error: {file}" in ended.err
        assert f"error: {files[2]}: {TOLD}: " in ended.err
        assert [path.name for path in out.iterdir()] == ["last.json"]

    def test_what_is_a_graph_already_is_written_as_it_is(
        self, convert: Command, tmp_path: Path
    ) -> None:
        wrapped = {"prompt": {**GRAPH, "_workflow_metadata": {}}, "priority": 3}
        files = [put(tmp_path / "bare", GRAPH), put(tmp_path / "wrapped.json", wrapped)]
        ended = convert(*files)
        assert ended.status == 0
        assert [line.partition(": ")[0] for line in ended.err.splitlines()] == list(map(str, files))
        for name in ("bare", "wrapped.json"):
            assert json.loads((tmp_path / "a" / "out" / name).read_bytes()) == GRAPH

    def test_pictures(self, convert: Command, tmp_path: Path) -> None:
        files = [
            put(tmp_path / "ran.png", png(prompt=GRAPH, workflow=UNKNOWN)),
            put(tmp_path / "drawn.v2.png", png(workflow=canvas())),
        ]
        ended = convert(*files)
        assert (ended.status, ended.err) == (0, "")
        assert bare(tmp_path / "a" / "out" / "ran.json") == GRAPH
        assert bare(tmp_path / "a" / "out" / "drawn.v2.json") == GRAPH

    def test_of_two_with_one_name_the_second_fails(self, convert: Command, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        first = put(tmp_path / "w.json", canvas())
        others = [
            put(tmp_path / "b" / "w.json", canvas(widgets_values=[9, 9])),
            put(tmp_path / "w.png", png(prompt=GRAPH)),
        ]
        ended = convert(first, *others, first)
        assert (ended.status, len(ended.out.splitlines())) == (1, 1)
        target = tmp_path / "a" / "out" / "w.json"
        for other in (*others, first):
            assert f"The graphs of {first} and of {other} would both be {target}." in ended.err
        assert bare(tmp_path / "a" / "out" / "w.json") == GRAPH

    def test_no_input_is_written_over(self, command: Command, tmp_path: Path, info: Path) -> None:
        files = [put(tmp_path / "w.json", canvas()), put(tmp_path / "w.png", png(prompt=GRAPH))]
        for given in (files, files[:1]):
            ended = command("convert", *given, "--object-info", info, "--out", tmp_path)
            assert (ended.status, ended.out) == (1, "")
            assert "is an input, and is not written over" in ended.err
        assert json.loads(files[0].read_bytes()) == canvas()

    @pytest.mark.parametrize("none_runs", [[], [{"id": 4, "type": "Note"}]])
    def test_a_canvas_of_which_nothing_runs(
        self, convert: Command, tmp_path: Path, none_runs: list[Any]
    ) -> None:
        file = put(tmp_path / "w.json", {"nodes": none_runs, "links": []})
        ended = convert(file)
        assert (ended.status, f"error: {file}: no node of it runs." in ended.err) == (1, True)
        assert list((tmp_path / "a" / "out").iterdir()) == []

    @pytest.mark.parametrize(
        ("given", "told"),
        [({"nodes": [], "links": []}, "a workflow, and no node classes"), ({}, "no node classes")],
    )
    def test_object_info_that_is_none_is_told_once(
        self, command: Command, tmp_path: Path, given: Any, told: str
    ) -> None:
        file = put(tmp_path / "w.json", GRAPH)
        info = put(tmp_path / "info.json", given)
        ended = command("convert", file, file, "--object-info", info, "--out", tmp_path / "out")
        assert (ended.status, ended.err.count(told)) == (1, 1)
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_cannot_be_made(self, command: Command, tmp_path: Path) -> None:
        file = put(tmp_path / "w.json", GRAPH)
        ended = command("convert", file, "--out", file)
        assert (ended.status, f"--out {file}: File exists" in ended.err) == (1, True)

    def test_large_files_are_answered(self, convert: Command, tmp_path: Path) -> None:
        notes = [
            {"id": number, "type": "Note", "widgets_values": ["x" * 200]}
            for number in range(10_000)
        ]
        whole = {**canvas(), "nodes": [*canvas()["nodes"], *notes]}
        files = [put(tmp_path / "w.json", orjson.dumps(whole))]
        files.append(put(tmp_path / "half.json", orjson.dumps(whole)[:1_000_000]))
        ended = convert(*files)
        assert (ended.status, f"error: {files[1]} is not JSON" in ended.err) == (1, True)
        assert bare(tmp_path / "a" / "out" / "w.json") == GRAPH


class TestUrls:
    async def test_of_comfyui_and_of_files(
        self, host: Host, command: Command, tmp_path: Path
    ) -> None:
        host.on("/object_info", says("HTTP/1.1 200 OK", orjson.dumps(OBJECT_INFO)))
        host.on("/a/my%20w.json", says("HTTP/1.1 200 OK", orjson.dumps(canvas())))
        host.on("/gone.json", says("HTTP/1.1 404 Not Found"))
        host.on("/login", says("HTTP/1.1 200 OK", b"<!DOCTYPE html><html>"))
        secret = host.url("/gone.json?token=hidden").replace("//", "//me:hidden@")
        ended = await asyncio.to_thread(
            command,
            *("convert", host.url("/a/my%20w.json"), secret, host.url("/login")),
            *("--object-info", host.url(""), "--out", str(tmp_path / "out")),
        )
        assert (ended.status, "/gone.json?token=*** answered 404" in ended.err) == (1, True)
        assert "hidden" not in ended.err
        assert (
            "/login is neither JSON nor of a type that holds a workflow: it is a web" in ended.err
        )
        assert bare(tmp_path / "out" / "my w.json") == GRAPH
        for words in (("check",), ("workflows", "new")):
            given = (*words, host.url("/a/my%20w.json"), "--object-info", host.url(""))
            assert (await asyncio.to_thread(command, *given)).status == 0

    @pytest.mark.parametrize("words", [("check",), ("workflows", "new"), ("submit",)])
    def test_of_storages_they_are_not_fetched(self, command: Command, words: Any) -> None:
        ended = command(*words, "s3://bucket/w.json")
        assert (ended.status, "s3://bucket/w.json cannot be fetched from here" in ended.err) == (
            1,
            True,
        )

    async def test_a_gateway_is_no_comfyui(
        self, host: Host, command: Command, tmp_path: Path
    ) -> None:
        body = b'{"error": "There is nothing here.", "code": "not_found"}'
        host.on("/object_info", says("HTTP/1.1 404 Not Found", body))
        file = put(tmp_path / "w.json", canvas())
        ended = await asyncio.to_thread(command, "check", file, "--object-info", host.url(""))
        assert (ended.status, "This is a gateway, and no ComfyUI" in ended.err) == (1, True)


class TestCheck:
    @pytest.mark.parametrize("whole", [canvas(), {"prompt": canvas()}, png(workflow=canvas())])
    def test_it_says_that_it_was_converted(
        self, command: Command, tmp_path: Path, info: Path, whole: Any
    ) -> None:
        ended = command("check", put(tmp_path / "w", whole), "--object-info", info)
        assert (ended.status, ended.out) == (0, f"{tmp_path / 'w'}: 2 nodes, nothing to change.\n")
        assert ended.err.startswith("note: The workflow was converted")

    def test_what_is_wrong_is_told_of_the_graph(
        self, command: Command, tmp_path: Path, info: Path
    ) -> None:
        whole = canvas()
        whole["nodes"][1]["widgets_values"] = ["../x"]
        ended = command("check", put(tmp_path / "w.json", whole), "--object-info", info)
        assert (ended.status, "at: prompt.3.inputs.filename_prefix" in ended.out) == (1, True)

    def test_what_cannot_be_converted(self, command: Command, tmp_path: Path, info: Path) -> None:
        ended = command("check", put(tmp_path / "w.json", UNKNOWN), "--object-info", info)
        assert (ended.status, TOLD in ended.out, ended.err) == (1, True, "")


class TestFolder:
    def test_what_was_not_checked_is_no_pass(
        self, command: Command, tmp_path: Path, info: Path
    ) -> None:
        file = put(tmp_path / "w.json", canvas())
        ended = command("workflows", "check", file)
        assert (ended.status, ended.out) == (1, "")
        assert "error: Nothing was checked." in ended.err
        ended = command("workflows", "check", file, "--object-info", info)
        assert (ended.status, ended.out) == (0, "1 workflow, nothing to change.\n")


class TestNew:
    @pytest.mark.parametrize("whole", [canvas(), png(workflow=canvas())])
    def test_a_manifest_of_the_graph_that_it_becomes(
        self, command: Command, tmp_path: Path, info: Path, whole: Any
    ) -> None:
        file = put(tmp_path / "w", whole)
        ended = command("workflows", "new", file, "--object-info", info)
        assert (ended.status, ended.err.startswith("note: The workflow was converted")) == (0, True)
        assert "parameters" in yaml.safe_load(ended.out)

    @pytest.mark.parametrize(
        ("file", "output", "named"),
        [
            ("w.json", "w.yaml", None),
            ("w.json", "other.yaml", "w.json"),
            ("a/w.json", "w.yaml", "a/w.json"),
            ("w.json", "a/w.yaml", None),
            ("w.png", "w.yaml", "w.png"),
            ("w.png", None, "w.png"),
            ("w.json", None, None),
        ],
    )
    def test_it_names_the_file_where_its_own_name_does_not(
        self, command: Command, tmp_path: Path, file: str, output: str | None, named: str | None
    ) -> None:
        (tmp_path / "a").mkdir()
        put(tmp_path / file, png(prompt=GRAPH) if file.endswith(".png") else GRAPH)
        flags = ["-o", tmp_path / output] if output else []
        ended = command("workflows", "new", tmp_path / file, *flags)
        text = (tmp_path / output).read_text() if output else ended.out
        assert (ended.status, yaml.safe_load(text).get("workflow_file")) == (0, named)

    def test_without_definitions_it_says_what_to_give(
        self, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COMFYUI_PORT_HOST", str(free_port()))
        ended = command("workflows", "new", put(tmp_path / "w.json", canvas()))
        assert (ended.status, ended.out) == (1, "")
        assert "is in the format of the canvas" in ended.err
        assert "--object-info" in ended.err
        assert command("workflows", "new", put(tmp_path / "w.json", graph())).status == 0
