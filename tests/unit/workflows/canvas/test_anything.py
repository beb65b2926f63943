"""Whatever is given is answered: a graph or a refusal, never another failure, and soon."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.workflows.convert import Converted
from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    CLASSES,
    INSIDE,
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
from tests.unit.workflows.canvas.sending import answered, refused, sent

#: Much more than any of these takes, on a machine that does something else beside.
SECONDS = 5.0

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([-1, -10, -20, 0, 1, 2, 4, 2**63, 10**400, "", "*", "1", "%a.b%", "{a|b}"])
    | st.sampled_from(["sub", "inner", *CLASSES, "Reroute", "PrimitiveNode", "SetNode", "GetNode"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=8) | SCALARS.map(str), inner, max_size=5)
    ),
    max_leaves=20,
)
few = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


def good() -> dict[str, Any]:
    """Return a file that has one of everything."""
    inner = subgraph(
        "inner",
        node(1, "CLIPTextEncode", ["inner {a|b}"]),
        wires=[
            *(link(INSIDE, 0, 1, "clip"), link(INSIDE, 1, 1, "text"), link(1, 0, OUTSIDE, "out")),
        ],
        inputs={"clip": "CLIP", "text": "STRING"},
        outputs={"out": "CONDITIONING"},
    )
    outer = subgraph(
        "sub",
        instance(1, inner, ["promoted"]),
        reroute(2),
        wires=[
            *(link(INSIDE, 0, 2, 0), link(2, 0, 1, "clip"), link(INSIDE, 1, 1, "text")),
            *(link(1, 0, OUTSIDE, "out"), link(INSIDE, 0, OUTSIDE, "same")),
        ],
        inputs={"clip": "CLIP", "words": "STRING"},
        outputs={"out": "CONDITIONING", "same": "CLIP"},
    )
    return with_subgraphs(
        canvas(
            node(1, "Loader", ["a.ckpt"]),
            node(2, "Lora", ["x.lora", 0.5], mode=BYPASSED),
            instance(3, outer, ["mine"]),
            instance(4, outer, ["yours"], mode=BYPASSED),
            node(5, "KSampler", [5, "fixed", 9, 7.5, "heun", "karras", 0.5]),
            node(6, "Latent", {"width": 64, "height": 32}),
            node(7, "Decode"),
            node(8, "SaveImage", ["%date:yyyy%_%KSampler.seed%"]),
            primitive(9, [77, "fixed"]),
            setter(10, "vae"),
            getter(11, "vae"),
            node(12, "Note", ["about"], inputs=[], outputs=[]),
            node(13, "Invert", mode=MUTED),
            node(14, "Options", [True, 1.5, "", 5, "fixed"]),
            reroute(15),
            node(16, "Dynamic", ["by", 1.5, 4]),
            node(17, "Growing", [0.25]),
            wires=[
                *(link(1, 0, 2, "model"), link(1, 1, 2, "clip"), link(2, 1, 3, "clip")),
                *(link(2, 1, 4, "clip"), link(3, 0, 5, "positive"), link(4, 0, 5, "negative")),
                *(link(2, 0, 5, "model"), link(6, 0, 5, "latent_image"), link(9, 0, 5, "steps")),
                *(link(9, 0, 6, "width"), link(5, 0, 7, "samples"), link(1, 2, 10, 0)),
                *(link(11, 0, 7, "vae"), link(7, 0, 15, 0), link(15, 0, 8, "images")),
                *(link(7, 0, 13, "image"), link(13, 0, 14, "image")),
            ],
            extra={
                "groupNodes": {"pair": {"nodes": [node(0, "Invert")], "links": [], "external": []}}
            },
        ),
        outer,
        inner,
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a file something stands."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


GOOD = good()
PLACES = list(places(GOOD))
IN_CLASSES = list(places(CLASSES))
DROP = object()


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy in which one place has another value, or none."""
    made = copy.deepcopy(value)
    found = made
    try:
        for key in path[:-1]:
            found = found[key]
        if new is DROP:
            del found[path[-1]]
        else:
            found[path[-1]] = new
    except (KeyError, IndexError, TypeError):
        # What stood there went with an earlier change.
        return value
    return made


def test_the_good_file_is_good() -> None:
    found = answered(GOOD)
    assert isinstance(found, Converted)
    assert set(found.graph) == {"1", "3:1:1", "4:1:1", "5", "6", "7", "8", "14", "16", "17"}


