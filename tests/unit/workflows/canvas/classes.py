"""A small `/object_info` of our own, and builders of what the canvas would save with it.

`canvas(node(...), ..., wires=[link(...)])` is a file of the canvas; `subgraph` takes the same, and
`instance` is a node that stands for one. Within a subgraph INSIDE and OUTSIDE are its two edges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]

#: Where links of a subgraph come from, and where they leave it.
INSIDE, OUTSIDE = -10, -20
MUTED, BYPASSED = 2, 4

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def _class(
    name: str, required: Json, output: list[Any] | None = None, optional: Json | None = None
) -> Json:
    groups = {"required": required, **({"optional": optional} if optional else {})}
    output = output or []
    return {
        "input": groups,
        "input_order": {group: list(inputs) for group, inputs in groups.items()},
        "output": output,
        "output_is_list": [False for _ in output],
        "output_name": [kind if isinstance(kind, str) else "COMBO" for kind in output],
        "name": name,
        "display_name": f"{name} of the tests",
        "description": "",
        "python_module": "nodes",
        "category": "tests",
        "output_node": not output,
    }


def _float(default: float, **options: Any) -> list[Any]:
    return ["FLOAT", {"default": default, "min": 0.0, "max": 100.0, "step": 0.01, **options}]


def _int(default: int, **options: Any) -> list[Any]:
    return ["INT", {"default": default, "min": 0, "max": 2**64 - 1, **options}]


CLASSES: Json = {
    one["name"]: one
    for one in (
        _class("Loader", {"file": [["a.ckpt", "b.ckpt"]]}, ["MODEL", "CLIP", "VAE"]),
        _class(
            "Lora",
            {
                "model": ["MODEL"],
                "clip": ["CLIP", {"tooltip": "What reads the words."}],
                "lora": ["COMBO", {"options": ["x.lora", "y.lora"]}],
                "strength": _float(1.0),
            },
            ["MODEL", "CLIP"],
        ),
        _class(
            "CLIPTextEncode",
            {
                "text": ["STRING", {"multiline": True, "dynamicPrompts": True}],
                "clip": ["CLIP"],
            },
            ["CONDITIONING"],
        ),
        _class("Latent", {"width": _int(512), "height": _int(512), "count": _int(1)}, ["LATENT"]),
        _class(
            "KSampler",
            {
                "model": ["MODEL"],
                "seed": _int(0, control_after_generate=True),
                "steps": _int(20),
                "cfg": _float(8.0),
                "sampler_name": [["euler", "heun"]],
                "scheduler": [["normal", "karras"]],
                "positive": ["CONDITIONING"],
                "negative": ["CONDITIONING"],
                "latent_image": ["LATENT"],
                "denoise": _float(1.0),
            },
            ["LATENT"],
        ),
        _class("Decode", {"samples": ["LATENT"], "vae": ["VAE"]}, ["IMAGE"]),
        _class(
            "LoadImage",
            {"image": [["cat.png", "dog.png"], {"image_upload": True}]},
            ["IMAGE", "MASK"],
        ),
        _class("LoadAudio", {"audio": [["a.wav"], {"audio_upload": True}]}, ["AUDIO"]),
        _class("SaveImage", {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "x"}]}),
        _class("Preview", {"images": ["IMAGE"]}),
        _class("PreviewAny", {"source": ["*", {}]}),
        _class("Invert", {"image": ["IMAGE"]}, ["IMAGE"]),
        _class("Batch", {"image1": ["IMAGE"], "image2": ["IMAGE"]}, ["IMAGE"]),
        _class("Mask", {"mask": ["MASK"]}, ["IMAGE"]),
        _class("Size", {"image": ["IMAGE"]}, ["INT", "INT"]),
        _class("Number", {"value": _int(0, control_after_generate=True)}, ["INT"]),
        _class("Decimal", {"value": _float(0.5)}, ["FLOAT"]),
        _class("Words", {"value": ["STRING", {"multiline": False}]}, ["STRING"]),
        _class("Page", {"value": ["STRING", {"multiline": True}]}, ["STRING"]),
        _class(
            "Forced",
            {
                "first": _int(1),
                "given": ["INT", {"forceInput": True}],
                "second": ["STRING", {"default": "b"}],
            },
            ["INT"],
        ),
        _class(
            "Options",
            {"image": ["IMAGE"], "switch": ["BOOLEAN", {"default": True}], "amount": _float(0.5)},
            ["IMAGE"],
            {"mask": ["MASK"], "note": ["STRING", {"default": "n"}], "seed": _int(7)},
        ),
        _class(
            "Choice",
            {"which": ["COMBO", {"options": ["p", "q"], "control_after_generate": True}]},
            ["STRING"],
        ),
        _class("Tags", {"tags": ["COMBO", {"options": ["p", "q"], "multi_select": True}]}),
        _class(
            "Remote",
            {
                "which": [
                    "COMBO",
                    {"remote": {"route": "/names", "refresh_button": True}},
                ],
                "after": _int(3),
            },
        ),
        _class("Either", {"ref": ["MODEL_ID,JOB_ID", {}]}),
        _class("Hidden", {"value": _int(4, socketless=True), "image": ["IMAGE"]}, ["IMAGE"]),
        # Newer classes: inputs that a choice brings, that grow with their links, of matching types.
        _class(
            "Dynamic",
            {
                "way": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "size", "inputs": {"required": {"size": _int(8)}}},
                            {
                                "key": "by",
                                "inputs": {"required": {"by": _float(2.0), "m": ["MASK"]}},
                            },
                            {"key": "none", "inputs": {}},
                        ]
                    },
                ],
                "after": _int(3),
                "any": ["COMFY_MATCHTYPE_V3", {"template": {"allowed_types": "IMAGE,MASK"}}],
            },
            ["IMAGE"],
        ),
        _class(
            "Growing",
            {
                "images": [
                    "COMFY_AUTOGROW_V3",
                    {
                        "template": {
                            "input": {"required": {"image": ["IMAGE", {}]}},
                            "prefix": "image",
                            "min": 1,
                            "max": 8,
                        }
                    },
                ],
                "amount": _float(0.5),
            },
            ["IMAGE"],
        ),
        # An older ComfyUI sends no order; this one lists its inputs otherwise than it orders them.
        {
            **_class("Ordered", {"last": _int(3), "first": _int(1), "second": _int(2)}, ["INT"]),
            "input_order": {"required": ["first", "second", "last"]},
        },
        {
            key: value
            for key, value in _class("Plain", {"b": _int(2), "a": _int(1)}, ["INT"]).items()
            if key != "input_order"
        },
    )
}


class Link(NamedTuple):
    """A wire of a sheet; `target_input` is a name, or the number of a slot."""

    origin: Any
    origin_slot: int
    target: Any
    target_input: str | int


def link(origin: Any, origin_slot: int, target: Any, target_input: str | int) -> Link:
    """Return a wire from an output of a node to an input of another."""
    return Link(origin, origin_slot, target, target_input)


def node(node_id: Any, kind: str, values: Any = None, **more: Any) -> Json:
    """Return a node with the sockets of its class; widgets get a slot where a link ends."""
    made = {
        "id": node_id,
        "type": kind,
        "mode": 0,
        "inputs": [_slot(name, spec) for name, spec in specs(kind) if not is_widget(spec)],
        "outputs": [_output(one) for one in CLASSES.get(kind, {}).get("output", [])],
        "properties": {"Node name for S&R": kind},
        **more,
    }
    return made if values is None else {**made, "widgets_values": values}


def reroute(node_id: Any, **more: Any) -> Json:
    """Return a Reroute."""
    return node(node_id, "Reroute", inputs=[_any()], outputs=[_any()], **more)


def primitive(node_id: Any, values: Any = None, kind: str = "INT", **more: Any) -> Json:
    """Return a PrimitiveNode."""
    given = [{"name": kind, "type": kind, "links": None, "widget": {"name": "value"}}]
    return node(node_id, "PrimitiveNode", values, inputs=[], outputs=given, **more)


def setter(node_id: Any, name: str, **more: Any) -> Json:
    """Return a SetNode."""
    return node(node_id, "SetNode", [name], inputs=[_any()], outputs=[_any()], **more)


def getter(node_id: Any, name: str, **more: Any) -> Json:
    """Return a GetNode."""
    return node(node_id, "GetNode", [name], inputs=[], outputs=[_any()], **more)


def canvas(*nodes: Json, wires: list[Link] | None = None, **more: Any) -> Json:
    """Return a file of the canvas, schema 0.4."""
    made, links = _wired(nodes, wires or [], [], [])
    return {
        "id": "11111111-1111-4111-8111-111111111111",
        "last_node_id": len(made),
        "last_link_id": len(links),
        "nodes": made,
        "links": links,
        "groups": [],
        "extra": {},
        "version": 0.4,
        **more,
    }


def in_version_1(saved: Json) -> Json:
    """Return the same in schema 1: links are objects."""
    links = [as_object(one) for one in saved["links"]]
    return {**saved, "version": 1, "links": links, "state": {"lastNodeId": saved["last_node_id"]}}


def as_object(saved: list[Any]) -> Json:
    """Return a link of schema 0.4 as schema 1 has it."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return dict(zip(keys, saved, strict=True))


