"""What to do about a place where a link shall be; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What lies at a place."""

    NOTHING = "nothing"
    FILE = "a file"
    FOLDER = "a folder"
    LINK = "a link"
    #: It cannot even be looked at.
    UNREADABLE = "unreadable"


class Action(Enum):
    """What to do about a place."""

    MAKE = "make"
    KEEP = "keep"
    REPLACE = "replace"
    #: Leave it, and link in CACHE_DIR/links instead.
    AVOID = "avoid"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Found:
    """A place where a link shall be, as it is."""

    kind: Kind
    #: Of a link: where it points, whether that is the wanted file, whether it lies in our cache,
    #: and whether there is anything.
    target: str = ""
    is_wanted: bool = False
    is_ours: bool = False
    is_present: bool = False


def decide(found: Found, *, is_private: bool) -> Action:
    """Return what to do; `is_private`: it lies in CACHE_DIR/links, where everything is ours."""
    match found.kind:
        case Kind.NOTHING:
            return Action.MAKE
        case Kind.FILE | Kind.FOLDER:
            return Action.REFUSE
        case Kind.UNREADABLE:
            return Action.MAKE if is_private else Action.AVOID
    if found.is_wanted:
        # When it dangles, the file's coming back repairs it, for neighbours too.
        return Action.KEEP
    if found.is_present and (is_private or found.is_ours):
        return Action.REFUSE
    # In a neighbour's container the same path may well hold a file.
    return Action.REPLACE if is_private else Action.AVOID
