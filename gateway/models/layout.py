"""Where things lie in CACHE_DIR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What the name of a file ends in that may be about to go.
ASIDE = ".aside"


@dataclass(frozen=True)
class Layout:
    """A cache folder: models lie in it flat, and what is only ours in folders of its own."""

    cache: Path

    @property
    def partial(self) -> Path:
        """What is on its way: parts, their journals, claims."""
        return self.cache / ".partial"

    @property
    def records(self) -> Path:
        """What is known of each file."""
        return self.cache / ".records"

    @property
    def pins(self) -> Path:
        """What each process that shares the folder has in use."""
        return self.cache / ".pins"

    def aside(self, name: str) -> Path:
        """Return where a file waits that goes unless another process needs it after all."""
        return self.partial / f"{name}{ASIDE}"

    def part(self, stem: str) -> Path:
        """Return where a file grows."""
        return self.partial / f"{stem}.part"
