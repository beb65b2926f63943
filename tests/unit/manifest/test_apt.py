"""Which packages of apt are there, as dpkg's own file tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.manifest.apt import installed, missing

STATUS = """\
Package: ffmpeg
Status: install ok installed
Architecture: amd64
Version: 7:5.1.6-0
Description: tools
 Package: of-the-description
 .
 more

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3.4
Provides: awk, libawk (= 2.0)

Package: half
Status: install ok half-installed
Architecture: all
Version: 1
"""


@pytest.mark.parametrize(
    ("item", "is_missing"),
    [
        ("ffmpeg", False),
        ("ffmpeg=7:5.1.6-0", False),
        ("ffmpeg=7:6.0", True),
        ("ffmpeg:amd64", False),
        ("ffmpeg:i386", True),
        ("awk", False),
        ("libawk", False),
        ("removed", True),
        ("half", True),
        ("of-the-description", True),
    ],
)
def test_missing(tmp_path: Path, item: str, is_missing: bool) -> None:
    (tmp_path / "status").write_text(STATUS)
    assert missing([item], installed(tmp_path / "status")) == [item] * is_missing


def test_a_system_without_dpkg(tmp_path: Path) -> None:
    assert installed(tmp_path / "absent") == {}
