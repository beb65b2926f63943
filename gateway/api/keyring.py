"""API keys: named, hashed, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from gateway import errors

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Keyring:
    """The keys that open the gateway; open to all when there is none."""

    def __init__(self, digests: dict[str, bytes]) -> None:
        """`digests`: name -> SHA-256 of the key; no key itself is kept."""
        self._digests = digests

    @classmethod
    def load(cls, entries: Iterable[str], path: Path | None) -> Keyring:
        """Read API_KEYS (`name:key`) and API_KEYS_FILE (`name:sha256 of the key`, a line each)."""
        digests = {}
        for entry in entries:
            name, _, key = entry.partition(":")
            digests[name] = hashlib.sha256(key.encode()).digest()
        for number, line in enumerate(path.read_text().splitlines() if path else [], 1):
            text = line.partition("#")[0].strip()
            if text:
                name, _, digest = text.partition(":")
                if not name or not _DIGEST.fullmatch(digest.strip().lower()):
                    raise errors.SettingsInvalid(
                        f"API_KEYS_FILE, line {number}: write name:<64 hex digits of sha256>"
                    )
                digests[name] = bytes.fromhex(digest.strip())
        if path and not digests:
            # Whoever names a file wants keys: without one the gateway would be open to all.
            raise errors.SettingsInvalid("API_KEYS_FILE: there is no key in it")
        return cls(digests)

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return not self._digests

    def owner_of(self, key: str) -> str | None:
        """Return the name of the key, or None; takes as long for any wrong key."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found
