"""What is asked of the library and of its cache, and what they answer with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.schemas import Auth
from gateway.storage import address


@dataclass(frozen=True)
class Wanted:
    """A URL whose file is needed."""

    url: str
    auth: Auth | None = None
    #: Hex, when whoever asks knows it.
    sha256: str | None = None
    #: Where the caller finds the URL in its request.
    location: str | None = None

    @property
    def secret(self) -> str | None:
        """The caller's own credentials, of whatever kind, as one text; None: there are none."""
        if self.auth is not None:
            return self.auth.model_dump_json()
        return address.parted(self.url)[1]


@dataclass(frozen=True, kw_only=True)
class Want:
    """A URL that ComfyUI shall list in a folder of models."""

    url: str
    folder: str
    #: The name in that folder; None: the cache's.
    name: str | None = None
    auth: Auth | None = None
    #: Hex, when whoever asks knows it.
    sha256: str | None = None
    #: Where the caller finds the URL in its request.
    location: str | None = None
    #: Whether it is one file of a repository.
    is_part: bool = False

    @property
    def file(self) -> Wanted:
        """What is asked of the cache."""
        return Wanted(self.url, self.auth, self.sha256, self.location)


@dataclass(frozen=True)
class Cached:
    """A file that is there, and stays while its holder needs it."""

    name: str
    path: Path
    size: int
    device: int
    inode: int
