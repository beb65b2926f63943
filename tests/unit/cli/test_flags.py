"""What the flags of `gateway generate` say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli import flags


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("style.safetensors", {"name": "style.safetensors"}),
        ("style.safetensors:0.7", {"name": "style.safetensors", "strength": 0.7}),
        (
            "a/style.safetensors:-1:.5",
            {"name": "a/style.safetensors", "strength": -1.0, "strength_clip": 0.5},
        ),
        ("s:1@low", {"name": "s", "strength": 1.0, "target": "low"}),
        ("s:1:0@75", {"name": "s", "strength": 1.0, "strength_clip": 0.0, "target": "75"}),
        ("a@b", {"name": "a@b"}),
        ("https://host:8080/s", {"url": "https://host:8080/s"}),
        ("https://host:8080/s:0.7", {"url": "https://host:8080/s", "strength": 0.7}),
        (
            "hf://owner/name/s.safetensors:1e-1:2",
            {"url": "hf://owner/name/s.safetensors", "strength": 0.1, "strength_clip": 2.0},
        ),
        ("https://user:word@host/s?a=b:c", {"url": "https://user:word@host/s?a=b:c"}),
    ],
)
def test_a_lora_and_its_strengths(text: str, wish: dict[str, Any]) -> None:
    assert flags.lora(text) == wish


@pytest.mark.parametrize("text", ["", "s:", "s:much", "s:0.7:much", "s:0.7:1:2", ":1"])
def test_what_is_no_lora(text: str) -> None:
    with pytest.raises(ValueError, match="is not FILE"):
        flags.lora(text)


@pytest.mark.parametrize(("text", "seed"), [("0", 0), ("42", 42), (str(2**64 - 1), 2**64 - 1)])
def test_a_seed(text: str, seed: int) -> None:
    assert flags.seed(text) == seed


@pytest.mark.parametrize("text", ["random", "-1"])
def test_a_seed_by_chance_is_one_that_javascript_counts_exactly(text: str) -> None:
    drawn = {flags.seed(text) for _ in range(10)}
    assert len(drawn) == 10
    assert all(0 <= seed < 2**53 for seed in drawn)


@pytest.mark.parametrize("text", ["", "-2", "1.5", "x", str(2**64), "9" * 5000])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(ValueError, match="is no seed"):
        flags.seed(text)


def test_a_file_has_a_path_or_the_ending_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "there").touch()
    monkeypatch.chdir(tmp_path)
    files = ("a.json", "a.PNG", "a.mp4", "people/a.json", "./a", "/a/b", "~/a", "people/there")
    assert [flags.is_file(one) for one in files] == [True] * len(files)
    assert [flags.is_file(one) for one in ("a", "people/portrait", "there")] == [False] * 3
