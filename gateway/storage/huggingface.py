"""Hugging Face: metadata and uploads by huggingface_hub, bytes by the gateway's own client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from cachetools import LRUCache

from gateway import errors
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth
from gateway.storage import hf_address, hf_errors, hf_whole
from gateway.storage.failures import MISMATCH, TransferFailed, Verdict
from gateway.storage.hf_address import File, Repo
from gateway.storage.hf_files import RepoFile, needed
from gateway.storage.hf_library import library
from gateway.storage.hf_upload import Upload
from gateway.storage.http import HttpProvider
from gateway.storage.provider import WHOLE, Described, ProviderName, Reply, Span, Stat

Result = TypeVar("Result")

_THREADS = 16  # of its own: a slow answer must not hold up the threads that write files
_REMEMBERED = 256
_PATIENCE_S = 60.0
_SHA256_LENGTH = 64


@dataclass(frozen=True)
class _Known:
    """What the metadata of a file says; it holds for the commit for ever."""

    commit: str
    stat: Stat
    is_xet: bool


class HuggingFaceProvider:
    """Files of models and datasets on Hugging Face, or on the mirror that HF_ENDPOINT names."""

    name: ClassVar[ProviderName] = "huggingface"

    def __init__(self, http: HttpProvider, token: str | None, endpoint: str | None) -> None:
        """`token` is the environment's; a request's own wins over it."""
        self._http = http
        self._token = token
        self._endpoint = hf_address.endpoint_of(endpoint)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="huggingface")
        self._is_used = False
        # The token is part of the key: what one may see says nothing of another.
        self._known: LRUCache[tuple[File, str | None], _Known] = LRUCache(_REMEMBERED)
        self._turns: WeakValueDictionary[Repo, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._is_used:
            await asyncio.to_thread(library().close_session)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def matches(self, url: str) -> bool:
        """Whether an http(s) URL is a file of Hugging Face or of its mirror."""
        return hf_address.matches(url, self._endpoint)

    def is_repo(self, url: str) -> bool:
        """Whether a URL is a whole repository."""
        return hf_address.is_repo(url, self._endpoint)

    def check(self, url: str, location: str | None = None) -> None:
        """Raise InvalidInput when the URL names no file."""
        hf_address.file_of(url, self._endpoint, location)

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what an upload lacks, as a sentence; None when it has all it needs."""
        if self._token_of(auth) is None:
            return f"There is no token for Hugging Face. {hf_errors.SIGN_IN}"
        return None

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what Hugging Face says of a file; raises TransferFailed, InvalidInput."""
        file = hf_address.file_of(url, self._endpoint)
        return (await self._asked(file, self._token_of(auth))).stat

    @contextlib.asynccontextmanager
    async def read(self, url: str, auth: Auth | None, span: Span = WHOLE) -> AsyncIterator[Reply]:
        """Ask for a part of a file, of one commit; raises TransferFailed, InvalidInput."""
        file, token = hf_address.file_of(url, self._endpoint), self._token_of(auth)
        known = self._known.get((file, token))
        if known is None or known.stat.version != span.version:
            known = await self._asked(file, token)
        if span.version not in (None, known.stat.version):
            raise TransferFailed(MISMATCH)
        # The version is left out: it is the hub's name of the content, and the bytes come from
        # another host with names of its own. The commit in the URL holds the parts together.
        target = file.resolved(self._endpoint, known.commit)
        async with self._http.read(target, _bearer(token), Span(span.start, span.end)) as reply:
            yield Described(reply, known.stat)

    async def fetch_whole(
        self,
        url: str,
        auth: Auth | None,
        path: Path,
        reserve: Callable[[int], Awaitable[None]],
        tell: Callable[[int], None],
    ) -> Stat | None:
        """Fetch a large file of Xet storage into `path` by hf_xet, and return what is known of it.

        None: it is not of Xet, too small to be worth it, or hf_xet failed: use `read`. hf_xet runs
        in a process of its own. It has not been tried against Hugging Face's own Xet storage by
        the tests, which have none; whatever it brings is to be verified like any other file.
        Raises TransferFailed, InvalidInput, and what `reserve` raises.
        """
        file, token = hf_address.file_of(url, self._endpoint), self._token_of(auth)
        known = await self._asked(file, token)
        size = known.stat.size or 0
        if not known.is_xet or size < hf_whole.WORTH_BYTES or not hf_whole.is_available():
            return None
        await reserve(size)
        order = hf_whole.Order(self._endpoint, file, known.commit, token, size)
        return known.stat if await hf_whole.fetched(order, path, tell) else None

    async def list_repo(self, url: str, auth: Auth | None) -> list[RepoFile]:
        """Return the files of a repository that diffusers' loaders read.

        Raises TransferFailed, InvalidInput.
        """
        repo, token = hf_address.repo_of(url, self._endpoint), self._token_of(auth)
        return await self._in_thread(functools.partial(self._listed, repo, token), token)

    def _listed(self, repo: Repo, token: str | None) -> list[RepoFile]:
        api = library().HfApi(endpoint=self._endpoint, token=token or False)
        tree = api.list_repo_tree(
            repo.name, recursive=True, revision=repo.revision, repo_type=repo.kind
        )
        return needed(_shown(repo, entry) for entry in tree if hasattr(entry, "size"))

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Commit a file; `content_type` is unused, since the hub goes by the name.

        Contents travel in parallel; commits to one branch wait for each other, and one that has
        begun is waited for when it is cancelled, so that none overtakes a later one.
        Raises TransferFailed, InvalidInput, OSError of the disk.
        """
        file, token = hf_address.file_of(url, self._endpoint), self._token_of(auth)
        if token is None:
            raise TransferFailed(Verdict("there is no token", "url", hint=hf_errors.SIGN_IN))
        upload = Upload(self._endpoint, token, file, source)
        try:
            await self._in_thread(upload.send, token, timeout_s=None)
            async with self._turns.setdefault(file.repo, asyncio.Lock()):
                await self._to_its_end(upload, token)
        finally:
            upload.stop()

    async def _to_its_end(self, upload: Upload, token: str) -> None:
        committed = asyncio.ensure_future(self._in_thread(upload.commit, token, timeout_s=None))
        try:
            await asyncio.shield(committed)
        except asyncio.CancelledError:
            upload.stop()
            await asyncio.gather(committed, return_exceptions=True)
            raise

    async def _asked(self, file: File, token: str | None) -> _Known:
        known = await self._in_thread(functools.partial(self._metadata, file, token), token)
        self._known[file, token] = known
        return known

    def _metadata(self, file: File, token: str | None) -> _Known:
        found = library().get_hf_file_metadata(
            file.resolved(self._endpoint), token=token or False, endpoint=self._endpoint
        )
        if not found.commit_hash or not found.etag:
            raise TransferFailed(hf_errors.NOT_A_HUB)
        stat = Stat(
            size=found.size,
            version=found.etag,
            filename=file.filename,
            sha256=found.etag if len(found.etag) == _SHA256_LENGTH else None,
            is_ranged=found.size is not None,
        )
        return _Known(found.commit_hash, stat, found.xet_file_data is not None)

    async def _in_thread(
        self,
        work: Callable[[], Result],
        token: str | None,
        *,
        timeout_s: float | None = _PATIENCE_S,
    ) -> Result:
        self._is_used = True
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                return await loop.run_in_executor(self._threads, _told, work, token)
        except TimeoutError:
            raise TransferFailed(hf_errors.SILENT) from None

    def _token_of(self, auth: Auth | None) -> str | None:
        match auth:
            case None:
                return self._token
            case BearerAuth():
                return auth.token
            case BasicAuth():
                return auth.password
            case HeaderAuth() if auth.header_value.lower().startswith("bearer "):
                return auth.header_value[7:].strip()
        raise errors.InvalidInput(
            f"Credentials of type {auth.type} do not fit Hugging Face.",
            hint="Use bearer, with a token made at https://huggingface.co/settings/tokens.",
        )


def _told(work: Callable[[], Result], token: str | None) -> Result:
    try:
        return work()
    except tuple(hf_errors.verdicts()) as failure:
        raise hf_errors.translated(failure, has_token=token is not None) from None


def _shown(repo: Repo, entry: Any) -> RepoFile:
    sha256 = entry.lfs.sha256 if entry.lfs else None
    return RepoFile(entry.path, entry.size, sha256, File(repo, entry.path).url)


def _bearer(token: str | None) -> BearerAuth | None:
    return BearerAuth(type="bearer", token=token) if token else None
