"""Links: inputs that are linked to, nodes that do not run, both schema versions, and ids."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import (
    BYPASSED,
    INSIDE,
    MUTED,
    OUTSIDE,
    as_object,
    canvas,
    in_version_1,
    instance,
    link,
    node,
    subgraph,
    with_subgraphs,
)
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

LATENT = {"width": 64, "height": 32, "count": 2}
PICTURE = ("LoadImage", {"image": "cat.png"})
OTHER = ("LoadImage", {"image": "dog.png"})


def picture(node_id: Any, name: str = "cat.png", **more: Any) -> dict[str, Any]:
    return node(node_id, "LoadImage", [name, "image"], **more)


def latent(*more: Any, wires: Any = None, **changed: Any) -> dict[str, Any]:
    """Return a file with node 1 and others."""
    return canvas(node(1, "Latent", [64, 32, 2], **changed), *more, wires=wires)


def slot(name: str, link_id: int | None = None, kind: str = "INT") -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link_id, "widget": {"name": name}}


def between(middle: dict[str, Any], *wires: Any, last: str = "Preview") -> dict[str, Any]:
    """Return a file: pictures 1 and 2, a node 3, and node 9 that takes what it gives."""
    name = "source" if last == "PreviewAny" else "images"
    return canvas(
        picture(1),
        picture(2, "dog.png"),
        middle,
        node(9, last),
        wires=[*wires, link(3, 0, 9, name)],
    )


def shown(**inputs: Any) -> dict[str, Any]:
    return {"1": PICTURE, "2": OTHER, "9": ("Preview", inputs)}


TO_WIDGETS: Cases = {
    "a widget that is linked to": (
        latent(node(2, "Number", [77, "fixed"]), wires=[link(2, 0, 1, "height")]),
        {"1": ("Latent", {**LATENT, "height": ["2", 0]}), "2": ("Number", {"value": 77})},
    ),
    "a controlled widget that is linked to": (
        canvas(
            node(1, "KSampler", [5, "fixed", 9, 7.5, "heun", "karras", 0.5]),
            node(2, "Number", [77, "fixed"]),
            wires=[link(2, 0, 1, "seed")],
        ),
        {
            "1": (
                "KSampler",
                {
                    "seed": ["2", 0],
                    "steps": 9,
                    "cfg": 7.5,
                    "sampler_name": "heun",
                    "scheduler": "karras",
                    "denoise": 0.5,
                },
            ),
            "2": ("Number", {"value": 77}),
        },
    ),
    "a widget with a slot and no link": (
        latent(inputs=[slot("height")]),
        {"1": ("Latent", LATENT)},
    ),
    "every widget with a slot": (
        latent(inputs=[slot("width"), slot("height"), slot("count")]),
        {"1": ("Latent", LATENT)},
    ),
    "forceInput": (
        canvas(
            node(1, "Forced", [10, "B"]),
            node(2, "Number", [7, "fixed"]),
            wires=[link(2, 0, 1, "given")],
        ),
        {
            "1": ("Forced", {"first": 10, "second": "B", "given": ["2", 0]}),
            "2": ("Number", {"value": 7}),
        },
    ),
    "an input that a script added": (
        canvas(
            picture(1),
            node(
                2,
                "Invert",
                inputs=[*node(2, "Invert")["inputs"], {"name": "image_2", "type": "IMAGE"}],
            ),
            wires=[link(1, 0, 2, "image"), link(1, 0, 2, "image_2")],
        ),
        {"1": PICTURE, "2": ("Invert", {"image": ["1", 0], "image_2": ["1", 0]})},
    ),
    "inputs in another order than the class has": (
        canvas(
            picture(1),
            picture(2, "dog.png"),
            node(3, "Batch", inputs=list(reversed(node(3, "Batch")["inputs"]))),
            wires=[link(1, 0, 3, "image1"), link(2, 0, 3, "image2")],
        ),
        {"1": PICTURE, "2": OTHER, "3": ("Batch", {"image1": ["1", 0], "image2": ["2", 0]})},
    ),
    "no inputs at all": (
        {
            **canvas(),
            "nodes": [
                {**node(1, "Batch"), "inputs": None, "outputs": None},
                {"id": 2, "type": "Invert"},
            ],
        },
        {"1": ("Batch", {}), "2": ("Invert", {})},
    ),
}

MUTES: Cases = {
    "a muted node and what it fed": (
        between(node(3, "Invert", mode=MUTED), link(1, 0, 3, "image")),
        shown(),
    ),
    "a widget that a muted node fed": (
        latent(node(2, "Number", [7, "fixed"], mode=MUTED), wires=[link(2, 0, 1, "width")]),
        {"1": ("Latent", {name: value for name, value in LATENT.items() if name != "width"})},
    ),
    "modes that run": (
        canvas(picture(1, mode=0), picture(2, "dog.png", mode=1), node(3, "Invert", mode=3)),
        {"1": PICTURE, "2": OTHER, "3": ("Invert", {})},
    ),
    "a mode that nobody knows": (canvas(picture(1, mode=77)), {"1": PICTURE}),
}

LORA = node(3, "Lora", ["x.lora", 1.0], mode=BYPASSED)
LOADER = ("Loader", {"file": "a.ckpt"})

BYPASSES: Cases = {
    "through": (
        between(node(3, "Invert", mode=BYPASSED), link(1, 0, 3, "image")),
        shown(images=["1", 0]),
    ),
    "by type": (
        canvas(
            node(1, "Loader", ["a.ckpt"]),
            LORA,
            node(4, "CLIPTextEncode", ["a"]),
            node(5, "KSampler", [5, "fixed", 9, 7.5, "heun", "karras", 0.5]),
            wires=[
                *(link(1, 0, 3, "model"), link(1, 1, 3, "clip")),
                *(link(3, 1, 4, "clip"), link(3, 0, 5, "model")),
            ],
        ),
        {
            "1": LOADER,
            "4": ("CLIPTextEncode", {"text": "a", "clip": ["1", 1]}),
            "5": (
                "KSampler",
                {
                    "seed": 5,
                    "steps": 9,
                    "cfg": 7.5,
                    "sampler_name": "heun",
                    "scheduler": "karras",
                    "denoise": 0.5,
                    "model": ["1", 0],
                },
            ),
        },
    ),
    "the first of a type": (
        between(node(3, "Batch", mode=BYPASSED), link(1, 0, 3, "image1"), link(2, 0, 3, "image2")),
        shown(images=["1", 0]),
    ),
    "the first of a type is not linked": (
        between(node(3, "Batch", mode=BYPASSED), link(2, 0, 3, "image2")),
        shown(),
    ),
    "the slot of the same number before others": (
        canvas(
            picture(1),
            picture(2, "dog.png"),
            node(
                3,
                "Pair",
                mode=BYPASSED,
                inputs=[
                    {"name": "a", "type": "IMAGE", "link": None},
                    {"name": "b", "type": "IMAGE", "link": None},
                ],
                outputs=[
                    {"name": "A", "type": "IMAGE", "links": None},
                    {"name": "B", "type": "IMAGE", "links": None},
                ],
            ),
            node(9, "Preview"),
            wires=[link(1, 0, 3, "a"), link(2, 0, 3, "b"), link(3, 1, 9, "images")],
        ),
        shown(images=["2", 0]),
    ),
    "nothing fits": (
        between(node(3, "Mask", mode=BYPASSED), link(1, 1, 3, "mask")),
        shown(),
    ),
    "nothing comes in": (between(picture(3, mode=BYPASSED)), shown()),
    "a chain": (
        canvas(
            picture(1),
            *(node(one, "Invert", mode=BYPASSED) for one in (2, 3, 4)),
            node(9, "Preview"),
            wires=[
                *(link(1, 0, 2, "image"), link(2, 0, 3, "image"), link(3, 0, 4, "image")),
                link(4, 0, 9, "images"),
            ],
        ),
        {"1": PICTURE, "9": ("Preview", {"images": ["1", 0]})},
    ),
    "onto a muted node": (
        canvas(
            picture(1, mode=MUTED),
            node(2, "Invert", mode=BYPASSED),
            node(9, "Preview"),
            wires=[link(1, 0, 2, "image"), link(2, 0, 9, "images")],
        ),
        {"9": ("Preview", {})},
    ),
    "into an input of any type": (
        between(node(3, "Mask", mode=BYPASSED), link(1, 1, 3, "mask"), last="PreviewAny"),
        {"1": PICTURE, "2": OTHER, "9": ("PreviewAny", {"preview": "", "source": ["1", 1]})},
    ),
    "into an input of several types": (
        canvas(
            node(
                1,
                "Source",
                inputs=[],
                outputs=[{"name": "id", "type": "JOB_ID", "links": None}],
                mode=BYPASSED,
            ),
            node(2, "Either"),
            wires=[link(1, 0, 2, "ref")],
        ),
        {"2": ("Either", {})},
    ),
    "through a widget that is linked to": (
        latent(
            node(2, "Number", [7, "fixed"]),
            node(3, "Number", [8, "fixed"], mode=BYPASSED),
            wires=[link(2, 0, 3, "value"), link(3, 0, 1, "width")],
        ),
        {"1": ("Latent", {**LATENT, "width": ["2", 0]}), "2": ("Number", {"value": 7})},
    ),
    "a widget that gets nothing keeps its value": (
        latent(node(3, "Number", [8, "fixed"], mode=BYPASSED), wires=[link(3, 0, 1, "width")]),
        {"1": ("Latent", LATENT)},
    ),
}

PAIR = canvas(picture(1), node(2, "Preview"), wires=[link(1, 0, 2, "images")])
PAIR_SENT = {"1": PICTURE, "2": ("Preview", {"images": ["1", 0]})}
INVERT = subgraph(
    "sub",
    node(1, "Invert"),
    wires=[link(INSIDE, 0, 1, "image"), link(1, 0, OUTSIDE, "out")],
    inputs={"in": "IMAGE"},
    outputs={"out": "IMAGE"},
)

VERSIONS: Cases = {
    "0.4": (PAIR, PAIR_SENT),
    "1": (in_version_1(PAIR), PAIR_SENT),
    "1 with a subgraph": (
        with_subgraphs(
            in_version_1(canvas(picture(1), instance(2, INVERT), wires=[link(1, 0, 2, "in")])),
            INVERT,
        ),
        {"1": PICTURE, "2:1": ("Invert", {"image": ["1", 0]})},
    ),
}
#: The frontend sends nothing for these, for it goes by the number alone.
EITHER_WAY: Cases = {
    "1 with links as lists": ({**PAIR, "version": 1}, PAIR_SENT),
    "0.4 with links as objects": (
        {**PAIR, "links": [as_object(one) for one in PAIR["links"]]},
        PAIR_SENT,
    ),
    "no version": ({name: value for name, value in PAIR.items() if name != "version"}, PAIR_SENT),
    "links by their ids": (
        {**PAIR, "links": {"1": as_object(PAIR["links"][0])}},
        PAIR_SENT,
    ),
}

DAMAGES: Cases = {
    "a link that is not in the table": ({**PAIR, "links": []}, {**PAIR_SENT, "2": ("Preview", {})}),
    "a link from a node that is gone": (
        {**PAIR, "nodes": PAIR["nodes"][1:]},
        {"2": ("Preview", {})},
    ),
    "a link to a node that is gone": ({**PAIR, "nodes": PAIR["nodes"][:1]}, {"1": PICTURE}),
    "an entry that is no link": ({**PAIR, "links": [None, *PAIR["links"]]}, PAIR_SENT),
    "a link that a slot names and the table has elsewhere": (
        {**PAIR, "links": [[1, 1, 0, 77, 5, "IMAGE"]]},
        PAIR_SENT,
    ),
    "an output whose list of links is wrong": (
        {
            **PAIR,
            "nodes": [
                {**PAIR["nodes"][0], "outputs": [{"name": "x", "type": "IMAGE", "links": [99]}]},
                PAIR["nodes"][1],
            ],
        },
        PAIR_SENT,
    ),
    "two links into one input": (
        canvas(
            picture(1),
            picture(2, "dog.png"),
            node(9, "Preview"),
            wires=[link(1, 0, 9, "images"), link(2, 0, 9, "images")],
        ),
        shown(images=["2", 0]),
    ),
    "a circle of nodes that run": (
        canvas(
            node(1, "Invert"),
            node(2, "Invert"),
            wires=[link(1, 0, 2, "image"), link(2, 0, 1, "image")],
        ),
        {"1": ("Invert", {"image": ["2", 0]}), "2": ("Invert", {"image": ["1", 0]})},
    ),
    "nothing": (canvas(), {}),
}

IDS: Cases = {
    "texts": (
        canvas(picture("a"), node("10", "Preview"), wires=[link("a", 0, "10", "images")]),
        {"a": PICTURE, "10": ("Preview", {"images": ["a", 0]})},
    ),
    "nought": (
        canvas(picture(0), node(5, "Preview"), wires=[link(0, 0, 5, "images")]),
        {"0": PICTURE, "5": ("Preview", {"images": ["0", 0]})},
    ),
    "below nought": (canvas(picture(-1)), {"-1": PICTURE}),
    "links as texts": (
        {**PAIR, "links": [[str(one) for one in PAIR["links"][0]]]},
        PAIR_SENT,
    ),
}

CASES: Cases = {
    **TO_WIDGETS,
    **MUTES,
    **BYPASSES,
    **{f"version {name}": case for name, case in VERSIONS.items()},
    **DAMAGES,
    **{f"ids: {name}": case for name, case in IDS.items()},
}


@told({**CASES, **EITHER_WAY})
def test_links(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


def test_a_number_that_two_nodes_have() -> None:
    """The second gets a new one, as on the canvas; no link leads to or from it."""
    saved = {**PAIR, "nodes": [*PAIR["nodes"], node(2, "Latent", [64, 32, 2])]}
    assert sent(saved) == {**PAIR_SENT, "3": ("Latent", LATENT)}


def test_a_node_without_a_number() -> None:
    assert sent(canvas(picture(1), picture(None, "dog.png"), last_node_id=7)) == {
        "1": PICTURE,
        "8": OTHER,
    }
