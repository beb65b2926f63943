"""Commands that need no gateway: check, config, and a serve that is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.running import ROOT, environment, free_port

OBJECT_INFO: dict[str, Any] = {
    "EmptyImage": {
        "input": {"required": {"width": ["INT", {}], "color": ["INT", {}]}},
        "output": ["IMAGE"],
        "output_node": False,
        "python_module": "nodes",
    },
    "ImageScale": {
        "input": {
            "required": {"image": ["IMAGE"], "upscale_method": [["bilinear", "lanczos"]]},
        },
        "output": ["IMAGE"],
        "output_node": False,
        "python_module": "nodes",
    },
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}},
        "output": [],
        "output_node": True,
        "python_module": "nodes",
    },
}


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended


def workflow() -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "color": 0}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": "lanczos"},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


@pytest.fixture
def info(tmp_path: Path) -> str:
    path = tmp_path / "object_info.json"
    path.write_text(json.dumps(OBJECT_INFO))
    return str(path)


def checked(folder: Path, info: str, found: Any) -> subprocess.CompletedProcess[str]:
    path = folder / "workflow.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return run(folder, "check", str(path), "--object-info", info)


class TestCheck:
    def test_a_good_workflow_passes(self, tmp_path: Path, info: str) -> None:
        ended = checked(tmp_path, info, workflow())
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.endswith("workflow.json: 3 nodes, nothing to change.\n")

    def test_every_problem_is_told_with_its_node_and_what_to_change(
        self, tmp_path: Path, info: str
    ) -> None:
        graph = workflow()
        del graph["1"]["inputs"]["color"]
        graph["2"]["inputs"]["upscale_method"] = "lanczo"
        graph["3"]["inputs"]["filename_prefix"] = "../../x"
        body = {"prompt": graph, "priority": 1000}
        ended = checked(tmp_path, info, body)
        assert (ended.returncode, ended.stderr) == (1, "")
        for told in (
            "Node 1 (EmptyImage): Required input is missing: color",
            "at: prompt.1.inputs.color",
            "Node 2 (ImageScale): Value not in list: upscale_method: 'lanczo' not in",
            "hint: The closest: lanczos.",
            "at: prompt.3.inputs.filename_prefix",
            "priority: Input should be less than or equal to 100",
        ):
            assert told in ended.stdout

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda graph: graph.pop("3"), "No node of the workflow produces an output"),
            (lambda graph: graph["2"].update(class_type="Imagescale"), "The closest: ImageScale"),
            (lambda graph: graph["2"]["inputs"].update(image=["9", 0]), "node '9' is not in"),
            (lambda graph: graph["2"]["inputs"].update(image=["2", 0]), "Dependency cycle"),
        ],
    )
    def test_what_it_finds(self, tmp_path: Path, info: str, change: Any, told: str) -> None:
        graph = workflow()
        change(graph)
        ended = checked(tmp_path, info, graph)
        assert (ended.returncode, told in ended.stdout) == (1, True)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("{", "is not JSON"),
            ("[]", "it is a list"),
            ("{}", "prompt is empty"),
            ('{"nodes": [], "links": []}', "no node of it runs"),
            ('{"prompt": {"nodes": [], "links": []}}', "no node of it runs"),
            ('{"1": []}', "prompt.1 is not a node"),
            ('{"1": {"inputs": {}}}', "has no class_type"),
        ],
    )
    def test_what_is_no_workflow(self, tmp_path: Path, info: str, content: str, told: str) -> None:
        ended = checked(tmp_path, info, content)
        assert (ended.returncode, told in ended.stderr, ended.stdout) == (1, True, "")

    def test_custom_nodes_may_say_nan(self, tmp_path: Path, info: str) -> None:
        said = {
            **OBJECT_INFO,
            "Custom": {"input": {"required": {"x": ["FLOAT", {"max": float("inf")}]}}},
        }
        Path(info).write_text(json.dumps(said))
        assert checked(tmp_path, info, workflow()).returncode == 0

    def test_a_comfyui_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(workflow()))
        port = str(free_port())
        ended = run(tmp_path, "check", str(path), COMFYUI_PORT_HOST=port)
        assert ended.returncode == 1
        assert f"http://127.0.0.1:{port}/object_info" in ended.stderr
        assert "--object-info" in ended.stderr


class TestConfig:
    def test_every_setting_with_its_source_and_no_secret(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "config", API_KEYS="ci:sesame", PORT="4000")
        rows = {line.split()[0]: line.split()[1:] for line in ended.stdout.splitlines()[1:]}
        assert (ended.returncode, ended.stderr) == (0, "")
        assert rows["PORT"] == ["4000", "environment"]
        assert rows["MAX_ATTEMPTS"] == ["2", "default"]
        assert rows["API_KEYS"] == ["***", "environment"]
        assert "sesame" not in ended.stdout

    def test_what_keeps_it_from_starting_is_told(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "config", HOST="0.0.0.0")
        assert (ended.returncode, "API_KEYS" in ended.stderr) == (1, True)
        assert "HOST" in ended.stdout

    def test_wrong_values_are_told_all_at_once(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "config", PORT="x", MAX_ATTEMPTS="0")
        assert ended.returncode == 1
        assert "PORT: " in ended.stderr
        assert "MAX_ATTEMPTS: " in ended.stderr


class TestServe:
    def test_wrong_settings_are_told_all_at_once(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "serve", PORT="x", MAX_ATTEMPTS="0")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("The settings do not allow a start:\n  PORT: ")
        assert "\n  MAX_ATTEMPTS: " in ended.stderr

    def test_it_carries_nothing_of_the_command_line_along(self, tmp_path: Path) -> None:
        program = (
            "import sys; from gateway.cli import main\n"
            "sys.argv = ['gateway', 'serve']\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = ('typer', 'click', 'rich', 'openapi_pydantic', 'pyvips', 'numpy', 'PIL')\n"
            "print('gateway.app' in sys.modules, [n for n in heavy if sys.modules.get(n)])"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment(tmp_path, PORT="x"),
            capture_output=True,
            text=True,
            check=True,
        )
        assert loaded.stdout == "True []\n"
