"""Presets and LoRAs as they are shown."""

from __future__ import annotations

from typing import Any

from gateway.cli import flags, presets

FOUND: dict[str, Any] = {
    "presets": {"draft": {"steps": 10, "cfg": 5.0}, "wide": {"sampler": "euler", "width": 1024}},
    "lora_presets": {
        "soft": [
            {"name": "a.safetensors", "strength": 0.7},
            {"url": "https://host/b", "strength": 1.0, "strength_clip": 0.0, "target": "low"},
        ]
    },
}


def test_a_preset_is_a_line_of_what_it_sets() -> None:
    assert presets.rows(FOUND) == [
        ("draft", "10", "5.0", "", "", "", ""),
        ("wide", "", "", "euler", "", "", "1024x?"),
    ]


def test_a_lora_is_shown_as_the_option_takes_it() -> None:
    [(name, shown)] = presets.lora_rows(FOUND)
    assert (name, shown) == ("soft", "a.safetensors:0.7, https://host/b:1.0:0.0@low")
    assert [flags.lora(one) for one in shown.split(", ")] == FOUND["lora_presets"]["soft"]
