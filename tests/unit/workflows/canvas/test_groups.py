"""Legacy group nodes: which slots and widgets one has, and what replaces it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.workflows.convert import convert
from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    CLASSES,
    INSIDE,
    MUTED,
    OUTSIDE,
    Json,
    Link,
    canvas,
    instance,
    link,
    node,
    primitive,
    reroute,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.sending import Cases, answered, exact, refused, sent, told

LOADER = ("Loader", {"file": "b.ckpt"})
PICTURE = ("LoadImage", {"image": "cat.png"})


def group(*nodes: Json, links: Any = (), external: Any = (), config: Any = None) -> Json:
    """Return a definition; a link is (node, output, node, input, type), counted from 0."""
    saved: Json = {
        "nodes": [{**one, "id": -1, "index": index} for index, one in enumerate(nodes)],
        "links": [[*one[:4], -1, *one[4:]] for one in links],
        "external": [list(one) for one in external],
    }
    return saved if config is None else {**saved, "config": config}


def inner(kind: str, values: Any = None, **more: Any) -> Json:
    return node(-1, kind, values, **more)


def converted(kind: str, *names: str, values: Any = None, **more: Any) -> Json:
    """Return a node within, some of whose widgets have a slot."""
    made = inner(kind, values, **more)
    made["inputs"] += [{"name": one, "type": "INT", "widget": {"name": one}} for one in names]
    return made


def used(node_id: Any, name: str, values: Any = None, inputs: Any = (), **more: Any) -> Json:
    """Return a group node with sockets of some names."""
    slots = [{"name": one, "type": "*", "link": None} for one in inputs]
    kind = more.pop("type", f"workflow>{name}")
    return node(node_id, kind, values, inputs=slots, outputs=[], **more)


def file(*nodes: Json, groups: Json, wires: list[Link] | None = None) -> Json:
    """Return a file with the definitions of its group nodes."""
    return canvas(*nodes, wires=wires, extra={"groupNodes": groups})


SAMPLING = group(
    inner("CLIPTextEncode", ["in"], title="Good"),
    inner("CLIPTextEncode", ["in"]),
    inner("KSampler", [1, "fixed", 2, 3.0, "euler", "normal", 1.0]),
    links=[(0, 0, 2, 1, "CONDITIONING"), (1, 0, 2, 2, "CONDITIONING")],
)
SAMPLER = {
    "seed": 7,
    "steps": 9,
    "cfg": 4.5,
    "sampler_name": "heun",
    "scheduler": "karras",
    "denoise": 0.5,
}
VALUES = ["good", "bad", 7, "randomize", 9, 4.5, "heun", "karras", 0.5]
SOCKETS = ("clip", "CLIPTextEncode clip", "model", "latent_image")


def sampling(node_id: int = 3, **more: Any) -> Json:
    return used(node_id, "sampling", VALUES, SOCKETS, **more)


def sampled(*more: Json, wires: Any = (), **changed: Any) -> Json:
    """Return a file: a loader 1, a latent 2, the group node 3, and what takes its image."""
    return file(
        node(1, "Loader", ["b.ckpt"]),
        node(2, "Latent", [64, 32, 2]),
        sampling(**changed),
        node(4, "Decode"),
        *more,
        groups={"sampling": SAMPLING},
        wires=[
            link(1, 1, 3, "clip"),
            link(1, 1, 3, "CLIPTextEncode clip"),
            link(1, 0, 3, "model"),
            link(2, 0, 3, "latent_image"),
            link(3, 0, 4, "samples"),
            *wires,
        ],
    )


AROUND = {"1": LOADER, "2": ("Latent", {"width": 64, "height": 32, "count": 2})}
SENT = {
    **AROUND,
    "3:0": ("CLIPTextEncode", {"text": "good", "clip": ["1", 1]}),
    "3:1": ("CLIPTextEncode", {"text": "bad", "clip": ["1", 1]}),
    "3:2": (
        "KSampler",
        {
            **SAMPLER,
            "model": ["1", 0],
            "positive": ["3:0", 0],
            "negative": ["3:1", 0],
            "latent_image": ["2", 0],
        },
    ),
    "4": ("Decode", {"samples": ["3:2", 0]}),
}

USES: Cases = {
    "a group node with values and links": (sampled(), SENT),
    "a type of older files": (sampled(type="workflow/sampling"), SENT),
    "muted, so that nothing in it runs": (
        sampled(mode=MUTED),
        {**AROUND, "4": ("Decode", {})},
    ),
    "bypassed, so that what comes in goes on": (
        sampled(mode=BYPASSED),
        {**AROUND, "4": ("Decode", {"samples": ["2", 0]})},
    ),
    "one that feeds another": (
        file(
            node(1, "LoadImage", ["cat.png", "image"]),
            used(2, "one", inputs=["image"]),
            used(3, "one", inputs=["image"]),
            node(4, "Preview"),
            groups={"one": group(inner("Invert"))},
            wires=[link(1, 0, 2, 0), link(2, 0, 3, 0), link(3, 0, 4, 0)],
        ),
        {
            "1": PICTURE,
            "2:0": ("Invert", {"image": ["1", 0]}),
            "3:0": ("Invert", {"image": ["2:0", 0]}),
            "4": ("Preview", {"images": ["3:0", 0]}),
        },
    ),
    "fed through a reroute and a bypassed node": (
        file(
            node(1, "LoadImage", ["cat.png", "image"]),
            reroute(2),
            node(3, "Invert", mode=BYPASSED),
            used(4, "one", inputs=["image"]),
            groups={"one": group(inner("Invert"))},
            wires=[link(1, 0, 2, 0), link(2, 0, 3, 0), link(3, 0, 4, 0)],
        ),
        {"1": PICTURE, "4:0": ("Invert", {"image": ["1", 0]})},
    ),
    "within a subgraph": (
        with_subgraphs(
            file(
                node(1, "LoadImage", ["cat.png", "image"]),
                instance(2, subgraph("sub", inputs={"image": "IMAGE"}, outputs={"out": "IMAGE"})),
                node(3, "Preview"),
                groups={"one": group(inner("Invert"))},
                wires=[link(1, 0, 2, 0), link(2, 0, 3, 0)],
            ),
            subgraph(
                "sub",
                used(5, "one", inputs=["image"]),
                inputs={"image": "IMAGE"},
                outputs={"out": "IMAGE"},
                wires=[link(INSIDE, 0, 5, "image"), link(5, 0, OUTSIDE, "out")],
            ),
        ),
        {
            "1": PICTURE,
            "2:5:0": ("Invert", {"image": ["1", 0]}),
            "3": ("Preview", {"images": ["2:5:0", 0]}),
        },
    ),
    "one within another": (
        file(
            used(1, "outer", [5, 6, 7], ["vae"]),
            node(2, "Preview"),
            groups={
                "inner": group(inner("Latent", [1, 2, 3])),
                "outer": group(
                    used(0, "inner", [1, 2, 3], type="workflow/inner"),
                    inner("Decode"),
                    links=[(0, 0, 1, 0, "LATENT")],
                ),
            },
            wires=[link(1, 0, 2, 0)],
        ),
        {
            "1:0:0": ("Latent", {"width": 5, "height": 6, "count": 7}),
            "1:1": ("Decode", {"samples": ["1:0:0", 0]}),
            "2": ("Preview", {"images": ["1:1", 0]}),
        },
    ),
}


@told(USES)
def test_uses(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


def latent(width: Any, height: Any, count: Any) -> tuple[str, Json]:
    return "Latent", {"width": width, "height": height, "count": count}


def single(values: Any, *nodes: Json, **definition: Any) -> Json:
    return file(used(1, "one", values), groups={"one": group(*nodes, **definition)})


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


def test_the_title_is_that_of_the_node_within() -> None:
    made = convert(sampled(), CLASSES).graph
    assert made["3:0"]["_meta"]["title"] == "Good"


def chain(length: int) -> Json:
    """Return group nodes that lie in each other."""
    inside = {
        f"g{number}": group(used(0, f"g{number + 1}"), used(0, f"g{number + 1}"))
        for number in range(length)
    }
    return {**inside, f"g{length}": group(inner("Latent"))}


REFUSED = {
    "no definition": (file(used(1, "gone", title="Mine"), groups={}), "1", "no definition"),
    "no definition of one within": (
        file(used(1, "one"), groups={"one": group(used(0, "gone"))}),
        "1:0",
        "no definition",
    ),
    "a class within that is missing": (single([1], inner("Gone")), "1:0", "no class Gone"),
    "one that is muted, too": (single([1], inner("Gone", mode=MUTED)), "1:0", "no class Gone"),
    "too few values": (single([5], inner("Latent")), "1", "none for height, count"),
    "itself within": (
        file(used(1, "one"), groups={"one": group(used(0, "one"))}),
        "1",
        "contains itself",
    ),
    "each other within": (
        file(used(1, "a"), groups={"a": group(used(0, "b")), "b": group(used(0, "a"))}),
        "1",
        "contains itself",
    ),
    "too deep": (file(used(1, "g0"), groups=chain(30)), "1", "deeper in each other than 20"),
}


@pytest.mark.parametrize(("saved", "node_id", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(saved: Any, node_id: str, message: str) -> None:
    [problem] = refused(saved)
    assert problem["id"] == node_id
    assert message in problem["message"]


def test_a_class_of_such_a_name() -> None:
    classes = {"workflow>one": CLASSES["Latent"]}
    saved = file(node(1, "workflow>one", [5, 6, 7], inputs=[]), groups={})
    assert sent(saved, classes) == {"1": ("workflow>one", latent(5, 6, 7)[1])}


def test_too_much_is_refused_soon() -> None:
    found = answered(file(used(1, "g0"), groups=chain(18)))
    assert isinstance(found, errors.NotConvertible)


BROKEN = [
    *({"one": made} for made in (None, [], {}, "x", {"nodes": None}, {"nodes": [None]})),
    *({"one": {"nodes": [{"type": one}]}} for one in (None, 1, [], "")),
    *(
        {"one": {**group(inner("Latent")), "links": links}}
        for links in (
            {},
            [None],
            [[]],
            [[0, 0, 9, 0]],
            [[{}, [], "", None, 1, 2]],
            [[0, 0, 0, 9e9]],
        )
    ),
    *({"one": {**group(inner("Latent")), "external": one}} for one in ({}, [[[], {}, []]], [0])),
    *({"one": {**group(inner("Latent")), "config": one}} for one in ([], {"0": []}, {"0": 1})),
    {"one": {**group(inner("Latent")), "config": {"0": {"input": {"width": [1]}}}}},
    {"one": group(reroute(0), links=[(0, 0, 0, 0, "IMAGE")])},
    {"one": group(primitive(0), links=[(0, 0, 0, 0, "INT")])},
    {"one": group(primitive(0), reroute(0), links=[(0, 0, 1, 0, "INT"), (1, 0, 0, 0, "INT")])},
    {"one": group(node(0, "Reroute"), inner("Invert"), links=[(0, 3, 1, 0), (1, 2, 0, 7)])},
    {"one": group({"type": "Note"}, {"type": "SetNode"}, {"type": "GetNode"})},
]


@pytest.mark.parametrize("groups", BROKEN, ids=range(len(BROKEN)))
def test_an_answer_for_anything(groups: Any) -> None:
    answered(file(used(1, "one", [1], ["x"]), node(2, "Preview"), groups=groups))
