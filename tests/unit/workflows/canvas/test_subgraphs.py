"""Subgraphs: their nodes, the widgets that they show, and what goes through their walls."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    INSIDE,
    MUTED,
    OUTSIDE,
    canvas,
    in_version_1,
    instance,
    link,
    node,
    reroute,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

PICTURE = ("LoadImage", {"image": "cat.png"})
IN, OUT = {"in": "IMAGE"}, {"out": "IMAGE"}


def picture(node_id: Any, **more: Any) -> dict[str, Any]:
    return node(node_id, "LoadImage", ["cat.png", "image"], **more)


def shown(*instances: dict[str, Any], wires: Any) -> dict[str, Any]:
    """Return a file: picture 1, and node 9 that shows one."""
    return canvas(picture(1), *instances, node(9, "Preview"), wires=wires)


def around(
    *inner: dict[str, Any], name: str = "sub", first: Any = 5, last: Any = 5
) -> dict[str, Any]:
    """Return a subgraph of nodes that take `image`, one after the other."""
    return subgraph(
        name,
        *inner,
        wires=[
            link(INSIDE, 0, first, 0),
            link(last, 0, OUTSIDE, "out"),
        ],
        inputs=IN,
        outputs=OUT,
    )


INVERT = around(node(5, "Invert"))
NESTED = around(instance(5, INVERT), name="outer")
#: Whose first input shows a widget, and whose second feeds two at once.
WIDGETS = subgraph(
    "widgets",
    node(5, "Latent", [64, 32, 2]),
    node(6, "Number", [7, "fixed"]),
    wires=[
        *(link(INSIDE, 0, 5, "width"), link(INSIDE, 1, 5, "height"), link(INSIDE, 1, 6, "value")),
        link(5, 0, OUTSIDE, "out"),
    ],
    inputs={"wide": "INT", "high": "INT"},
    outputs={"out": "LATENT"},
)
DEEPER = subgraph(
    "deeper",
    instance(3, WIDGETS, [100, 200]),
    wires=[link(INSIDE, 0, 3, "wide")],
    inputs={"how wide": "INT"},
)
STRAIGHT = subgraph(
    "straight",
    node(5, "Invert"),
    wires=[
        *(link(INSIDE, 0, 5, "image"), link(5, 0, OUTSIDE, "out")),
        link(INSIDE, 0, OUTSIDE, "same"),
    ],
    inputs=IN,
    outputs={**OUT, "same": "IMAGE"},
)
LONELY = subgraph("lonely", node(5, "Invert"), inputs=IN, outputs=OUT)


def used(wide: Any, high: Any, count: Any = 2) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what one use of WIDGETS sends."""
    return {
        "3:5": ("Latent", {"width": wide, "height": high, "count": count}),
        "3:6": ("Number", {"value": high}),
    }


def inverted(*ids: str) -> dict[str, Any]:
    """Return what is sent for pictures that are turned round one after the other."""
    before = ["1", *ids]
    made = {one: ("Invert", {"image": [last, 0]}) for one, last in zip(ids, before, strict=False)}
    return {"1": PICTURE, **made, "9": ("Preview", {"images": [before[-1], 0]})}


ONCE_WIRES = [link(1, 0, 2, "in"), link(2, 0, 9, "images")]
ONCE = shown(instance(2, INVERT), wires=ONCE_WIRES)

