"""What callers are told when ComfyUI refuses a graph at its own door."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.comfy.refusal import refused


def answer(config: Any, value: Any = "styl.pt", kind: str = "value_not_in_list") -> dict[str, Any]:
    extra = {"input_name": "weights", "input_config": config, "received_value": value}
    error = {"type": kind, "message": "Value not in list", "details": "...", "extra_info": extra}
    return {
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt failed"},
        "node_errors": {"5": {"class_type": "Custom", "errors": [error]}},
    }


@pytest.mark.parametrize(
    "config", [[["style.pt", "other.pt"], {}], ["COMBO", {"options": ["style.pt", "other.pt"]}]]
)
def test_the_closest_names_are_told(config: Any) -> None:
    told = refused(answer(config)).to_dict()
    assert told["hint"].startswith("The closest: style.pt")
    assert told["location"] == "prompt.5.inputs.weights"


@pytest.mark.parametrize(
    "given",
    [
        answer(None),
        answer([[]]),
        answer([["x"]], value=None),
        answer([["style.pt"]], kind="value_bigger_than_max"),
        {"node_errors": {"5": None, "6": {"errors": [None, {"extra_info": None}]}}},
        {"error": "odd"},
        {},
    ],
)
def test_none_are_where_there_is_no_list(given: dict[str, Any]) -> None:
    assert refused(given).hint is None
