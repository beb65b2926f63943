"""What --set and --image do to a graph."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.failure import CommandFailed
from gateway.cli.file_edits import with_images, with_values


def graph(**nodes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"class_type": "LoadImage", "inputs": inputs} for name, inputs in nodes.items()}


class TestWithValues:
    @pytest.mark.parametrize(
        ("current", "text", "value"),
        [
            (1, "2", 2),
            (1, "9007199254740993", 9007199254740993),
            (1.0, "0.5", 0.5),
            (True, "false", False),
            (1, "euler", "euler"),
            ("a cat", "42", "42"),
            ("a cat", "true", "true"),
            ("a cat", '"42"', "42"),
            ("a cat", "a=b", "a=b"),
            ("a cat", "", ""),
            (["1", 0], '["2", 0]', ["2", 0]),
        ],
    )
    def test_a_value_is_json_unless_the_input_is_a_text(
        self, current: Any, text: str, value: Any
    ) -> None:
        edited, notes = with_values(graph(a={"x": current}), [f"a.x={text}"])
        assert (edited["a"]["inputs"]["x"], notes) == (value, [])

    def test_a_node_id_may_hold_dots(self) -> None:
        edited, _ = with_values({"5.1": {"class_type": "A", "inputs": {"x": 1}}}, ["5.1.x=2"])
        assert edited["5.1"]["inputs"]["x"] == 2

    def test_a_new_input_is_noted(self) -> None:
        edited, notes = with_values(graph(a={"x": 1}), ["a.y=2"])
        assert edited["a"]["inputs"] == {"x": 1, "y": 2}
        assert notes == ["node a (LoadImage) has no input 'y' yet; it has: x."]

    @pytest.mark.parametrize("assignment", ["", "a", "a.x", "x=1", ".x=1", "a.=1"])
    def test_what_is_no_assignment(self, assignment: str) -> None:
        with pytest.raises(CommandFailed, match=r"is not NODE\.INPUT=VALUE"):
            with_values(graph(a={"x": 1}), [assignment])

    def test_an_unknown_node_is_told_with_those_there_are(self) -> None:
        with pytest.raises(CommandFailed) as raised:
            with_values(graph(a={}, b={}), ["c.x=1"])
        assert raised.value.hint == "The nodes: a (LoadImage), b (LoadImage)."


class TestWithImages:
    def test_a_file_becomes_base64(self, tmp_path: Path) -> None:
        (tmp_path / "x.png").write_bytes(b"pixels")
        edited = with_images(graph(a={"image": "old.png"}), [str(tmp_path / "x.png")])
        assert base64.b64decode(edited["a"]["inputs"]["image"]) == b"pixels"

    def test_a_url_stays(self) -> None:
        url = "https://example.org/x.png?size=1"
        assert with_images(graph(a={"image": ""}), [url])["a"]["inputs"]["image"] == url

    def test_several_are_told_apart_by_node(self) -> None:
        given = ["a=http://example.org/a", "b=http://example.org/b"]
        edited = with_images(graph(a={"image": ""}, b={"audio": ""}), given)
        assert edited["a"]["inputs"]["image"] == "http://example.org/a"
        assert edited["b"]["inputs"]["audio"] == "http://example.org/b"

    @pytest.mark.parametrize(
        ("nodes", "image", "told"),
        [
            ({"a": {"image": ""}, "b": {"image": ""}}, "x.png", "node a .*, node b"),
            ({"a": {"image": ["1", 0]}}, "x.png", "No node of the workflow takes an image"),
            ({"a": {"image": ""}, "b": {}}, "b=x.png", "node b .* takes no image"),
            ({"a": {"image": ""}}, "no such.png", "No such file"),
        ],
    )
    def test_what_cannot_be_done(self, nodes: dict[str, Any], image: str, told: str) -> None:
        with pytest.raises(CommandFailed, match=told):
            with_images(graph(**nodes), [image])

    def test_two_images_for_one_node(self) -> None:
        with pytest.raises(CommandFailed, match="two images"):
            with_images(graph(a={"image": ""}), ["http://example.org/a", "http://example.org/b"])
