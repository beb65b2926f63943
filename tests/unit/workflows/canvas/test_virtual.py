"""Nodes of the canvas alone: reroutes, primitives, notes, SetNode and GetNode."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    MUTED,
    OUTSIDE,
    canvas,
    getter,
    instance,
    link,
    node,
    primitive,
    reroute,
    setter,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

PICTURE = ("LoadImage", {"image": "cat.png"})
LATENT = {"width": 64, "height": 32, "count": 2}


def picture(node_id: Any, **more: Any) -> dict[str, Any]:
    return node(node_id, "LoadImage", ["cat.png", "image"], **more)


def latent(node_id: Any = 1) -> dict[str, Any]:
    return node(node_id, "Latent", [64, 32, 2])


def shown(*middle: dict[str, Any], wires: Any) -> dict[str, Any]:
    """Return a file: picture 1, and node 9 that shows one."""
    return canvas(picture(1), *middle, node(9, "Preview"), wires=wires)


def note(node_id: Any, kind: str) -> dict[str, Any]:
    return node(node_id, kind, ["# About"], inputs=[], outputs=[])


THROUGH = {"1": PICTURE, "9": ("Preview", {"images": ["1", 0]})}
NOTHING = {"1": PICTURE, "9": ("Preview", {})}

REROUTES: Cases = {
    "a reroute": (
        shown(reroute(2), wires=[link(1, 0, 2, 0), link(2, 0, 9, "images")]),
        THROUGH,
    ),
    "three": (
        shown(
            *(reroute(one) for one in (2, 3, 4)),
            wires=[
                *(link(1, 0, 2, 0), link(2, 0, 3, 0), link(3, 0, 4, 0)),
                link(4, 0, 9, "images"),
            ],
        ),
        THROUGH,
    ),
    "one that nothing comes into": (shown(reroute(2), wires=[link(2, 0, 9, "images")]), NOTHING),
    "one before a widget": (
        canvas(
            latent(),
            node(2, "Number", [7, "fixed"]),
            reroute(3),
            wires=[link(2, 0, 3, 0), link(3, 0, 1, "width")],
        ),
        {"1": ("Latent", {**LATENT, "width": ["2", 0]}), "2": ("Number", {"value": 7})},
    ),
    "one that nothing comes into, before a widget": (
        canvas(latent(), reroute(3), wires=[link(3, 0, 1, "width")]),
        {"1": ("Latent", LATENT)},
    ),
    "one that is bypassed": (
        shown(reroute(2, mode=BYPASSED), wires=[link(1, 0, 2, 0), link(2, 0, 9, "images")]),
        THROUGH,
    ),
    "one behind a bypassed node": (
        shown(
            node(2, "Invert", mode=BYPASSED),
            reroute(3),
            wires=[link(1, 0, 2, "image"), link(2, 0, 3, 0), link(3, 0, 9, "images")],
        ),
        THROUGH,
    ),
    "one behind a muted node": (
        shown(
            node(2, "Invert", mode=MUTED),
            reroute(3),
            wires=[link(1, 0, 2, "image"), link(2, 0, 3, 0), link(3, 0, 9, "images")],
        ),
        NOTHING,
    ),
    "those of newer files, which lie on the wires": (
        {
            **shown(wires=[link(1, 0, 9, "images")]),
            "extra": {
                "reroutes": [{"id": 1, "pos": [1, 1], "linkIds": [1]}],
                "linkExtensions": [{"id": 1, "parentId": 1}],
            },
        },
        THROUGH,
    ),
}

PRIMITIVES: Cases = {
    "a primitive": (
        canvas(latent(), primitive(2, [720, "fixed"]), wires=[link(2, 0, 1, "width")]),
        {"1": ("Latent", {**LATENT, "width": 720})},
    ),
    "for several": (
        canvas(
            latent(),
            latent(2),
            primitive(3, [720, "fixed"]),
            wires=[link(3, 0, 1, "width"), link(3, 0, 1, "height"), link(3, 0, 2, "count")],
        ),
        {
            "1": ("Latent", {**LATENT, "width": 720, "height": 720}),
            "2": ("Latent", {**LATENT, "count": 720}),
        },
    ),
    "a text": (
        canvas(
            node(1, "Words", ["own"]),
            primitive(2, ["given"], "STRING"),
            wires=[link(2, 0, 1, "value")],
        ),
        {"1": ("Words", {"value": "given"})},
    ),
    "an empty text": (
        canvas(
            node(1, "Words", ["own"]), primitive(2, [""], "STRING"), wires=[link(2, 0, 1, "value")]
        ),
        {"1": ("Words", {"value": ""})},
    ),
    "a choice": (
        canvas(
            node(1, "Loader", ["a.ckpt"]),
            primitive(2, ["b.ckpt", "fixed", ""], "COMBO"),
            wires=[link(2, 0, 1, "file")],
        ),
        {"1": ("Loader", {"file": "b.ckpt"})},
    ),
    "nought": (
        canvas(latent(), primitive(2, [0, "fixed"]), wires=[link(2, 0, 1, "width")]),
        {"1": ("Latent", {**LATENT, "width": 0})},
    ),
    "never given a value": (
        canvas(latent(), primitive(2), wires=[link(2, 0, 1, "width")]),
        {"1": ("Latent", LATENT)},
    ),
    "linked to nothing": (canvas(latent(), primitive(2, [5, "fixed"])), {"1": ("Latent", LATENT)}),
    "beyond what its widget takes": (
        canvas(
            node(1, "Decimal", [0.25]),
            primitive(2, [123.456, "fixed"], "FLOAT"),
            wires=[link(2, 0, 1, "value")],
        ),
        {"1": ("Decimal", {"value": 100})},
    ),
    "for a bypassed node": (
        canvas(
            node(1, "Number", [1, "fixed"], mode=BYPASSED),
            primitive(2, [5, "fixed"]),
            wires=[link(2, 0, 1, "value")],
        ),
        {},
    ),
    "for a controlled widget": (
        canvas(
            node(1, "Number", [1, "fixed"]),
            primitive(2, [5, "randomize"]),
            wires=[link(2, 0, 1, "value")],
        ),
        {"1": ("Number", {"value": 5})},
    ),
}

NOTES: Cases = {
    "notes": (
        canvas(latent(), note(2, "Note"), note(3, "MarkdownNote")),
        {"1": ("Latent", LATENT)},
    ),
}

INNER = subgraph(
    "sub",
    getter(1, "outer"),
    node(2, "Invert"),
    wires=[link(1, 0, 2, "image"), link(2, 0, OUTSIDE, "out")],
    outputs={"out": "IMAGE"},
)

#: Nodes of a package, so that the frontend alone knows nothing of them.
WIRELESS: Cases = {
    "a pair": (
        shown(setter(2, "a"), getter(3, "a"), wires=[link(1, 0, 2, 0), link(3, 0, 9, "images")]),
        THROUGH,
    ),
    "several getters": (
        canvas(
            picture(1),
            setter(2, "a"),
            getter(3, "a"),
            getter(4, "a"),
            node(9, "Batch"),
            wires=[link(1, 0, 2, 0), link(3, 0, 9, "image1"), link(4, 0, 9, "image2")],
        ),
        {"1": PICTURE, "9": ("Batch", {"image1": ["1", 0], "image2": ["1", 0]})},
    ),
    "pairs behind each other": (
        shown(
            setter(2, "a"),
            getter(3, "a"),
            setter(4, "b"),
            getter(5, "b"),
            wires=[link(1, 0, 2, 0), link(3, 0, 4, 0), link(5, 0, 9, "images")],
        ),
        THROUGH,
    ),
    "what passes a setter": (
        shown(setter(2, "a"), wires=[link(1, 0, 2, 0), link(2, 0, 9, "images")]),
        THROUGH,
    ),
    "a name that nobody set": (shown(getter(3, "b"), wires=[link(3, 0, 9, "images")]), NOTHING),
    "a setter that is given nothing": (
        shown(setter(2, "a"), getter(3, "a"), wires=[link(3, 0, 9, "images")]),
        NOTHING,
    ),
    "a setter behind a bypassed node": (
        shown(
            node(4, "Invert", mode=BYPASSED),
            setter(2, "a"),
            getter(3, "a"),
            wires=[link(1, 0, 4, "image"), link(4, 0, 2, 0), link(3, 0, 9, "images")],
        ),
        THROUGH,
    ),
    "those of another package": (
        shown(
            {**setter(2, "a"), "type": "easy setNode"},
            {**getter(3, "a"), "type": "easy getNode"},
            wires=[link(1, 0, 2, 0), link(3, 0, 9, "images")],
        ),
        THROUGH,
    ),
    "a getter in a subgraph": (
        with_subgraphs(
            canvas(picture(1), setter(2, "outer"), instance(3, INNER), wires=[link(1, 0, 2, 0)]),
            INNER,
        ),
        {"1": PICTURE, "3:2": ("Invert", {"image": ["1", 0]})},
    ),
}

CASES: Cases = {
    **{f"reroutes: {name}": case for name, case in REROUTES.items()},
    **{f"primitives: {name}": case for name, case in PRIMITIVES.items()},
    **NOTES,
}


@told({**CASES, **{f"wireless: {name}": case for name, case in WIRELESS.items()}})
def test_virtual_nodes(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


@pytest.mark.parametrize("kind", ["INT", "FLOAT"])
def test_a_number_too_large_to_be_rounded(kind: str) -> None:
    wide = {"Wide": {"input": {"required": {"value": [kind, {"step": 8}]}}, "output": []}}
    slots = [{"name": "value", "type": kind, "link": None, "widget": {"name": "value"}}]
    saved = canvas(
        node(1, "Wide", [1], inputs=slots),
        primitive(2, [1.7e308, "fixed"], kind),
        wires=[link(2, 0, 1, 0)],
    )
    assert sent(saved, wide)["1"] == ("Wide", {"value": 1.7e308})
