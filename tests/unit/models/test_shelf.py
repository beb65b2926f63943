"""What the folder of the cache does when files go."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pytest

from gateway.models import record
from gateway.models.index import File
from gateway.models.layout import Layout
from gateway.models.record import Record
from gateway.models.shelf import Shelf
from gateway.storage.partial import discard, gathered

STEM = "m" * 32
NAME = f"{STEM}.json"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    found = Shelf(Layout(tmp_path))
    found.make()
    (tmp_path / NAME).write_bytes(b"{}")
    record.write(found.layout.records, STEM, Record(name=NAME, url=None, size=2))
    return found


def removed(shelf: Shelf, *answers: Set[str]) -> bool:
    """Whether a file goes, when others need these, each time that they are asked."""
    said = iter(answers)
    file = shelf.seen(NAME)
    assert isinstance(file, File)
    became = shelf.remove([file], pinned=lambda: next(said))
    assert next(said, None) is None
    assert not list(shelf.layout.partial.iterdir())
    return became == {NAME: None}


def test_what_a_program_gathers_counts_as_the_part_that_it_becomes(shelf: Shelf) -> None:
    part = shelf.layout.part(STEM)
    (gathered(part) / "files").mkdir(parents=True)
    (gathered(part) / "files" / "m.safetensors").write_bytes(bytes(1 << 20))
    survey = shelf.survey()
    assert survey.allocated(STEM) == survey.size(STEM) == 1 << 20
    discard(shelf.layout.partial, STEM)
    assert not shelf.survey().parts


@pytest.mark.parametrize("answers", [({STEM},), (set(), {STEM})])
def test_what_another_process_takes_up_at_the_last_moment_stays(
    shelf: Shelf, answers: tuple[Set[str], ...]
) -> None:
    assert not removed(shelf, *answers)
    assert (shelf.layout.cache / NAME).read_bytes() == b"{}"
    assert record.read(shelf.layout.records, STEM) is not None


def test_what_nobody_needs_goes_with_its_record(shelf: Shelf) -> None:
    assert removed(shelf, set(), set())
    assert not (shelf.layout.cache / NAME).exists()
    assert record.read(shelf.layout.records, STEM) is None


def test_what_a_killed_process_was_about_to_remove_is_put_back(shelf: Shelf) -> None:
    path, aside = shelf.layout.cache / NAME, shelf.layout.aside(NAME)
    path.rename(aside)
    shelf.clear_up(aside.stat().st_mtime + 1e6)
    assert shelf.listing(is_shared=True) == {NAME: path.stat().st_ino}
    assert path.read_bytes() == b"{}"
    aside.write_bytes(b"an older one")
    assert shelf.listing(is_shared=True) == {NAME: path.stat().st_ino}
    assert path.read_bytes() == b"{}"
    assert not aside.exists()
