"""What a search over prompts looks for, in the language of SQLite's full-text index; pure."""

from __future__ import annotations

import hashlib
import re

#: Of a longer text, what comes after is not searched.
TEXT_LENGTH = 20_000

#: So many words are looked for, of those that a caller gives: thousands that stand in every prompt
#: take seconds, and all reads wait for each other.
_SOUGHT_WORDS = 512

#: Shorter beginnings of words, in Latin letters, are in nearly every prompt.
_PREFIX_LENGTH = 2

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: Scripts that put no blanks between words, and symbols: each character is a word of its own.
_ALONE = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029"
    r"\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    r"\U00020000-\U0003ffff"
    r"\u00a6\u00a9\u00ae\u00b0\u2100-\u214f\u2190-\u2bff\U0001f000-\U0001faff])"
)
_SOUGHT = re.compile(r'"([^"]*)"?|([^\s"]+)')


def spaced(text: str) -> str:
    """Return a text as it is put into the index."""
    return _ALONE.sub(r" \1 ", _CONTROL.sub(" ", text[:TEXT_LENGTH]))


def sought(text: str) -> list[str]:
    """Return what a caller looks for: phrases of the index's language, all of which must match.

    Nothing in the text has a meaning but its words, a pair of quotes, and a star behind a word.
    """
    found: list[str] = []
    left = _SOUGHT_WORDS
    for quoted, bare in _SOUGHT.findall(_CONTROL.sub(" ", text)):
        words = spaced(quoted or bare).rstrip()
        if not any(map(_is_searched, words)):
            continue
        beginning = words.rstrip("*")
        parts = beginning.split()[:left]
        left -= len(parts)
        phrase = '"' + " ".join(parts) + '"'
        is_beginning = bool(bare) and beginning != words and _ends_in_a_word(beginning)
        found.append(f"{phrase} *" if is_beginning else phrase)
        if left == 0:
            break
    return list(dict.fromkeys(found))


def _ends_in_a_word(text: str) -> bool:
    tail = text.rpartition(" ")[2][-_PREFIX_LENGTH:]
    return tail.isalnum() and (len(tail) == _PREFIX_LENGTH or not tail.isascii())


def _is_searched(character: str) -> bool:
    return character.isalnum() or _ALONE.match(character) is not None


def tag(kind: str, value: str) -> str:
    """Return the word that stands in the index for a value that is looked for as a whole."""
    told = f"{kind}\0{value}".encode(errors="replace")
    return hashlib.blake2b(told, digest_size=8).hexdigest()


def names_of(file: str) -> list[str]:
    """Return what a file of weights is called: with and without its folder and its extension."""
    whole = file.casefold()
    alone = whole.replace("\\", "/").rpartition("/")[2]
    names = (whole, alone, whole.rpartition(".")[0], alone.rpartition(".")[0])
    return list(dict.fromkeys(filter(None, names)))
