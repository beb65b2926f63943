"""What --object-info takes, and what it says of anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import object_info
from gateway.cli.failure import CommandFailed
from tests.ports import free_port

CLASSES = {"A": {"input": {"required": {}}, "output": []}}


class TestDefinitions:
    @pytest.mark.parametrize(
        "whole", [CLASSES, {"object_info": CLASSES}, {"comfyui": "0.3", "object_info": CLASSES}]
    )
    def test_bare_or_wrapped(self, whole: Any) -> None:
        assert object_info.definitions("x", json.dumps(whole).encode()) == CLASSES

    def test_a_class_may_be_called_object_info(self) -> None:
        found = {"object_info": CLASSES["A"]}
        assert object_info.definitions("x", json.dumps(found).encode()) == found

    def test_as_other_programs_write_it(self) -> None:
        strange = b'{"A": {"input": {"required": {"x": ["FLOAT", {"max": Infinity}]}}}}'
        assert "A" in object_info.definitions("x", strange)
        assert object_info.definitions("x", json.dumps(CLASSES).encode("utf-16")) == CLASSES

    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (b"", "is not JSON: it is empty"),
            (b"<html>", r"is not JSON: it is a web page \(HTML\)"),
            (b"[" * 100_000, "nests too deep"),
            (b"[]", "no node classes"),
            (b"{}", "no node classes"),
            (b'{"A": 1}', "no node classes"),
            (b'{"object_info": {}}', "no node classes"),
            (b'{"nodes": [], "links": []}', "a workflow, and no node classes"),
            (b'{"1": {"class_type": "A", "inputs": {}}}', "a workflow, and no node classes"),
        ],
    )
    def test_anything_else_is_told_with_what_to_give(self, raw: bytes, told: str) -> None:
        with pytest.raises(CommandFailed, match=told) as raised:
            object_info.definitions("x", raw)
        assert "GET /object_info" in (raised.value.hint or "")


class TestRead:
    async def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match="No such file"):
            await object_info.read(str(tmp_path / "none.json"))

    async def test_a_comfyui_that_is_not_there(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        with pytest.raises(CommandFailed, match=f"{url}/object_info") as raised:
            await object_info.read(url)
        assert "--object-info a file" in (raised.value.hint or "")

    async def test_what_is_no_address(self) -> None:
        with pytest.raises(CommandFailed):
            await object_info.read("http://[")
