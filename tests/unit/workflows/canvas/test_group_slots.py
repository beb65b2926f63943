"""Slots and widgets of legacy group nodes, and what each stands for."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    MUTED,
    Json,
    Link,
    link,
    node,
    primitive,
    reroute,
)
from tests.unit.workflows.canvas.grouping import (
    converted,
    file,
    group,
    inner,
    latent,
    single,
    used,
)
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

PICTURE = ("LoadImage", {"image": "cat.png"})


WIDGETS: Cases = {
    "no values, so those of the class": (
        single(None, inner("Latent", [1, 2, 3])),
        {"1:0": latent(512, 512, 1)},
    ),
    "an upload": (
        single(
            ["dog.png", "image", 3, 4], inner("LoadImage", ["cat.png", "image"]), inner("Plain")
        ),
        {"1:0": ("LoadImage", {"image": "dog.png"}), "1:1": ("Plain", {"b": 3, "a": 4})},
    ),
    "two uploads": (
        single(
            ["dog.png", "image", "cow.png", "image"],
            inner("LoadImage", ["cat.png", "image"]),
            inner("LoadImage", ["cat.png", "image"]),
        ),
        {
            "1:0": ("LoadImage", {"image": "dog.png"}),
            "1:1": ("LoadImage", {"image": "cow.png"}),
        },
    ),
    "two seeds, each with what becomes of it": (
        single([4, "fixed", 5, "randomize"], inner("Number"), inner("Number")),
        {"1:0": ("Number", {"value": 4}), "1:1": ("Number", {"value": 5})},
    ),
    "widgets that were made inputs come last": (
        single([5, 6, 9, 8, 7], converted("Latent", "width"), inner("Plain", [0, 0])),
        {"1:0": latent(7, 5, 6), "1:1": ("Plain", {"b": 9, "a": 8})},
    ),
    "hidden by the one who made it": (
        single(
            [5, 6, 7],
            inner("Latent"),
            config={"0": {"input": {"width": {"visible": False, "name": "w"}}}},
        ),
        {"1:0": latent(5, 6, 7)},
    ),
    "a primitive that drives two": (
        single(
            [33, "fixed", 2, 3, 4, 5],
            primitive(0, [1, "fixed"], title="Wide"),
            converted("Latent", "width"),
            converted("Latent", "width"),
            links=[(0, 0, 1, 0, "INT"), (0, 0, 2, 0, "INT")],
        ),
        {"1:1": latent(33, 2, 3), "1:2": latent(33, 4, 5)},
    ),
    "a primitive of a choice": (
        single(
            ["q", "fixed", ""],
            primitive(0, ["p", "fixed", ""], "COMBO"),
            converted("Choice", "which"),
            links=[(0, 0, 1, 0, "COMBO")],
        ),
        {"1:1": ("Choice", {"which": "q"})},
    ),
    "a primitive that nothing has": (
        single([1, 2, 3], primitive(0, [9]), inner("Latent")),
        {"1:1": latent(1, 2, 3)},
    ),
}


@told(WIDGETS)
def test_widgets(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


def test_widgets_made_inputs_are_sorted_as_the_frontend_sorts_them() -> None:
    wide = {
        "Wide": {
            "input": {"required": {f"w{index}": ["INT", {"default": 0}] for index in range(12)}},
            "output": [],
        }
    }
    slots = [{"name": f"w{one}", "type": "INT", "widget": {"name": f"w{one}"}} for one in range(12)]
    values = list(range(12))
    saved = single(values, node(-1, "Wide", inputs=slots, outputs=[]))
    order = [0, 1, 10, 11, *range(2, 10)]
    expected = {f"w{index}": value for index, value in zip(order, values, strict=True)}
    assert sent(saved, wide) == {"1:0": ("Wide", expected)}


def linked(
    *inputs: str, nodes: Any, values: Any = None, wires: Any = (), **definition: Any
) -> Json:
    """Return a file: a picture 1, a number 2, a group node 3 and two that take pictures."""
    return file(
        node(1, "LoadImage", ["cat.png", "image"]),
        node(2, "Number", [5, "fixed"]),
        used(3, "one", values, inputs),
        node(4, "Preview"),
        node(5, "Preview"),
        groups={"one": group(*nodes, **definition)},
        wires=list(wires),
    )


def with_shown(first: Any, second: Any, **nodes: Any) -> Json:
    return {
        "1": PICTURE,
        "2": ("Number", {"value": 5}),
        **nodes,
        "4": ("Preview", {} if first is None else {"images": first}),
        "5": ("Preview", {} if second is None else {"images": second}),
    }


def shown_by(first: int, second: int) -> list[Link]:
    return [link(1, 0, 3, 0), link(3, first, 4, 0), link(3, second, 5, 0)]


TWO = (inner("Invert"), inner("Invert"))
INVERTED = ("Invert", {"image": ["1", 0]})
AGAIN = ("Invert", {"image": ["3:0", 0]})
INSIDE_WIRE = [(0, 0, 1, 0, "IMAGE")]
REROUTED = [(0, 0, 1, 0, "IMAGE"), (1, 0, 2, 0, "IMAGE")]

LINKS: Cases = {
    "an output that is used within is none of the group": (
        linked("image", nodes=TWO, links=INSIDE_WIRE, wires=shown_by(0, 1)),
        with_shown(["3:1", 0], None, **{"3:0": INVERTED, "3:1": AGAIN}),
    ),
    "an output that is used outside, too": (
        linked(
            "image",
            nodes=TWO,
            links=INSIDE_WIRE,
            external=[(0, 0, "IMAGE")],
            wires=shown_by(0, 1),
        ),
        with_shown(["3:0", 0], ["3:1", 0], **{"3:0": INVERTED, "3:1": AGAIN}),
    ),
    "an output that is shown, and one that is hidden": (
        linked(
            "image",
            nodes=TWO,
            links=INSIDE_WIRE,
            config={
                "0": {"output": {"0": {"visible": True}}},
                "1": {"output": {"0": {"visible": False}}},
            },
            wires=shown_by(0, 1),
        ),
        with_shown(["3:0", 0], None, **{"3:0": INVERTED, "3:1": AGAIN}),
    ),
    "a node within that is muted": (
        linked(
            "image",
            nodes=(TWO[0], inner("Invert", mode=MUTED)),
            links=INSIDE_WIRE,
            wires=shown_by(0, 0),
        ),
        with_shown(None, None, **{"3:0": INVERTED}),
    ),
    "a node within that is bypassed": (
        linked(
            "image",
            nodes=(TWO[0], inner("Invert", mode=BYPASSED)),
            links=INSIDE_WIRE,
            wires=shown_by(0, 0),
        ),
        with_shown(["3:0", 0], ["3:0", 0], **{"3:0": INVERTED}),
    ),
    "a reroute between two": (
        linked(
            "image",
            nodes=(TWO[0], reroute(0), TWO[1]),
            links=REROUTED,
            wires=shown_by(0, 0),
        ),
        with_shown(["3:2", 0], ["3:2", 0], **{"3:0": INVERTED, "3:2": AGAIN}),
    ),
    "a reroute at the output": (
        linked(
            "image",
            nodes=(TWO[0], reroute(0)),
            links=INSIDE_WIRE,
            external=[(1, 0, "IMAGE")],
            wires=shown_by(0, 0),
        ),
        with_shown(["3:0", 0], ["3:0", 0], **{"3:0": INVERTED}),
    ),
    "a reroute as a pipe": (
        linked(
            "IMAGE",
            nodes=(reroute(0),),
            links=[(None, 0, 0, 0, "IMAGE")],
            external=[(0, 0, "IMAGE")],
            wires=shown_by(0, 0),
        ),
        with_shown(["1", 0], ["1", 0]),
    ),
    "names that an owner gave, and hidden inputs": (
        linked(
            "first",
            nodes=(inner("Batch"), inner("Batch", title="Late")),
            config={
                "0": {"input": {"image1": {"name": "first"}, "image2": {"visible": False}}},
                "1": {"input": {"image1": {"name": "first"}}},
            },
            wires=shown_by(0, 1),
        ),
        with_shown(
            ["3:0", 0],
            ["3:1", 0],
            **{"3:0": ("Batch", {"image1": ["1", 0]}), "3:1": ("Batch", {})},
        ),
    ),
    "the names of three that are alike": (
        linked(
            *("image", "Invert image", "Invert 2 image"),
            nodes=(*TWO, TWO[0]),
            wires=[link(1, 0, 3, 2), link(3, 2, 4, 0)],
        ),
        with_shown(
            ["3:2", 0], None, **{"3:0": ("Invert", {}), "3:1": ("Invert", {}), "3:2": INVERTED}
        ),
    ),
    "a widget that was made an input": (
        linked(
            "width",
            nodes=(converted("Latent", "width"),),
            values=[6, 7, 9],
            wires=[link(2, 0, 3, "width")],
        ),
        with_shown(None, None, **{"3:0": latent(["2", 0], 6, 7)}),
    ),
    "a widget with a slot": (
        linked(
            *("b", "a"),
            nodes=(inner("Plain"),),
            values=[6, 7],
            wires=[link(2, 0, 3, "a")],
        ),
        with_shown(None, None, **{"3:0": ("Plain", {"b": 6, "a": ["2", 0]})}),
    ),
    "an input that is no widget although it could be": (
        linked("given", nodes=(inner("Forced"),), values=[6, "c"], wires=[link(2, 0, 3, "given")]),
        with_shown(
            None, None, **{"3:0": ("Forced", {"first": 6, "second": "c", "given": ["2", 0]})}
        ),
    ),
}


@told(LINKS)
def test_links(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


def test_a_primitive_outside_writes_into_the_widget_within() -> None:
    saved = file(
        primitive(1, [33, "fixed"]),
        used(2, "one", [5, 6, 7], ["width"]),
        groups={"one": group(inner("Latent"))},
        wires=[link(1, 0, 2, "width")],
    )
    assert sent(saved) == {"2:0": latent(33, 6, 7)}
