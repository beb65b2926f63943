"""What cannot be known is refused, and says of which node."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.workflows.convert import convert
from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    CLASSES,
    MUTED,
    canvas,
    instance,
    link,
    node,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.sending import refused, sent

INSIDE_UNKNOWN = subgraph("sub", node(5, "Missing"))


class TestClasses:
    def test_a_class_that_is_not_there(self) -> None:
        assert refused(
            canvas(node(1, "Latent", [64, 32, 2]), node(7, "Missing", title="Mine"))
        ) == [
            {
                "id": "7",
                "title": "Mine",
                "class_type": "Missing",
                "message": "this ComfyUI has no class Missing",
            }
        ]

    @pytest.mark.parametrize("key", ["cnr_id", "aux_id"])
    def test_where_it_comes_from(self, key: str) -> None:
        saved = canvas(node("a", "Missing", properties={key: "somebody/some-nodes"}))
        [found] = refused(saved)
        assert found["custom_node"] == "somebody/some-nodes"
        with pytest.raises(errors.NotConvertible) as caught:
            convert(saved, CLASSES)
        assert "somebody/some-nodes" in str(caught.value.hint)
        assert "Missing" in caught.value.message

    def test_the_registry_before_the_repository(self) -> None:
        properties = {"cnr_id": "some-nodes", "aux_id": "somebody/some-nodes"}
        [found] = refused(canvas(node(1, "Missing", properties=properties)))
        assert found["custom_node"] == "some-nodes"

    def test_all_of_them_are_told(self) -> None:
        saved = canvas(node(1, "Missing"), node(2, "KSampler", [1]), node(3, "Other"))
        assert [one["id"] for one in refused(saved)] == ["1", "2", "3"]

    def test_one_in_a_subgraph(self) -> None:
        saved = with_subgraphs(canvas(instance(2, INSIDE_UNKNOWN)), INSIDE_UNKNOWN)
        assert [one["id"] for one in refused(saved)] == ["2:5"]

    @pytest.mark.parametrize("mode", [MUTED, BYPASSED])
    def test_one_that_does_not_run_is_not_needed(self, mode: int) -> None:
        saved = canvas(node(1, "Latent", [64, 32, 2]), node(2, "Missing", [1], mode=mode))
        assert set(sent(saved)) == {"1"}

    def test_a_subgraph_that_the_file_lacks(self) -> None:
        [found] = refused(canvas(instance(2, INSIDE_UNKNOWN)))
        assert (found["id"], found["class_type"]) == ("2", "sub")

    def test_one_that_a_bypassed_node_takes_the_place_of(self) -> None:
        """Its types are those that the file has."""
        saved = canvas(
            node(1, "LoadImage", ["cat.png", "image"]),
            node(
                2,
                "Missing",
                mode=BYPASSED,
                inputs=[
                    {"name": "mask", "type": "MASK", "link": None},
                    {"name": "image", "type": "IMAGE", "link": None},
                ],
                outputs=[{"name": "IMAGE", "type": "IMAGE", "links": None}],
            ),
            node(3, "Preview"),
            wires=[link(1, 1, 2, "mask"), link(1, 0, 2, "image"), link(2, 0, 3, "images")],
        )
        assert sent(saved)["3"] == ("Preview", {"images": ["1", 0]})


def test_two_nodes_of_one_id() -> None:
    """Node 5 in the subgraph of node 2 is `2:5`, and so is one beside it."""
    within = subgraph("sub", node(5, "Latent", [1, 2, 3]))
    beside = node("2:5", "Latent", [1, 2, 3])
    [found] = refused(with_subgraphs(canvas(instance(2, within), beside), within))
    assert found["id"] == "2:5"
    assert "another node has this id" in found["message"]


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "values", "told"),
        [
            ("KSampler", [5, "fixed", 9], "cfg"),
            ("KSampler", [5, 9, 7.5, "heun", "karras", 0.5], "control_after_generate"),
            ("KSampler", [5, "fixed", 9, 7.5], "sampler_name"),
            ("Latent", ["a", "b", 1, 2], "width"),
            ("Number", ["own", "fixed", 3], "value"),
        ],
    )
    def test_a_count_that_does_not_fit(self, kind: str, values: Any, told: str) -> None:
        properties = {"aux_id": "somebody/some-nodes"}
        [found] = refused(canvas(node(4, kind, values, title="Mine", properties=properties)))
        assert told in found["message"]
        assert (found["id"], found["title"], found["class_type"]) == ("4", "Mine", kind)
        assert found["custom_node"] == "somebody/some-nodes"

    def test_a_value_is_not_told(self) -> None:
        """It may be a key."""
        [found] = refused(canvas(node(1, "Latent", ["sk-1234", 1, 2, 3])))
        assert "a text stands where width (INT) is" in found["message"]

    @pytest.mark.parametrize(
        ("kind", "values", "name", "default"),
        [
            ("Latent", [64], "height", 512),
            ("KSampler", [5, "fixed", 9, 7.5, "heun", "karras"], "denoise", 1),
        ],
    )
    def test_a_widget_that_its_class_got_since(
        self, kind: str, values: Any, name: str, default: Any
    ) -> None:
        made = convert(canvas(node(1, kind, values)), CLASSES)
        assert made.graph["1"]["inputs"][name] == default
        [warning] = made.warnings
        assert f"the file has no value for {name}" in warning

    def test_what_is_over_at_the_end_is_a_warning(self) -> None:
        found = convert(canvas(node(4, "Latent", [64, 32, 2, "more"])), CLASSES)
        [warning] = found.warnings
        assert warning.startswith("Node 4")

    def test_no_more_are_told_than_anybody_reads(self) -> None:
        saved = canvas(*(node(one, f"{'x' * 10_000}{one}") for one in range(500)))
        with pytest.raises(errors.NotConvertible) as caught:
            convert(saved, CLASSES)
        assert len(caught.value.details["nodes"]) == 100
        assert len(caught.value.message) < 1000
        assert "499 more" in caught.value.message


@pytest.mark.parametrize(
    ("saved", "where"),
    [
        ({"nodes": "x"}, "prompt.nodes"),
        ({"nodes": [1]}, "prompt.nodes.0"),
        ({"nodes": [{"id": 1}]}, "prompt.nodes.0.type"),
        ({"nodes": [], "links": 5}, "prompt.links"),
        ({"nodes": [], "definitions": {"subgraphs": [7]}}, "prompt.definitions.subgraphs.0"),
        (
            {"nodes": [], "definitions": {"subgraphs": [{"id": "a", "nodes": [None]}]}},
            "prompt.definitions.subgraphs.0.nodes.0",
        ),
    ],
)
def test_what_is_no_workflow_at_all(saved: Any, where: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        convert(saved, CLASSES)
    assert where in caught.value.message


def test_what_was_given_stays_as_it_is() -> None:
    saved = canvas(node(1, "Latent", {"width": 64}), node(2, "Missing"))
    before = repr(saved)
    refused(saved)
    assert repr(saved) == before