class TestChanges:
    @few
    @given(JSON)
    def test_any_value(self, value: Any) -> None:
        answered(value)
        answered({"nodes": value, "links": value, "definitions": {"subgraphs": value}})
        answered({"nodes": [value], "links": [value], "extra": value, "definitions": value})

    @few
    @given(st.dictionaries(st.sampled_from(list(node(1, "KSampler", []))), JSON), JSON)
    def test_any_node(self, fields: Any, links: Any) -> None:
        for kind in ("KSampler", "LoadImage", "Reroute", "PrimitiveNode", "GetNode", "sub", "x"):
            answered({**GOOD, "nodes": [*GOOD["nodes"], {"id": 99, "type": kind, **fields}]})
        answered({**GOOD, "links": links})

    @few
    @given(
        st.lists(st.tuples(st.sampled_from(PLACES), JSON | st.just(DROP)), min_size=1, max_size=6)
    )
    def test_a_good_file_with_changes(self, changes: Any) -> None:
        saved = GOOD
        for path, new in changes:
            saved = changed(saved, path, new)
        answered(saved)

    @few
    @given(st.randoms(use_true_random=False), st.integers(1, 40))
    def test_a_good_file_wired_at_random(self, dice: random.Random, count: int) -> None:
        answered(rewired(dice, count))

    @few
    @given(st.integers(0, 2**32))
    def test_a_shuffled_file(self, seed: int) -> None:
        dice, saved = random.Random(seed), copy.deepcopy(GOOD)
        for one in (saved, *saved["definitions"]["subgraphs"]):
            dice.shuffle(one["nodes"])
            dice.shuffle(one["links"])
        found = answered(saved)
        assert isinstance(found, Converted)
        expected = sent(GOOD)
        assert found.graph.keys() == expected.keys()

    @few
    @given(
        st.lists(
            st.tuples(st.sampled_from(IN_CLASSES), JSON | st.just(DROP)), min_size=1, max_size=6
        )
    )
    def test_any_definitions(self, changes: Any) -> None:
        classes = CLASSES
        for path, new in changes:
            classes = changed(classes, path, new)
        answered(GOOD, classes)

    @few
    @given(st.dictionaries(st.sampled_from(list(CLASSES)), JSON))
    def test_definitions_of_any_shape(self, classes: Any) -> None:
        answered(GOOD, classes)
        answered(GOOD, {name: {"input": value} for name, value in classes.items()})

    def test_a_file_cut_off_after_each_node(self) -> None:
        for length in range(len(GOOD["nodes"])):
            answered({**GOOD, "nodes": GOOD["nodes"][:length]})
            answered({**GOOD, "links": GOOD["links"][:length]})


def rewired(dice: random.Random, count: int) -> Any:
    """Return the good file with links, ids and modes drawn at random."""
    saved = copy.deepcopy(GOOD)
    for _ in range(count):
        one = dice.choice([saved, *saved["definitions"]["subgraphs"]])
        chosen = dice.choice(one["nodes"])
        ids = [found["id"] for found in one["nodes"]]
        action = dice.randrange(5)
        if action == 0:
            chosen["mode"] = dice.choice([0, 2, 4])
        elif action == 1:
            chosen["id"] = dice.choice(ids)
        elif action == 2:
            chosen["type"] = dice.choice(["sub", "inner", "Reroute", "GetNode", "SetNode", "Batch"])
        elif chosen.get("inputs"):
            number = 1000 + len(one["links"])
            slot = dice.randrange(len(chosen["inputs"]))
            chosen["inputs"][slot]["link"] = number
            origin = dice.choice([*ids, INSIDE])
            made = [number, origin, dice.randrange(3), chosen["id"], slot, "*"]
            one["links"].append(made)
    return saved


# Circles


def ring(make: Callable[..., dict[str, Any]], name: str | int, **more: Any) -> dict[str, Any]:
    """Return nodes of a kind that lead to each other, and one that takes what they give."""
    return canvas(
        *(make(one, **more) for one in (1, 2, 3)),
        node(4, "Preview"),
        wires=[
            *(link(1, 0, 2, name), link(2, 0, 3, name), link(3, 0, 1, name)),
            link(3, 0, 4, "images"),
        ],
    )


def bypassed(node_id: int, **more: Any) -> dict[str, Any]:
    return node(node_id, "Invert", mode=BYPASSED)


def within_itself(*names: str) -> dict[str, Any]:
    """Return a file whose subgraphs contain each other in a circle."""
    made = {
        name: subgraph(name, inputs={"in": "IMAGE"}, outputs={"out": "IMAGE"}) for name in names
    }
    for name, inner in zip(names, [*names[1:], names[0]], strict=True):
        made[name] = subgraph(
            name,
            instance(1, made[inner]),
            wires=[link(INSIDE, 0, 1, "in"), link(1, 0, OUTSIDE, "out")],
            inputs={"in": "IMAGE"},
            outputs={"out": "IMAGE"},
        )
    return with_subgraphs(canvas(instance(7, made[names[0]])), *made.values())


CIRCLES = {
    "bypassed nodes": ring(bypassed, "image"),
    "reroutes": ring(reroute, 0),
    "a node and itself": canvas(
        reroute(1), node(2, "Preview"), wires=[link(1, 0, 1, 0), link(1, 0, 2, "images")]
    ),
    "SetNode and GetNode": canvas(
        setter(1, "a"),
        getter(2, "a"),
        node(3, "Preview"),
        wires=[link(2, 0, 1, 0), link(2, 0, 3, "images")],
    ),
    "two pairs of SetNode and GetNode": canvas(
        setter(1, "a"),
        getter(2, "a"),
        setter(3, "b"),
        getter(4, "b"),
        node(5, "Preview"),
        wires=[link(2, 0, 3, 0), link(4, 0, 1, 0), link(4, 0, 5, "images")],
    ),
    "a subgraph in itself": within_itself("a"),
    "subgraphs in each other": within_itself("a", "b"),
    "three subgraphs in each other": within_itself("a", "b", "c"),
}


@pytest.mark.parametrize(
    "saved", CIRCLES.values(), ids=[name.replace(" ", "-") for name in CIRCLES]
)
def test_circles(saved: Any) -> None:
    [found] = refused(saved)
    assert "circle" in found["message"] or "contains itself" in found["message"]


# Large files


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


LARGE: dict[str, Callable[[], Any]] = {
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
