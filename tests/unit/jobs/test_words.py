"""What a search looks for: phrases of the index's language, whatever was typed."""

from __future__ import annotations

import pytest

from gateway.jobs import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sunset", ['"sunset"']),
        ("golden sunset", ['"golden"', '"sunset"']),
        ("sunset sunset", ['"sunset"']),
        ('"golden hour" sea', ['"golden hour"', '"sea"']),
        ('"golden hour', ['"golden hour"']),
        ('golden"hour', ['"golden"', '"hour"']),
        ("sun*", ['"sun" *']),
        ("s*", ['"s"']),
        ('"sun*"', ['"sun"']),
        ("*", []),
        ('" " !!! ( -', []),
        ("foo-bar*", ['"foo-bar" *']),
        ("夕日", ['"夕 日"']),
        ("夕日*", ['"夕 日"']),
        ("풍*", ['"풍" *']),
        ("cat🌅", ['"cat 🌅"']),
        ("a\0b\ud800c", ['"a"', '"b"', '"c"']),
        ("C++ AND (", ['"C++"', '"AND"']),
    ],
)
def test_what_is_looked_for(text: str, found: list[str]) -> None:
    assert words.sought(text) == found


def test_a_text_in_the_index_has_its_characters_apart() -> None:
    assert words.spaced("a夕日b\0c🌅").split() == ["a", "夕", "日", "b", "c", "🌅"]
    assert len(words.spaced("word " * 100_000)) == words.TEXT_LENGTH


def test_a_value_is_one_word_of_its_kind() -> None:
    tags = {words.tag("lora", "a"), words.tag("model", "a"), words.tag("lora", "\ud800")}
    assert len(tags) == 3
    assert all(tag.isalnum() and tag.isascii() for tag in tags)


@pytest.mark.parametrize(
    ("file", "names"),
    [
        (
            "styles/Ink.v2.safetensors",
            {"styles/ink.v2.safetensors", "ink.v2.safetensors"} | {"styles/ink.v2", "ink.v2"},
        ),
        ("a\\b.pt", {"a\\b.pt", "b.pt", "a\\b", "b"}),
        ("plain", {"plain"}),
        ("", set()),
    ],
)
def test_what_a_file_is_called(file: str, names: set[str]) -> None:
    assert set(words.names_of(file)) == names


@pytest.mark.parametrize("text", ["{} " * 3, '"{}"'])
def test_a_long_text_is_looked_for_by_its_first_words(text: str) -> None:
    many = " ".join(f"w{number}" for number in range(2000))
    found = " ".join(words.sought(text.format(many, many, many)))
    assert len(found.split()) == 512
    assert "w511" in found
