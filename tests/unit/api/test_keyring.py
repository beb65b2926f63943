"""Keys: read from the environment and a file, known by their digest alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway import errors
from gateway.api.keyring import Keyring


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(
        f"# keys of the team\n\nbob:{digest('b')}  # his\n  eve: {digest('e').upper()}\n"
    )
    return path


def test_no_key_opens_to_all() -> None:
    assert Keyring.load((), None).is_open


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("a", "ann"),
        ("x:y", "colon"),
        ("ä", "umlaut"),
        ("b", "bob"),
        ("e", "eve"),
        ("", None),
        ("A", None),
        ("a ", None),
        ("\udcff", None),
        (digest("b"), None),
    ],
)
def test_keys_have_owners(file: Path, key: str, owner: str | None) -> None:
    keyring = Keyring.load(("ann:a", "colon:x:y", "umlaut:ä"), file)
    assert not keyring.is_open
    assert keyring.owner_of(key) == owner


@pytest.mark.parametrize("line", ["bob", ":" + "0" * 64, "bob:secret-key", "bob:" + "0" * 63])
def test_a_wrong_line_is_told_without_its_text(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# comment\n{line}\n")
    with pytest.raises(errors.SettingsInvalid, match="line 2") as refused:
        Keyring.load((), path)
    assert "secret-key" not in refused.value.message


@pytest.mark.parametrize("text", ["", "\n\n", "# bob:later\n"])
def test_a_file_without_keys_does_not_open_the_gateway(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(errors.SettingsInvalid, match="API_KEYS_FILE"):
        Keyring.load((), path)
    assert not Keyring.load(("ann:a",), path).is_open
