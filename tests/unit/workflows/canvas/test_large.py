"""Files that ask for much are answered soon: with a graph, or with a refusal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway import errors
from gateway.workflows.convert import Converted
from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    INSIDE,
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
from tests.unit.workflows.canvas.sending import answered
from tests.unit.workflows.canvas.test_anything import SECONDS, bypassed


def used_often(count: int, *nodes: Any, **more: Any) -> dict[str, Any]:
    """Return a file in which many nodes stand for one subgraph."""
    within = {**subgraph("sub"), "nodes": list(nodes), **more}
    return with_subgraphs(canvas(*(instance(one, within) for one in range(1, count + 1))), within)


def takers_of_many_types(reroutes: int, types: int) -> dict[str, Any]:
    """Return a chain of reroutes at whose end a node takes what comes out, as many types."""
    slots = [{"name": f"s{one}", "type": f"T{one}", "link": None} for one in range(types)]
    last = reroutes + 2
    return canvas(
        node(1, "Invert"),
        *(reroute(one) for one in range(2, last)),
        node(last, "Invert", inputs=slots),
        wires=[
            *(link(one - 1, 0, one, 0) for one in range(2, last)),
            *(link(last - 1, 0, last, one) for one in range(types)),
        ],
    )


def types_with_commas(count: int) -> dict[str, Any]:
    """Return a bypassed node whose types are long lists."""
    kind = ",".join(f"t{one}" for one in range(count))
    other = ",".join(f"u{one}" for one in range(count))
    slots = [{"name": f"s{one}", "type": kind, "link": None} for one in range(50)]
    outputs = [{"name": "o", "type": kind, "links": None}]
    return canvas(
        node(1, "Anything", mode=BYPASSED, inputs=slots, outputs=outputs),
        node(2, "Invert", inputs=[{"name": "x", "type": other, "link": None}]),
        wires=[link(1, 0, 2, 0)],
    )


def chain(count: int, make: Callable[..., dict[str, Any]], name: str | int) -> dict[str, Any]:
    """Return a picture, a chain of nodes, and as many nodes that take what comes out."""
    nodes = [node("in", "LoadImage", ["cat.png", "image"]), *(make(one) for one in range(count))]
    ends = [node(f"out{one}", "Preview") for one in range(count // 4)]
    wires = [link("in", 0, 0, name), *(link(one, 0, one + 1, name) for one in range(count - 1))]
    return canvas(
        *nodes, *ends, wires=[*wires, *(link(count - 1, 0, one["id"], "images") for one in ends)]
    )


def getters(count: int) -> dict[str, Any]:
    pairs = [(setter(f"s{one}", f"n{one}"), getter(f"g{one}", f"n{one}")) for one in range(count)]
    wires = [
        link("in", 0, "s0", 0),
        *(link(f"g{one}", 0, f"s{one + 1}", 0) for one in range(count - 1)),
    ]
    return canvas(
        node("in", "LoadImage", ["cat.png", "image"]),
        *(one for pair in pairs for one in pair),
        node("out", "Preview"),
        wires=[*wires, link(f"g{count - 1}", 0, "out", "images")],
    )


def doubling(depth: int) -> dict[str, Any]:
    """Return subgraphs of which each contains the next twice."""
    made = [subgraph("s0", node(1, "LoadImage", ["cat.png", "image"]))]
    for number in range(1, depth):
        made.append(subgraph(f"s{number}", instance(1, made[-1]), instance(2, made[-1])))
    return with_subgraphs(canvas(instance(1, made[-1])), *made)


def nested(depth: int) -> dict[str, Any]:
    """Return subgraphs within subgraphs."""
    made = [subgraph("s0", node(1, "LoadImage", ["cat.png", "image"]))]
    for number in range(1, depth):
        made.append(subgraph(f"s{number}", instance(1, made[-1])))
    return with_subgraphs(canvas(instance(1, made[-1])), *made)


def fanned(count: int) -> dict[str, Any]:
    """Return a subgraph that shows many widgets of one node, used many times."""
    slots = {f"v{one}": "INT" for one in range(count)}
    many = node(
        1,
        "Invert",
        inputs=[
            {"name": one, "type": "INT", "widget": {"name": one}, "link": None} for one in slots
        ],
    )
    definition = subgraph(
        "sub", many, wires=[link(INSIDE, one, 1, f"v{one}") for one in range(count)], inputs=slots
    )
    return with_subgraphs(
        canvas(*(instance(one, definition, [0]) for one in range(count // 10))), definition
    )


def crowded(inputs: int, uses: int) -> dict[str, Any]:
    definition = subgraph("sub", inputs={f"v{one}": "INT" for one in range(inputs)})
    return with_subgraphs(
        {**canvas(), "nodes": [{"id": one, "type": "sub"} for one in range(uses)]}, definition
    )


def wide(inputs: int, uses: int) -> dict[str, Any]:
    slots = [{"name": f"i{one}", "type": "IMAGE", "link": None} for one in range(inputs)]
    definition = subgraph(
        "sub",
        node(1, "Invert", inputs=slots),
        picture := node(2, "LoadImage", ["cat.png", "image"]),
        wires=[link(picture["id"], 0, 1, one) for one in range(inputs)],
    )
    return with_subgraphs(
        {**canvas(), "nodes": [{"id": one, "type": "sub"} for one in range(uses)]}, definition
    )


def primitives(count: int) -> dict[str, Any]:
    return canvas(
        *(primitive(one, [one, "fixed"]) for one in range(count)),
        *(node(f"n{one}", "Latent", [64, 64, 1]) for one in range(count)),
        wires=[link(one, 0, f"n{one}", "width") for one in range(count)],
    )


def widgets_by_name(count: int) -> dict[str, Any]:
    slots = [
        {"name": f"w{one}", "type": "INT", "widget": {"name": f"w{one}"}, "link": None}
        for one in range(count)
    ]
    return canvas(node(1, "Latent", {f"w{one}": one for one in range(count)}, inputs=slots))


def deep(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def everywhere(count: int) -> dict[str, Any]:
    """Return a node all of whose inputs are linked without wires."""
    slots = [{"name": f"i{one}", "type": "IMAGE", "link": None} for one in range(count)]
    noted = [
        {"downstream": 1, "downstream_slot": one, "upstream": "2", "upstream_slot": 0}
        for one in range(count)
    ]
    return {**canvas(node(1, "Invert", inputs=slots)), "extra": {"ue_links": noted}}


def asking(count: int, length: int) -> dict[str, Any]:
    """Return getters that ask for a list instead of a name."""
    return canvas(*(node(one, "GetNode", [[0] * length]) for one in range(1, count)))


LARGE: dict[str, Callable[[], Any]] = {
    "20,000 links without wires": lambda: everywhere(20_000),
    "names that are long lists": lambda: asking(300, 100_000),
    "a port of which one link is noted often": lambda: used_often(
        2_000, inputs=[{"id": "p", "name": "p", "type": "INT", "linkIds": [1] * 100_000}]
    ),
    "types that are long lists": lambda: types_with_commas(20_000),
    "a chain of which many types are wanted": lambda: takers_of_many_types(3_000, 3_000),
    "a text that is put into another, often": lambda: canvas(
        node(1, "CLIPTextEncode", ["x" * 200_000], title="A"),
        node(2, "SaveImage", ["%A.text%" * 2_000]),
    ),
    "a node of many widgets that is named often": lambda: canvas(
        node(1, "Number", {f"w{one}": 1 for one in range(10_000)}, title="A"),
        node(2, "SaveImage", ["%A.none%" * 10_000]),
    ),
    "a long text in a subgraph that is used often": lambda: used_often(
        1_000, node(1, "CLIPTextEncode", ["x" * 500_000])
    ),
    "choices in a subgraph that is used often": lambda: used_often(
        200, node(1, "CLIPTextEncode", ["{a|b}" * 60_000])
    ),
    "values without a widget in a subgraph that is used often": lambda: used_often(
        200, node(1, "CLIPTextEncode", ["x", *[None] * 100_000])
    ),
    "many nodes": lambda: canvas(
        *(
            node(one, "KSampler", [5, "fixed", 9, 7.5, "heun", "karras", 0.5])
            for one in range(16_000)
        )
    ),
    "a huge text": lambda: canvas(node(1, "CLIPTextEncode", ["{a|" * 3_500_000])),
    "a huge text of choices": lambda: canvas(
        node(1, "CLIPTextEncode", ["{a|b} /* */ // \\{" * 5_000])
    ),
    "a huge text of comments": lambda: canvas(node(1, "CLIPTextEncode", ["/*" * 40_000])),
    "a huge prefix": lambda: canvas(
        node(1, "SaveImage", ["%KSampler.seed%" * 100_000]),
        *(node(one, "Number", [1, "fixed"], title=f"t{one}") for one in range(2, 4_000)),
    ),
    "many prefixes": lambda: canvas(
        *(node(one, "SaveImage", [f"%Save{one}.x%"], title=f"t{one}") for one in range(4_000)),
    ),
    "a prefix of percent signs": lambda: canvas(node(1, "SaveImage", ["%" * 1_000_000])),
    "a value that is deep": lambda: canvas(node(1, "Words", [deep(400)])),
    "a text made of what is deep": lambda: canvas(node(1, "Page", [deep(400)])),
    "20,000 reroutes": lambda: chain(20_000, reroute, 0),
    "5,000 bypassed nodes": lambda: chain(5_000, bypassed, "image"),
    "5,000 pairs of SetNode and GetNode": lambda: getters(5_000),
    "subgraphs that double": lambda: doubling(40),
    "subgraphs that double, within bounds": lambda: doubling(12),
    "5,000 subgraphs within each other": lambda: nested(5_000),
    "100 subgraphs within each other": lambda: nested(100),
    "a subgraph that shows 1,000 widgets": lambda: fanned(1_000),
    "3,000 primitives": lambda: primitives(3_000),
    "20,000 widgets by name": lambda: widgets_by_name(20_000),
    "10,000 links into one node": lambda: canvas(
        node(
            1,
            "Invert",
            inputs=[{"name": f"i{one}", "type": "IMAGE", "link": None} for one in range(10_000)],
        ),
        wires=[link(1, 0, 1, one) for one in range(10_000)],
    ),
    "10,000 nodes of classes that are not there": lambda: canvas(
        *(node(one, f"x{one}", [1]) for one in range(10_000))
    ),
    "10,000 definitions that nobody uses": lambda: with_subgraphs(
        canvas(), *(subgraph(f"s{one}") for one in range(10_000))
    ),
    "a subgraph of 2,000 inputs that 2,000 nodes stand for": lambda: crowded(2_000, 2_000),
    "a node of 2,000 inputs in a subgraph that 5,000 nodes stand for": lambda: wide(2_000, 5_000),
    "100,000 nodes of which nothing is said": lambda: {
        **canvas(),
        "nodes": [{"type": "KSampler"} for _ in range(100_000)],
    },
    "definitions within definitions": lambda: {**canvas(), "definitions": nested_definitions(300)},
}


def growing(depth: int) -> Any:
    """Return a class whose inputs are a thousand, each of which is a thousand."""
    made: Any = ["IMAGE", {}]
    for _ in range(depth):
        template = {"input": {"required": {"a": made, "b": made}}, "min": 999}
        made = ["COMFY_AUTOGROW_V3", {"template": template}]
    return {"Growing": {"input": {"required": {"images": made}}, "output": ["IMAGE"]}}


def choosing(depth: int) -> Any:
    """Return a class whose choice brings choices."""
    made: Any = ["INT", {}]
    for _ in range(depth):
        inputs = {"required": {"a": made, "b": made}}
        made = ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "k", "inputs": inputs}]}]
    return {"Growing": {"input": {"required": {"way": made}}, "output": ["IMAGE"]}}


@pytest.mark.parametrize("make", [growing, choosing])
@pytest.mark.parametrize("depth", [1, 3, 12, 18, 100])
def test_classes_that_grow_without_end(make: Callable[[int], Any], depth: int) -> None:
    began = time.process_time()
    answered(canvas(node(1, "Growing", inputs=[], outputs=[])), make(depth))
    assert time.process_time() - began < SECONDS


def nested_definitions(depth: int) -> Any:
    made: Any = {"subgraphs": []}
    for number in range(depth):
        made = {"subgraphs": [{**subgraph(f"s{number}"), "definitions": made}]}
    return made


@pytest.mark.parametrize("make", LARGE.values(), ids=[name.replace(" ", "-") for name in LARGE])
def test_large(make: Callable[[], Any]) -> None:
    saved = make()
    began = time.process_time()
    found = answered(saved)
    took = time.process_time() - began
    assert took < SECONDS
    assert isinstance(found, Converted | errors.GatewayError)
