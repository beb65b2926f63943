"""Values of widgets: which belongs to which input, and what becomes of it."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import CLASSES, canvas, link, node
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told


def only(kind: str, values: Any, expected: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    """Return the case of one node."""
    return canvas(node(1, kind, values, **more)), {"1": (kind, expected)}


def sampler(**changed: Any) -> dict[str, Any]:
    """Return what a sampler sends that was left as it is."""
    return {
        "seed": 0,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        **changed,
    }


CHANGED = sampler(seed=5, steps=9, cfg=7.5, sampler_name="heun", scheduler="karras", denoise=0.5)
NAMED = {name: value for name, value in CHANGED.items() if name != "cfg"}

CASES: Cases = {
    # In the order of the class
    "in the order of the class": only(
        "Latent", [64, 32, 2], {"width": 64, "height": 32, "count": 2}
    ),
    "required before optional": only(
        "Options",
        [False, 0.25, "hello", 70, "fixed"],
        {"switch": False, "amount": 0.25, "note": "hello", "seed": 70},
    ),
    "as input_order has it": only("Ordered", [11, 12, 13], {"first": 11, "second": 12, "last": 13}),
    "as listed where there is no input_order": only("Plain", [1, 2], {"b": 1, "a": 2}),
    "a widget without a socket": only("Hidden", [9], {"value": 9}),
    # What follows a widget and is no input
    "control_after_generate": only(
        "KSampler", [5, "fixed", 9, 7.5, "heun", "karras", 0.5], CHANGED
    ),
    "control_after_generate as a flag": only(
        "KSampler", [5, True, 9, 7.5, "heun", "karras", 0.5], CHANGED
    ),
    "a seed is controlled by its name": only(
        "Options",
        [True, 1.0, "", 8, "randomize"],
        {"switch": True, "amount": 1.0, "note": "", "seed": 8},
    ),
    "a choice that is controlled, and filtered": only(
        "Choice", ["q", "increment", ""], {"which": "q"}
    ),
    "a choice from afar, its refresh and its button": only(
        "Remote", ["far", False, "refresh", 4], {"which": "far", "refresh": "refresh", "after": 4}
    ),
    "upload of a picture": only("LoadImage", ["dog.png", "image"], {"image": "dog.png"}),
    "a picture without its upload": only("LoadImage", ["dog.png"], {"image": "dog.png"}),
    "upload of a sound": only("LoadAudio", ["b.wav", None, ""], {"audio": "b.wav", "audioUI": ""}),
    "a preview": only("PreviewAny", [], {"preview": ""}),
    # In which form
    "none": only("KSampler", None, sampler()),
    "an empty list": only("KSampler", [], sampler()),
    "nothing at all": (
        canvas({**node(1, "KSampler"), "widgets_values": None}),
        {"1": ("KSampler", sampler())},
    ),
    "nulls": only(
        "KSampler",
        [None, "fixed", None, None, None, "karras", None],
        sampler(
            seed=None, steps=None, cfg=None, sampler_name=None, scheduler="karras", denoise=None
        ),
    ),
    "choices that the class lacks": only(
        "KSampler",
        [5, "fixed", 9, 7.5, "new", "newer", 0.5],
        {**CHANGED, "sampler_name": "new", "scheduler": "newer"},
    ),
    "types that the class has otherwise": only(
        "KSampler",
        ["5", "fixed", "9", True, 1, None, "x"],
        {
            "seed": "5",
            "steps": "9",
            "cfg": True,
            "sampler_name": 1,
            "scheduler": None,
            "denoise": "x",
        },
    ),
    "numbers out of range": only(
        "Latent", [-1, 7.25, 2**70], {"width": -1, "height": 7.25, "count": 2**70}
    ),
    "several of a choice": only("Tags", [["p", "q"]], {"tags": {"__value__": ["p", "q"]}}),
    "a list is no link": only(
        "Latent",
        [["5", 0], [], 1],
        {
            "width": {"__value__": ["5", 0]},
            "height": {"__value__": []},
            "count": 1,
        },
    ),
    "an object stays one": only("Words", [{"a": [1]}], {"value": {"a": [1]}}),
    # What a widget makes of it
    "the older name of a sampler": only(
        "KSampler", [5, "fixed", 9, 7.5, "sample_heun", "karras", 0.5], CHANGED
    ),
    "such a name elsewhere": only("Words", ["sample_heun"], {"value": "sample_heun"}),
    "a file in parts": only(
        "LoadImage",
        [{"filename": "c.png", "subfolder": "in/2", "type": "input"}, "image"],
        {"image": "in/2/c.png"},
    ),
    "ends of lines in a text field": only("Page", ["a\r\nb\rc\n"], {"value": "a\nb\nc\n"}),
    "ends of lines on one line": only("Words", ["a\r\nb"], {"value": "a\r\nb"}),
    "a text field makes a text of it": only("Page", [5], {"value": "5"}),
    "letters of all kinds": only(
        "Page", ['zażółć 🐈 \u2028 \\n "q"'], {"value": 'zażółć 🐈 \u2028 \\n "q"'}
    ),
    # Sockets of a type that has a widget
    "forceInput": only("Forced", [10, "B"], {"first": 10, "second": "B"}),
    "forceInput that was a widget once": only(
        "Forced", [10, 999, "B"], {"first": 10, "second": "B"}
    ),
    # More and fewer than the class has
    "more than the class has": only(
        "Latent", [64, 32, 2, "old", 9], {"width": 64, "height": 32, "count": 2}
    ),
    "without optional ones that came since": only(
        "Options", [True, 0.25], {"switch": True, "amount": 0.25, "note": "n", "seed": 7}
    ),
}


#: The frontend itself leaves reading them to a script of the class, where that has one.
BY_NAME: Cases = {
    "by name": only("KSampler", {**CHANGED, "cfg": 7.5}, CHANGED),
    "by name, and not all": only("KSampler", NAMED, {**CHANGED, "cfg": 8.0}),
}


@told({**CASES, **BY_NAME})
def test_values(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


def test_a_seed_beyond_what_a_browser_can_count_to() -> None:
    """A browser would send the closest number that it can hold."""
    saved, expected = only("Number", [2**64 - 1, "fixed"], {"value": 2**64 - 1})
    assert sent(saved) == expected


def test_values_of_other_widgets_by_name() -> None:
    """A script of the class made them; what is no single value is for the canvas alone."""
    saved, _ = only("Latent", {"width": 64, "rate": 8, "view": {"hidden": True}}, {})
    assert sent(saved)["1"][1] == {"width": 64, "height": 512, "count": 1, "rate": 8}


def test_what_only_a_browser_can_make_is_sent_as_saved() -> None:
    studio = {"Studio": {"input": {"required": {"take": ["AUDIO_RECORD", {}], "n": ["INT", {}]}}}}
    saved = canvas({**node(1, "Studio", ["a.wav", 3])})
    assert sent(saved, {**CLASSES, **studio})["1"] == ("Studio", {"take": "a.wav", "n": 3})


def test_a_type_that_is_no_widget_takes_no_value() -> None:
    saved = canvas(
        node(1, "LoadImage", ["cat.png", "image"]),
        node(2, "Options", [True, 1.0, "", 1, "fixed"]),
        wires=[link(1, 1, 2, "mask")],
    )
    assert sent(saved)["2"][1]["mask"] == ["1", 1]
    assert "image" not in sent(saved)["2"][1]
