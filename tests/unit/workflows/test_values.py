"""Values of parameters: what is taken, how it is read, and what is said of what is not."""

from __future__ import annotations

import copy
import math
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.workflows import json_schema, values
from gateway.workflows.workflow import Parameter, Workflow

P = Parameter
PARAMETERS = {
    one.name: one
    for one in [
        P("prompt", "string", min=1, max=2000),
        P("steps", "integer", min=1, max=100),
        P("width", "integer", min=64, max=2048, multiple_of=8),
        P("cfg", "float", min=0, max=30, multiple_of=0.1),
        P("hires", "boolean"),
        P("style", "enum", choices=("photo", "drawing", 3)),
        P("seed", "seed"),
        P("short_seed", "seed", min=10, max=20),
        P("picture", "image"),
        P("sound", "audio"),
        P("model", "model", folder="checkpoints"),
        P("lora", "lora"),
        P("quality", "integer", choices=(1, 2, 3)),
        P("name", "string", choices=("", "a")),
    ]
}
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]


def refused(given: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    with pytest.raises(errors.InvalidParameters) as caught:
        values.check(more.pop("parameters", PARAMETERS), given, **more)
    # Whatever was given, the answer can be written.
    orjson.dumps(caught.value.details)
    return {one["parameter"]: one for one in caught.value.details["errors"]}


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("prompt", "a lamp 🪔 \u202e\x00", "a lamp 🪔 \u202e\x00"),
        ("steps", 20, 20),
        ("steps", 20.0, 20),
        ("width", 1024, 1024),
        ("cfg", 7, 7.0),
        ("cfg", 0.3, 0.3),
        ("hires", False, False),
        ("style", "photo", "photo"),
        ("style", 3, 3),
        ("seed", "random", "random"),
        ("seed", -1, "random"),
        ("seed", 0, 0),
        ("seed", 2**64 - 1, 2**64 - 1),
        ("picture", "https://example.com/a.png", "https://example.com/a.png"),
        ("picture", "x" * 5_000_000, "x" * 5_000_000),
        ("lora", None, "None"),
        ("lora", "None", "None"),
        ("lora", "detail.safetensors", "detail.safetensors"),
        ("model", "sd15.safetensors", "sd15.safetensors"),
        ("quality", 3, 3),
        ("name", "", ""),
    ],
)
def test_what_fits_is_taken(name: str, value: Any, read: Any) -> None:
    found = values.check(PARAMETERS, {name: value})[name]

    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompt", 5, "5 is not text"),
        ("prompt", None, "null is not text"),
        ("prompt", "", "it has 0 characters; at least 1 are needed"),
        ("prompt", "x" * 2001, "it has 2001 characters; at most 2000 are allowed"),
        ("prompt", "\ud83d", "it has half a character, which no text can hold"),
        ("steps", "20", '"20" is not an integer; write 20 without quotes'),
        ("steps", "true", '"true" is not an integer'),
        ("steps", "20.5", '"20.5" is not an integer'),
        ("steps", "many", '"many" is not an integer'),
        ("steps", True, "true is not an integer"),
        ("steps", 20.5, "20.5 is not an integer"),
        ("steps", None, "null is not an integer; leave it out"),
        ("steps", [20], "a list is not an integer"),
        ("steps", {"a": 1}, "an object is not an integer"),
        ("steps", math.nan, "NaN is not an integer"),
        ("steps", 1e300, "it needs more than 64 bits"),
        ("steps", 10**4000, "it needs more than 64 bits"),
        ("steps", 0, "0 is less than 1"),
        ("steps", 101, "101 is more than 100"),
        ("width", 1001, "1001 is not a multiple of 8"),
        ("cfg", math.nan, "NaN is not a finite number"),
        ("cfg", -math.inf, "-Infinity is not a finite number"),
        ("cfg", 10**400, "it needs more than 64 bits"),
        ("cfg", 0.35, "0.35 is not a multiple of 0.1"),
        ("cfg", "7.5", '"7.5" is not a number; write 7.5 without quotes'),
        ("cfg", False, "false is not a number"),
        ("hires", "true", '"true" is neither true nor false; write true without quotes'),
        ("hires", "1", '"1" is neither true nor false'),
        ("hires", 1, "1 is neither true nor false"),
        ("style", "Photos", '"Photos" is none of them; the closest is photo'),
        ("style", True, "true is none of them"),
        ("style", "3", '"3" is none of them; write 3 without quotes'),
        ("quality", 4, "4 is none of them"),
        ("quality", True, "true is not an integer"),
        ("seed", -2, "-2 is less than 0; -1 draws one"),
        ("seed", 2**64, "it needs more than 64 bits"),
        ("seed", "Random!", '"Random!" is not an integer'),
        ("seed", True, "true is not an integer"),
        ("short_seed", 9, "9 is less than 10"),
        ("picture", 5, "5 is not text"),
        ("picture", "  ", "it is empty; leave it out, or name a file"),
        ("sound", None, "null is not text"),
        ("model", "x" * 5000, "it has 5000 characters; at most 4096 are allowed"),
        ("lora", 0.7, "0.7 is not text"),
        ("lora", "", "it is empty; leave it out, or name a file"),
    ],
)
def test_what_does_not_fit_is_told(name: str, value: Any, message: str) -> None:
    told = refused({name: value})[name]

    assert told["message"].startswith(message)
    assert told["allowed"] == values.allowed(PARAMETERS[name])


