"""Texts that say {one|other}: what the frontend makes of them each time it sends them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

_PIECE = re.compile(r"\\.|[{}|]|[^\\{}|]+|\\", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")
#: Braces in braces beyond this depth are text like any other.
_DEEPEST = 200
#: A longer one is no text that somebody wrote, and would take seconds.
_LONGEST = 1_000_000
_LINE_END = re.compile("[\n\r\u2028\u2029]")


def chosen(text: str, chance: Random) -> str:
    """Return a text without comments, and with one of each {one|other}, drawn by chance."""
    if len(text) > _LONGEST:
        return text
    text = "".join(_without_comments(text))
    if "{" not in text and "\\" not in text:
        return text
    # Braces may stand within braces: the innermost is at the end.
    open_braces: list[list[list[str]]] = [[[]]]
    for piece in _PIECE.findall(text):
        if piece == "{" and len(open_braces) < _DEEPEST:
            open_braces.append([[]])
        elif piece == "}" and len(open_braces) > 1:
            _close(open_braces, chance)
        elif piece == "|" and len(open_braces) > 1:
            open_braces[-1].append([])
        else:
            open_braces[-1][-1].append(piece)
    while len(open_braces) > 1:
        _close(open_braces, chance)
    return _ESCAPED.sub(r"\1", "".join(open_braces[0][0]))


def _close(open_braces: list[list[list[str]]], chance: Random) -> None:
    options = open_braces.pop()
    open_braces[-1][-1].append("".join(chance.choice(options)))


def _without_comments(text: str) -> Iterator[str]:
    """Yield what is neither /* so */ nor // so.

    Not by one pattern: with many beginnings and no end, it would look for the end every time.
    """
    at = 0
    last_end = text.rfind("*/")
    while (begin := text.find("/", at)) >= 0:
        opening = text[begin : begin + 2]
        if opening == "/*" and last_end >= begin + 2:
            end = text.index("*/", begin + 2) + 2
        elif opening == "//":
            line_end = _LINE_END.search(text, begin)
            end = line_end.start() if line_end else len(text)
        else:
            yield text[at : begin + 1]
            at = begin + 1
            continue
        yield text[at:begin]
        at = end
    yield text[at:]
