"""Legacy group nodes: what replaces one, and when nothing can."""

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
    instance,
    link,
    node,
    primitive,
    reroute,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.grouping import file, group, inner, latent, single, used
from tests.unit.workflows.canvas.sending import Cases, answered, exact, refused, sent, told

LOADER = ("Loader", {"file": "b.ckpt"})
PICTURE = ("LoadImage", {"image": "cat.png"})


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
    "too few values": (single([5], inner("KSampler")), "1", "none for "),
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
