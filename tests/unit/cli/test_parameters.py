"""Flags as values of parameters, by their names."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.failure import CommandFailed
from gateway.cli.flags import Flags
from gateway.cli.parameters import Asked, images, of_schema, values

TEXT = {"type": "string"}
IMAGE = {"type": "string", "x-type": "image"}


def asked(**properties: dict[str, Any]) -> list[Asked]:
    return of_schema({"type": "object", "properties": properties})


def test_the_types_of_a_schema() -> None:
    found = asked(
        text=TEXT,
        seed={"anyOf": [{"type": "integer"}, {"enum": ["random", -1]}], "x-type": "seed"},
        maybe={"anyOf": [{"type": "integer"}, {"type": "null"}]},
        lora={"type": ["string", "null"], "x-type": "lora"},
        size={"enum": ["small", 512]},
        nested={"$ref": "#/$defs/Nested"},
    )
    assert [one.kind for one in found] == ["string", "seed", "integer", "lora", "", ""]
    assert found[4].choices == ["small", 512]


@pytest.mark.parametrize(
    ("said", "text", "value"),
    [
        (TEXT, "42", "42"),
        (TEXT, "a=b", "a=b"),
        (TEXT, '"42"', "42"),
        ({"type": "integer"}, "42", 42),
        ({"type": "number"}, "0.5", 0.5),
        ({"type": "boolean"}, "false", False),
        ({"type": "integer"}, "many", "many"),
        ({"x-type": "seed"}, "random", "random"),
        ({"x-type": "seed"}, "-1", -1),
        ({"enum": ["512", 768]}, "768", 768),
        ({"enum": ["512", 768]}, "512", "512"),
        ({"enum": ["512", 768]}, "1024", "1024"),
        ({"type": "array"}, "[1]", [1]),
    ],
)
def test_a_value_is_read_by_the_type(said: dict[str, Any], text: str, value: Any) -> None:
    assert values(asked(x=said), Flags(values=[f"x={text}"])) == {"x": value}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("prompt", "prompt"),
        ("prompt", "text"),
        ("negative_prompt", "negative"),
        ("seed", "noise_seed"),
        ("sampler", "sampler_name"),
        ("cfg", "guidance"),
        ("width", "width"),
    ],
)
def test_a_flag_finds_the_parameter_of_its_meaning(setting: str, name: str) -> None:
    found = values(asked(other=TEXT, **{name: TEXT}), Flags(settings={setting: 1}))
    assert found == {name: 1}


def test_the_exact_name_comes_first() -> None:
    assert values(asked(text=TEXT, prompt=TEXT), Flags(settings={"prompt": "a"})) == {"prompt": "a"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (Flags(settings={"steps": 3}), "has no parameter for --steps"),
        (Flags(values=["step=3"]), "has no parameter 'step'"),
        (Flags(values=["prompt"]), "'prompt' is not NAME=VALUE"),
        (Flags(settings={"prompt": "a"}, values=["prompt=b"]), "prompt is given twice"),
    ],
)
def test_what_fits_no_parameter(flags: Flags, says: str) -> None:
    with pytest.raises(CommandFailed, match=says):
        values(asked(prompt=TEXT), flags)


def test_the_hint_names_the_parameters_there_are() -> None:
    with pytest.raises(CommandFailed) as raised:
        values(asked(prompt=TEXT, size=TEXT), Flags(settings={"steps": 3}))
    assert raised.value.hint == (
        "Its parameters: prompt, size. Each may be given by --set NAME=VALUE."
    )


class TestImages:
    def test_the_only_one_the_usual_name_or_the_one_that_is_named(self) -> None:
        one = Flags(images=["a=b.png"])
        assert images(asked(person=IMAGE, prompt=TEXT), one) == {"person": "a=b.png"}
        assert images(asked(other=IMAGE, image=IMAGE), one) == {"image": "a=b.png"}
        two = Flags(images=["cloth=c.png", "person=https://host/p.png?x=y"])
        assert images(asked(person=IMAGE, cloth=IMAGE), two) == {
            "cloth": "c.png",
            "person": "https://host/p.png?x=y",
        }

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (Flags(images=["a.png"]), "takes several images: person, cloth"),
            (Flags(images=["cloth=a.png", "cloth=b.png"]), "cloth was given two images"),
            (Flags(images=["cloth=a.png"], values=["cloth=b"]), "cloth is given twice"),
        ],
    )
    def test_what_is_not_told_apart(self, flags: Flags, says: str) -> None:
        with pytest.raises(CommandFailed, match=says):
            images(asked(person=IMAGE, cloth=IMAGE), flags)

    def test_a_workflow_that_takes_none(self) -> None:
        with pytest.raises(CommandFailed, match="takes no image"):
            images(asked(prompt=TEXT), Flags(images=["a.png"]))