def subgraph(
    name: str,
    *nodes: Json,
    wires: list[Link] | None = None,
    inputs: Json | None = None,
    outputs: Json | None = None,
) -> Json:
    """Return a definition; `inputs` and `outputs` are its slots, name -> type."""
    ports = [_port(one, kind) for one, kind in (inputs or {}).items()]
    ends = [_port(one, kind) for one, kind in (outputs or {}).items()]
    made, links = _wired(nodes, wires or [], ports, ends)
    return {
        "id": name,
        "version": 1,
        "name": f"The {name}",
        "inputNode": {"id": INSIDE, "bounding": [0, 0, 1, 1]},
        "outputNode": {"id": OUTSIDE, "bounding": [0, 0, 1, 1]},
        "inputs": ports,
        "outputs": ends,
        "nodes": made,
        "links": [as_object(one) for one in links],
    }


def instance(node_id: Any, definition: Json, values: Any = None, **more: Any) -> Json:
    """Return a node that stands for a subgraph."""
    slots = [_slot(one["name"], [one["type"]]) for one in definition["inputs"]]
    for slot in slots:
        if slot["type"] in _WIDGETS:
            slot["widget"] = {"name": slot["name"]}
    given = [_output(one["type"]) for one in definition["outputs"]]
    return node(node_id, definition["id"], values, inputs=slots, outputs=given, **more)


