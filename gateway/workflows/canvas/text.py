"""What the frontend replaces in texts when it sends them: dates, values of nodes, choices."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from random import Random

from gateway.workflows.canvas import choices
from gateway.workflows.canvas.budget import Budget
from gateway.workflows.canvas.nodes import SEARCHED, Node
from gateway.workflows.canvas.values import as_text

#: Savers whose prefix may name a date, `%date:yyyy-MM-dd%`, or a node's value, `%KSampler.seed%`.
SAVERS = frozenset(
    (
        *("SaveImage", "SaveAnimatedPNG", "SaveAnimatedWEBP", "SaveWEBM", "SaveAudio", "SaveGLB"),
        *("SaveLatent", "CLIPSave", "LoraSave", "ModelSave", "VAESave"),
    )
)
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")
_NO_FILE_NAME = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


class Texts:
    """Makes texts what they are when they are sent."""

    def __init__(
        self, nodes: Iterable[Node], now: datetime, chance: Random, budget: Budget
    ) -> None:
        self._nodes = nodes
        self._now = now
        self._chance = chance
        self._budget = budget
        self._found: dict[str, Node] | None = None

    def filled(self, text: str) -> str:
        """Return a text with dates and values of nodes in place of what stands for them.

        Raises Spent.
        """
        if "%" not in text:
            return text
        self._budget.write(len(text))
        return _PLACEHOLDER.sub(self._one, text)

    def chosen(self, text: str) -> str:
        """Return a text with one of each {one|other}, and without comments; raises Spent."""
        self._budget.write(12 * len(text))
        return choices.chosen(text, self._chance)

    def _one(self, found: re.Match[str]) -> str:
        name, dot, widget = found[1].partition(".")
        if not dot or "." in widget:
            return _date(name[5:], self._now) if name.startswith("date:") else found[0]
        node = self._named().get(name)
        shown = node.widget(widget) if node is not None else None
        if shown is None:
            return found[0]
        value = as_text(shown.value)
        self._budget.write(len(value))
        return _NO_FILE_NAME.sub("_", value)

    def _named(self) -> dict[str, Node]:
        """Return the nodes by what texts call them: the first of each name, else of each title."""
        if self._found is None:
            self._found = {}
            titles: dict[str, Node] = {}
            for node in self._nodes:
                name = node.properties.get(SEARCHED)
                if isinstance(name, str):
                    self._found.setdefault(name, node)
                titles.setdefault(node.title, node)
            self._found = {**titles, **self._found}
        return self._found


def _date(form: str, now: datetime) -> str:
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def one(found: re.Match[str]) -> str:
        text = found[0]
        if text in ("yy", "yyyy"):
            return str(now.year)[2 if text == "yy" else 0 :]
        return str(parts[text[0]]).rjust(len(text), "0") if text[0] in parts else text

    return _DATE.sub(one, form)
