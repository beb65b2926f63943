"""What the frontend replaces in texts when it sends them: dates, values of nodes, {one|other}."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import datetime

from gateway.workflows.canvas.nodes import SEARCHED, Node
from gateway.workflows.canvas.values import text_of

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
_COMMENT = re.compile(r"/\*[\s\S]*?\*/|//.*")
_ESCAPED = re.compile(r"\\([{}|])")
_LONGEST = 100_000


def replaced(text: str, nodes: Sequence[Node], now: datetime) -> str:
    """Return a text with dates and values of nodes in place of what stands for them."""

    def one(found: re.Match[str]) -> str:
        name, dot, widget = found[1].partition(".")
        if not dot or "." in widget:
            return _date(name[5:], now) if name.startswith("date:") else found[0]
        return _value(nodes, name, widget, found[0])

    return _PLACEHOLDER.sub(one, text)


def _value(nodes: Sequence[Node], name: str, widget_name: str, otherwise: str) -> str:
    named = [node for node in nodes if node.properties.get(SEARCHED) == name]
    named = named or [node for node in nodes if node.title == name]
    widget = named[0].widget(widget_name) if named else None
    return otherwise if widget is None else _NO_FILE_NAME.sub("_", text_of(widget.value))


def _date(form: str, now: datetime) -> str:
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def one(found: re.Match[str]) -> str:
        text = found[0]
        if text in ("yy", "yyyy"):
            return str(now.year)[2 if text == "yy" else 0 :]
        return str(parts[text[0]]).rjust(len(text), "0") if text[0] in parts else text

    return _DATE.sub(one, form)


def chosen(text: str) -> str:
    """Return a text without comments, and with one of each {one|other}, drawn at random."""
    if len(text) > _LONGEST or not ("{" in text or "/" in text or "\\" in text):
        return text
    return _Choice(_COMMENT.sub("", text)).read()


class _Choice:
    """A text that is being read; braces may stand within braces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> str:
        levels: list[list[str]] = [[""]]
        while self._at < len(self._text):
            self._step(levels)
        while len(levels) > 1:
            _close(levels)
        return _ESCAPED.sub(r"\1", levels[0][0])

    def _step(self, levels: list[list[str]]) -> None:
        character = self._text[self._at]
        self._at += 1
        if character == "\\":
            levels[-1][-1] += character + self._text[self._at : self._at + 1]
            self._at += 1
        elif character == "{":
            levels.append([""])
        elif character == "}" and len(levels) > 1:
            _close(levels)
        elif character == "|" and len(levels) > 1:
            levels[-1].append("")
        else:
            levels[-1][-1] += character


def _close(levels: list[list[str]]) -> None:
    options = levels.pop()
    levels[-1][-1] += random.choice(options)  # noqa: S311 - a choice of words, no secret
