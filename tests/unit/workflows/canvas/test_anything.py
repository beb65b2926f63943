"""Whatever is given is answered: a graph or a refusal, never another failure, and soon."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
