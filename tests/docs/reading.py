"""Reads the documentation: headings, tables, links, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.docs.running import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    DOCS.rglob("*.md")
)

_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


def text_of(page: Path) -> str:
    """A page without its fenced and indented code."""
    kept = _FENCE.sub("", page.read_text())
    return "\n".join(line for line in kept.splitlines() if not line.startswith("    "))


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link to the page may name after `#`."""
    plain = (heading.replace("`", "").lower() for heading in headings(page))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def section(page: Path, heading: str) -> str:
    """What stands under a heading of the third level."""
    return text_of(page).partition(f"\n### {heading}\n")[2].partition("\n### ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of every table, without headers; cells as they are written."""
    for line, following in pairwise([*text.splitlines(), ""]):
        is_row = line.startswith("|") and not line.startswith("|---")
        if is_row and not following.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def coded(cell: str) -> list[str]:
    """What stands in backticks."""
    return _CODE.findall(cell)


def links(page: Path) -> list[str]:
    return _LINK.findall(text_of(page))
