"""Texts that the frontend replaces as it sends them, and the titles of nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from gateway.workflows.convert import convert
from tests.unit.workflows.canvas.classes import CLASSES, canvas, link, node, primitive
from tests.unit.workflows.canvas.sending import Cases, exact, sent, told

NUMBER = ("Number", {"value": 7})


def saved_as(prefix: str, *others: Any) -> Any:
    """Return a file: a SaveImage with a prefix, and others."""
    return canvas(node(1, "SaveImage", [prefix]), *others)


def prefix(text: str) -> tuple[str, Any]:
    return ("SaveImage", {"filename_prefix": text})


def titled(title: str) -> Any:
    return node(2, "Number", [7, "fixed"], title=title)


def searched(name: str) -> Any:
    return node(2, "Number", [7, "fixed"], properties={"Node name for S&R": name})


CASES: Cases = {
    "the value of a node by its class": (
        saved_as("a_%Number.value%_b", node(2, "Number", [7, "fixed"])),
        {"1": prefix("a_7_b"), "2": NUMBER},
    ),
    "by the name that it is given": (
        saved_as("%Mine.value%%Number.value%", searched("Mine")),
        {"1": prefix("7%Number.value%"), "2": NUMBER},
    ),
    "by its title": (saved_as("%Mine.value%", titled("Mine")), {"1": prefix("7"), "2": NUMBER}),
    "the first of several": (
        saved_as("%Words.value%", node(2, "Words", ["a"]), node(3, "Words", ["b"])),
        {"1": prefix("a"), "2": ("Words", {"value": "a"}), "3": ("Words", {"value": "b"})},
    ),
    "what no file may be called": (
        saved_as("%Words.value%", node(2, "Words", ['a/b:c*d?<>|"\\e\nf'])),
        {
            "1": prefix("a_b_c_d______e_f"),
            "2": ("Words", {"value": 'a/b:c*d?<>|"\\e\nf'}),
        },
    ),
    "what is not there stays": (
        saved_as("%No.value%_%Number.no%_%a.b.c%_%width%_100%", node(2, "Number", [7, "fixed"])),
        {"1": prefix("%No.value%_%Number.no%_%a.b.c%_%width%_100%"), "2": NUMBER},
    ),
    "in a prefix only": (
        canvas(node(1, "Words", ["%Number.value%"]), node(2, "Number", [7, "fixed"])),
        {"1": ("Words", {"value": "%Number.value%"}), "2": NUMBER},
    ),
    "in a primitive that says so": (
        canvas(
            node(1, "Words", ["own"]),
            node(2, "Number", [7, "fixed"]),
            primitive(
                3, ["n%Number.value%"], "STRING", properties={"Run widget replace on values": True}
            ),
            wires=[link(3, 0, 1, "value")],
        ),
        {"1": ("Words", {"value": "n7"}), "2": NUMBER},
    ),
    "a choice only where the class says so": (
        canvas(node(1, "Words", ["{a|b} // c"]), node(2, "Page", ["{a|b} /* c */"])),
        {"1": ("Words", {"value": "{a|b} // c"}), "2": ("Page", {"value": "{a|b} /* c */"})},
    ),
    "comments": (
        canvas(node(1, "CLIPTextEncode", ["a /* gone */ cat // gone\n(b:1.2) /* 1\n2 */ end"])),
        {"1": ("CLIPTextEncode", {"text": "a  cat \n(b:1.2)  end"})},
    ),
    "braces of their own": (
        canvas(node(1, "CLIPTextEncode", ["\\{x\\|y\\} \\( a } b | c {one} {}"])),
        {"1": ("CLIPTextEncode", {"text": "{x|y} \\( a } b | c one "})},
    ),
}


@told(CASES)
def test_texts(saved: Any, expected: Any) -> None:
    assert exact(sent(saved)) == exact(expected)


@pytest.mark.parametrize(
    ("form", "python"),
    [
        ("yyyy-MM-dd", "%Y-%m-%d"),
        ("yy", "%y"),
        ("MMdd", "%m%d"),
    ],
)
def test_dates(form: str, python: str) -> None:
    before = datetime.now()
    [(_, inputs)] = sent(saved_as(f"a_%date:{form}%")).values()
    # Midnight may pass between.
    told_at = {f"a_{moment.strftime(python)}" for moment in (before, datetime.now())}
    assert inputs["filename_prefix"] in told_at


@pytest.mark.parametrize("form", ["d", "M", "h", "hh:mm:ss", "s"])
def test_times(form: str) -> None:
    [(_, inputs)] = sent(saved_as(f"%date:{form}%")).values()
    assert inputs["filename_prefix"].replace(":", "").isdecimal()


def drawn(text: str) -> set[str]:
    return {sent(canvas(node(1, "CLIPTextEncode", [text])))["1"][1]["text"] for _ in range(200)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {red|green} cat", {"a red cat", "a green cat"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{a|}", {"a", ""}),
        ("{a\\|b|c}", {"a|b", "c"}),
        ("open {a|b", {"open a", "open b"}),
    ],
)
def test_choices(text: str, expected: set[str]) -> None:
    assert drawn(text) == expected


def test_titles() -> None:
    saved = canvas(
        node(1, "Latent", title="Mine"),
        node(2, "Latent"),
        node(3, "Latent", title=""),
        node(4, "Latent", title=5),
    )
    found = convert(saved, CLASSES).graph
    own = "Latent of the tests"
    assert [node["_meta"]["title"] for node in found.values()] == ["Mine", own, own, own]
