"""What is known of a file, written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.models import record
from gateway.models.record import Record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = Record(name="a.bin", url="https://h/a", size=3, sha256="ab", links=("/m/a", "/m/b"))
    record.write(tmp_path / "new", "a", found)

    assert record.read(tmp_path / "new", "a") == found
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    record.remove(tmp_path / "new", "a")
    assert record.read(tmp_path / "new", "a") is None
    record.remove(tmp_path / "new", "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1, "size": "x"}', "null"])
def test_what_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)

    assert record.read(tmp_path, "a") is None


def test_what_does_not_say_is_given_to_nobody_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "a.bin", "size": 1}')
    found = record.read(tmp_path, "a")

    assert found is not None
    assert (found.needs_credentials, found.verified) == (True, False)