def with_subgraphs(saved: Json, *definitions: Json) -> Json:
    """Return a file with the definitions of its subgraphs."""
    return {**saved, "definitions": {"subgraphs": list(definitions)}}


def specs(kind: str) -> list[tuple[str, Any]]:
    """Return the inputs of a class, in the order that it lists them."""
    groups = CLASSES.get(kind, {}).get("input", {})
    return [pair for group in groups.values() for pair in group.items()]


def is_widget(spec: Any) -> bool:
    """Whether the canvas shows an input as a widget."""
    options = spec[1] if len(spec) > 1 else {}
    shown = isinstance(spec[0], list) or spec[0] in _WIDGETS
    return shown and not options.get("forceInput")


def _wired(
    nodes: tuple[Json, ...], wires: list[Link], ports: list[Json], ends: list[Json]
) -> tuple[list[Json], list[list[Any]]]:
    made = [
        {
            **one,
            **{key: [dict(slot) for slot in one.get(key) or ()] for key in ("inputs", "outputs")},
        }
        for one in nodes
    ]
    by_id = {one["id"]: one for one in made}
    links = []
    for number, wire in enumerate(wires, start=1):
        kind = "*"
        if wire.origin == INSIDE:
            ports[wire.origin_slot]["linkIds"].append(number)
            kind = ports[wire.origin_slot]["type"]
        elif wire.origin in by_id and wire.origin_slot < len(by_id[wire.origin]["outputs"]):
            output = by_id[wire.origin]["outputs"][wire.origin_slot]
            output["links"] = [*(output.get("links") or ()), number]
            kind = output["type"]
        if wire.target == OUTSIDE:
            slot = next(i for i, one in enumerate(ends) if one["name"] == wire.target_input)
            ends[slot]["linkIds"].append(number)
        else:
            slot = _ended(by_id[wire.target], wire.target_input, number)
        links.append([number, wire.origin, wire.origin_slot, wire.target, slot, kind])
    return made, links


def _ended(target: Json, name: str | int, number: int) -> int:
    """Let a link end at an input of a node; return the number of its slot."""
    slots = target["inputs"]
    if isinstance(name, int):
        slot = name
    else:
        names = [one["name"] for one in slots]
        if name not in names:
            spec = dict(specs(target["type"])).get(name, ["*"])
            slots.append({**_slot(name, spec), "widget": {"name": name}})
            names.append(name)
        slot = names.index(name)
    slots[slot]["link"] = number
    return slot


def _slot(name: str, spec: Any) -> Json:
    return {"name": name, "type": "COMBO" if isinstance(spec[0], list) else spec[0], "link": None}


def _output(kind: Any) -> Json:
    shown = kind if isinstance(kind, str) else "COMBO"
    return {"name": shown, "type": shown, "links": None}


def _port(name: str, kind: str) -> Json:
    return {"id": f"port-{name}", "name": name, "type": kind, "linkIds": []}


def _any() -> Json:
    return {"name": "", "type": "*", "link": None}
