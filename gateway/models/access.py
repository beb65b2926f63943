"""Whose credentials open which cached file."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Literal

import cachetools

from gateway import errors
from gateway.models import names
from gateway.models.record import Record
from gateway.models.verify import PAGES
from gateway.models.wanted import Wanted
from gateway.storage import address
from gateway.storage.failures import GIVEN_TOKEN, TransferFailed
from gateway.storage.flights import Flights
from gateway.storage.provider import Stat
from gateway.storage.providers import Providers

_VERDICTS = 4096

#: Kinds of content that no page to log in on has, nor a message that one should.
_NO_PAGES = ("application/octet-stream", "binary/octet-stream", "application/zip")

#: Who may answer a refusal with such a page.
_WITH_PAGES = ("http", "civitai")

Key = tuple[str, str]
#: What a source said: "other" is yes, but to something of another size.
Verdict = Literal["accepted", "refused", "other"]


class Access:
    """Asks a source whether it accepts a caller's credentials, and remembers the answer a while.

    Of credentials only digests are kept, under a key of this process.
    """

    def __init__(self, providers: Providers, recheck_s: float) -> None:
        self._providers = providers
        self._key = os.urandom(32)
        self._verdicts: cachetools.TTLCache[Key, Verdict] = cachetools.TTLCache(
            _VERDICTS, recheck_s, timer=time.monotonic
        )
        self._asking: Flights[Stat | None] = Flights()

    async def close(self) -> None:
        """Ask no more."""
        await self._asking.close()

    def digest(self, wanted: Wanted) -> str:
        """Return what stands for a request's credentials."""
        secret = wanted.secret
        if secret is None:
            return ""
        return hashlib.blake2b(secret.encode(), digest_size=16, key=self._key).hexdigest()

    def is_accepted(self, stem: str, wanted: Wanted) -> bool:
        """Whether the source said yes to these credentials lately."""
        return self._verdicts.get((stem, self.digest(wanted))) == "accepted"

    def note_accepted(self, stem: str, wanted: Wanted) -> None:
        """Remember that the source said yes just now."""
        self._verdicts[stem, self.digest(wanted)] = "accepted"

    async def check(self, stem: str, wanted: Wanted, known: Record) -> None:
        """Ask the source for a file that is known, unless it has answered lately.

        A host may well say yes, and mean the page on which one logs in: that has another size. A
        file that has changed has another size, too, and is of the same kind as it was.

        Raises CredentialsRefused, and ModelNotFetched when it cannot be asked.
        """
        key = (stem, self.digest(wanted))
        verdict = self._verdicts.get(key)
        if verdict is None:
            found = await self.ask(stem, wanted)
            is_it = found.size in (None, known.size) or self._is_changed(found, wanted, known)
            verdict = self._verdicts[key] = "accepted" if is_it else "other"
        if verdict == "refused":
            raise _refused(wanted)
        if verdict == "other":
            raise _other(wanted)

    def _is_changed(self, found: Stat, wanted: Wanted, known: Record) -> bool:
        """Whether an answer is the file itself, only that it is not what it was."""
        if None in (found.version, known.version) or found.version == known.version:
            return False
        if self._providers.of(wanted.url).name not in _WITH_PAGES:
            return True
        kind, was = _kind(found.content_type), _kind(known.content_type)
        return kind == was and kind.startswith(_NO_PAGES)

    async def ask(self, stem: str, wanted: Wanted) -> Stat:
        """Return what the source says of the file to these credentials; raises as `check`."""
        key = (stem, self.digest(wanted))
        try:
            found = await self._asking.join(key, lambda: self._asked(key, wanted))
        except TransferFailed as failure:
            shown = address.shown(wanted.url)
            raise failure.told(shown, wanted.location, errors.ModelNotFetched) from failure
        if found is None:
            raise _refused(wanted)
        return found

    async def _asked(self, key: Key, wanted: Wanted) -> Stat | None:
        """Return None when the source refuses access. Raises TransferFailed."""
        found: Stat | None
        try:
            found = await self._providers.of(wanted.url).stat(wanted.url, wanted.auth)
        except TransferFailed as failure:
            if not failure.verdict.is_refused:
                raise
            found = None
        if found is None or _is_login(wanted, found):
            self._verdicts[key] = "refused"
            return None
        return found


def _refused(wanted: Wanted) -> errors.CredentialsRefused:
    url = address.shown(wanted.url)
    given = "without credentials" if wanted.secret is None else "with these credentials"
    return errors.CredentialsRefused(
        f"{url} needs credentials, and its source refuses access {given}.",
        hint=f"Give credentials that its source accepts: {GIVEN_TOKEN}.",
        location=wanted.location,
        url=url,
    )


def _other(wanted: Wanted) -> errors.CredentialsRefused:
    url = address.shown(wanted.url)
    return errors.CredentialsRefused(
        f"{url} needs credentials, and with those given its source answers with another file.",
        hint="It may be a page to log in on. If the file has changed at its source, "
        "DELETE /cache/{name} first; GET /cache tells the name.",
        location=wanted.location,
        url=url,
    )


def _is_login(wanted: Wanted, found: Stat) -> bool:
    """Whether a source answers with a page where no page is wanted."""
    is_page_wanted = names.extension(wanted.url, found.filename, None) in PAGES
    is_page = _kind(found.content_type) == "text/html"
    return is_page and (found.size is None or not is_page_wanted)


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
