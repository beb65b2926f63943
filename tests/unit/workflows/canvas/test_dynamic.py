"""Inputs of newer classes: those that a choice brings, and those that grow with their links."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import canvas, link, node
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

PICTURE = ("LoadImage", {"image": "cat.png"})


def picture(node_id: Any) -> dict[str, Any]:
    return node(node_id, "LoadImage", ["cat.png", "image"])


def slots(*names: str, kind: str = "IMAGE") -> list[dict[str, Any]]:
    return [{"name": name, "type": kind, "link": None} for name in names]


CASES: Cases = {
    "what a choice brings": (
        canvas(node(1, "Dynamic", ["size", 16, 4], inputs=[])),
        {"1": ("Dynamic", {"way": "size", "way.size": 16, "after": 4})},
    ),
    "another choice": (
        canvas(
            picture(1),
            node(2, "Dynamic", ["by", 1.5, 4], inputs=slots("way.m", kind="MASK")),
            wires=[link(1, 1, 2, "way.m")],
        ),
        {
            "1": PICTURE,
            "2": ("Dynamic", {"way": "by", "way.by": 1.5, "after": 4, "way.m": ["1", 1]}),
        },
    ),
    "one that brings nothing": (
        canvas(node(1, "Dynamic", ["none", 4], inputs=[])),
        {"1": ("Dynamic", {"way": "none", "after": 4})},
    ),
    "the first choice where there are no values": (
        canvas(node(1, "Dynamic", inputs=[])),
        {"1": ("Dynamic", {"way": "size", "way.size": 8, "after": 3})},
    ),
    "by name": (
        canvas(node(1, "Dynamic", {"way": "by", "way.by": 0.5, "after": 1}, inputs=[])),
        {"1": ("Dynamic", {"way": "by", "way.by": 0.5, "after": 1})},
    ),
    "a socket of several types": (
        canvas(picture(1), node(2, "Dynamic", ["none", 4]), wires=[link(1, 1, 2, "any")]),
        {"1": PICTURE, "2": ("Dynamic", {"way": "none", "after": 4, "any": ["1", 1]})},
    ),
    "as many as are linked": (
        canvas(
            picture(1),
            node(
                2,
                "Growing",
                [0.25],
                inputs=slots("images.image0", "images.image1", "images.image2", "images.image3"),
            ),
            wires=[link(1, 0, 2, f"images.image{one}") for one in range(3)],
        ),
        {
            "1": PICTURE,
            "2": (
                "Growing",
                {"amount": 0.25, **{f"images.image{one}": ["1", 0] for one in range(3)}},
            ),
        },
    ),
    "none of them": (
        canvas(node(1, "Growing", [0.25], inputs=[])),
        {"1": ("Growing", {"amount": 0.25})},
    ),
}


@told(CASES)
def test_dynamic_inputs(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)
