"""Links between pages, and to files, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.embedded.nodes import CLASSES
from tests.docs.reading import DOCS, PAGES, anchors, links
from tests.docs.running import ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert target.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)
    }
    unlinked = {page for page in DOCS.rglob("*.md") if page.name != "README.md"} - linked
    assert not unlinked


def test_files_named_in_the_documentation_exist() -> None:
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r"`((?:gateway|tests|warmup|scripts)/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_nodes_of_the_embedded_engine_are_listed() -> None:
    section = (DOCS / "embedded-engine.md").read_text().partition("## Its nodes")[2]
    told = section.strip().partition("\n\n")[0].replace("\n", " ").rstrip(".").split(", ")
    assert [name.strip() for name in told] == sorted(CLASSES, key=str.lower)