NODES: Cases = {
    "a subgraph": (with_subgraphs(ONCE, INVERT), inverted("2:5")),
    "schema 1": (with_subgraphs(in_version_1(ONCE), INVERT), inverted("2:5")),
    "two uses": (
        with_subgraphs(
            shown(
                instance(2, INVERT),
                instance(3, INVERT),
                wires=[link(1, 0, 2, "in"), link(2, 0, 3, "in"), link(3, 0, 9, "images")],
            ),
            INVERT,
        ),
        inverted("2:5", "3:5"),
    ),
    "nested": (
        with_subgraphs(
            shown(instance(2, NESTED), wires=ONCE_WIRES),
            NESTED,
            INVERT,
        ),
        inverted("2:5:5"),
    ),
    "nested, the inner one told first": (
        with_subgraphs(
            shown(instance(2, NESTED), wires=[link(1, 0, 2, "in"), link(2, 0, 9, "images")]),
            INVERT,
            NESTED,
        ),
        inverted("2:5:5"),
    ),
    "a definition within a definition": (
        with_subgraphs(
            shown(instance(2, NESTED), wires=[link(1, 0, 2, "in"), link(2, 0, 9, "images")]),
            {**NESTED, "definitions": {"subgraphs": [INVERT]}},
        ),
        inverted("2:5:5"),
    ),
    "nothing comes in": (
        with_subgraphs(shown(instance(2, INVERT), wires=[link(2, 0, 9, "images")]), INVERT),
        {"1": PICTURE, "2:5": ("Invert", {}), "9": ("Preview", {"images": ["2:5", 0]})},
    ),
    "nothing comes out": (
        with_subgraphs(
            shown(instance(2, LONELY), wires=[link(1, 0, 2, "in"), link(2, 0, 9, "images")]), LONELY
        ),
        {"1": PICTURE, "2:5": ("Invert", {}), "9": ("Preview", {})},
    ),
    "one that nobody uses": (with_subgraphs(canvas(picture(1)), INVERT), {"1": PICTURE}),
    "a reroute inside": (
        with_subgraphs(ONCE, around(reroute(5))),
        {"1": PICTURE, "9": ("Preview", {"images": ["1", 0]})},
    ),
    "a bypassed node inside": (
        with_subgraphs(ONCE, around(node(5, "Invert", mode=BYPASSED))),
        {"1": PICTURE, "9": ("Preview", {"images": ["1", 0]})},
    ),
    "a muted node inside": (
        with_subgraphs(ONCE, around(node(5, "Invert", mode=MUTED))),
        {"1": PICTURE, "9": ("Preview", {})},
    ),
    "bypassed": (
        with_subgraphs(shown(instance(2, INVERT, mode=BYPASSED), wires=ONCE_WIRES), INVERT),
        {
            "1": PICTURE,
            "2:5": ("Invert", {"image": ["1", 0]}),
            "9": ("Preview", {"images": ["1", 0]}),
        },
    ),
    "bypassed, and what is inside too": (
        with_subgraphs(
            shown(instance(2, INVERT, mode=BYPASSED), wires=ONCE_WIRES),
            around(node(5, "Invert", mode=BYPASSED)),
        ),
        {"1": PICTURE, "9": ("Preview", {"images": ["1", 0]})},
    ),
    "inputs of the node in another order": (
        with_subgraphs(
            canvas(
                node(1, "Number", [1, "fixed"]),
                {
                    **instance(3, WIDGETS, [100, 200]),
                    "inputs": [
                        {"name": "high", "type": "INT", "link": None},
                        {"name": "wide", "type": "INT", "link": None},
                    ],
                },
                wires=[link(1, 0, 3, "wide")],
            ),
            WIDGETS,
        ),
        {"1": ("Number", {"value": 1}), **used(["1", 0], 200)},
    ),
}
#: What comes in goes out as it is; the frontend sends nothing for that.
PASSING: Cases = {
    "straight through": (
        with_subgraphs(
            shown(instance(2, STRAIGHT), wires=[link(1, 0, 2, "in"), link(2, 1, 9, "images")]),
            STRAIGHT,
        ),
        {
            "1": PICTURE,
            "2:5": ("Invert", {"image": ["1", 0]}),
            "9": ("Preview", {"images": ["1", 0]}),
        },
    ),
}

PROMOTED: Cases = {
    "values of the node count": (
        with_subgraphs(canvas(instance(3, WIDGETS, [100, 200])), WIDGETS),
        used(100, 200),
    ),
    "values of the inner nodes where it has none": (
        with_subgraphs(canvas(instance(3, WIDGETS)), WIDGETS),
        used(64, 32),
    ),
    "one of them is linked": (
        with_subgraphs(
            canvas(
                node(1, "Number", [1, "fixed"]),
                instance(3, WIDGETS, [100, 200]),
                wires=[link(1, 0, 3, "wide")],
            ),
            WIDGETS,
        ),
        {"1": ("Number", {"value": 1}), **used(["1", 0], 200)},
    ),
    "through two subgraphs": (
        with_subgraphs(canvas(instance(1, DEEPER, [300])), WIDGETS, DEEPER),
        {f"1:{name}": node for name, node in used(300, 200).items()},
    ),
}
#: The frontend may give every use the values of the last, or lose values in some order of the file.
EACH: Cases = {
    "through two subgraphs, the outer one told first": (
        with_subgraphs(canvas(instance(1, DEEPER, [300])), DEEPER, WIDGETS),
        {f"1:{name}": node for name, node in used(300, 200).items()},
    ),
    "each use has its own": (
        with_subgraphs(
            canvas(instance(3, WIDGETS, [100, 200]), instance(4, WIDGETS, [300, 400])), WIDGETS
        ),
        {
            **used(100, 200),
            "4:5": ("Latent", {"width": 300, "height": 400, "count": 2}),
            "4:6": ("Number", {"value": 400}),
        },
    ),
    "by name": (
        with_subgraphs(canvas(instance(3, WIDGETS, {"high": 200, "wide": 100})), WIDGETS),
        used(100, 200),
    ),
}

CASES: Cases = {**NODES, **{f"promoted: {name}": case for name, case in PROMOTED.items()}}


@told({**CASES, **PASSING, **EACH})
def test_subgraphs(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)