def test_all_is_told_at_once_and_the_sentence_names_the_first() -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        values.check(PARAMETERS, {"steps": "20", "stepps": 4, "cfg": 99})

    failure = caught.value
    assert [one["parameter"] for one in failure.details["errors"]] == ["steps", "stepps", "cfg"]
    assert failure.location == "input.steps"
    assert failure.message == (
        'steps: "20" is not an integer; write 20 without quotes, and 2 more are wrong.'
    )
    assert failure.hint == "Allowed: an integer from 1 to 100."


def test_an_unknown_parameter_is_told_with_the_closest() -> None:
    told = refused({"stepps": 4})["stepps"]

    assert told["message"] == "there is no such parameter; did you mean steps"
    assert told["allowed"].startswith("one of the parameters prompt, steps, width")


def test_without_parameters_nothing_is_allowed() -> None:
    assert refused({"a": 1}, parameters={})["a"]["allowed"] == "nothing: it has no parameters"


def test_what_is_required_is_missed() -> None:
    parameters = {"prompt": P("prompt", "string", required=True, default="x")}

    told = refused({}, parameters=parameters)["prompt"]

    assert (told["given"], told["message"]) == (None, "it is required")


def test_what_is_required_and_wrong_is_told_once() -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        values.check({"prompt": P("prompt", "string", required=True)}, {"prompt": 5})

    assert len(caught.value.details["errors"]) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 3_000_000, "x" * 200 + "…"),
        (10**4000, "an integer of 13288 bits"),
        (math.inf, "Infinity"),
        (True, True),
        (2**63, 2**63),
    ],
)
def test_what_was_given_is_shown_shortened(value: Any, shown: Any) -> None:
    told = refused({"hires": value, "other": value}, parameters={"hires": P("hires", "enum")})

    assert told["hires"]["given"] == told["other"]["given"] == shown


@pytest.mark.parametrize("value", [DEEP, {"a": "x" * 10**6}, [10**5000], ["\ud800"] * 10**5])
def test_any_value_is_shown_in_a_line(value: Any) -> None:
    assert len(refused({"hires": value})["hires"]["given"]) <= 200


def test_thousands_of_mistakes_are_counted_and_a_hundred_told() -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        values.check(PARAMETERS, {f"unknown-{'x' * 300}-{n}": n for n in range(20_000)})

    assert "and 19999 more are wrong" in caught.value.message
    assert len(caught.value.details["errors"]) == 100
    assert len(orjson.dumps(caught.value.details)) < 100_000


# Forms


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("steps", " 20 ", 20),
        ("cfg", "7.5", 7.5),
        ("cfg", "1e1", 10.0),
        ("hires", "on", True),
        ("hires", "False", False),
        ("hires", "0", False),
        ("style", "photo", "photo"),
        ("style", "3", 3),
        ("quality", "2", 2),
        ("seed", "random", "random"),
        ("seed", "-1", "random"),
        ("seed", "18446744073709551615", 2**64 - 1),
        ("prompt", " 20 ", " 20 "),
        ("lora", "None", "None"),
        ("name", "", ""),
    ],
)
def test_a_form_is_read_by_the_type(name: str, text: str, read: Any) -> None:
    found = values.check(PARAMETERS, {name: text}, is_form=True)[name]

    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("steps", "many", '"many" is not an integer'),
        ("steps", "20.5", "20.5 is not an integer"),
        ("steps", "٢", '"٢" is not an integer'),
        ("cfg", "nan", '"nan" is not a number'),
        ("cfg", "1e999", "Infinity is not a finite number"),
        ("hires", "perhaps", '"perhaps" is neither true nor false'),
        ("style", "phot", '"phot" is none of them; the closest is photo'),
        ("seed", "9" * 400, "it needs more than 64 bits"),
        ("seed", "9" * 5000, '"999'),
    ],
)
def test_what_a_form_cannot_mean_is_told(name: str, text: str, message: str) -> None:
    assert refused({name: text}, is_form=True)[name]["message"].startswith(message)


def test_a_field_that_was_left_empty_was_not_given() -> None:
    parameters = {**PARAMETERS, "must": P("must", "image", required=True)}
    empty = {"steps": "", "hires": " ", "lora": "", "picture": "", "must": ""}

    assert list(refused(empty, parameters=parameters, is_form=True)) == ["must"]


# Whatever is given

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["random", "None", "photo", "20", -1, 2**64, 0.3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from([*PARAMETERS, "unknown"])


@given(st.dictionaries(NAMES, ANY))
def test_whatever_is_given_is_taken_or_told(given: dict[str, Any]) -> None:
    before = copy.deepcopy(given)
    try:
        found = values.check(PARAMETERS, given)
    except errors.InvalidParameters as failure:
        orjson.dumps(failure.to_dict())
    else:
        # What was read once is read the same again.
        assert values.check(PARAMETERS, found) == found
    assert repr(given) == repr(before)


_SCHEMA = jsonschema.Draft202012Validator(
    json_schema.schema(Workflow("w", {k: v for k, v in PARAMETERS.items() if k != "cfg"}))
)


@given(st.dictionaries(st.sampled_from([one for one in PARAMETERS if one != "cfg"]), ANY))
def test_the_schema_says_the_same(given: dict[str, Any]) -> None:
    try:
        values.check(PARAMETERS, given)
        is_taken = True
    except errors.InvalidParameters:
        is_taken = False
    blank = any(isinstance(one, str) and one and not one.strip() for one in given.values())
    huge = any(isinstance(one, int) and abs(one) >= 2**63 for one in given.values())
    if not blank and not huge:
        assert _SCHEMA.is_valid(given) == is_taken
