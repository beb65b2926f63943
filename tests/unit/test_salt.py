"""Salts."""

from __future__ import annotations

import stat
from pathlib import Path

from gateway import salt


def test_a_salt_is_secret_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "salt"
    made = salt.read(path)

    assert salt.read(path) == made
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_salt_that_was_left_short_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "salt"
    path.write_bytes(b"short")

    assert len(salt.read(path)) == 32
