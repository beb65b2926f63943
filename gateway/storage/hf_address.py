"""What a Hugging Face URL names: a file of a repository at a revision, or a whole repository.

hf://org/repo/path                 hf://datasets/org/repo@revision/path
https://huggingface.co/org/repo/resolve/revision/path        (and /blob/, as pages show it)
hf://org/repo@revision             https://huggingface.co/org/repo/tree/revision
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit

from gateway import errors
from gateway.storage import address

HOME = "https://huggingface.co"
MAIN = "main"
RepoKind = Literal["model", "dataset"]

_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_KINDS: dict[str, RepoKind] = {"models": "model", "datasets": "dataset"}
_MARKS = ("resolve", "blob")
#: Pages of two segments that are no repository.
_PAGES = frozenset(
    (
        *("api", "blog", "buckets", "chat", "collections", "docs", "join", "kernels", "learn"),
        *("login", "models", "organizations", "papers", "posts", "settings", "spaces", "tasks"),
    )
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PART = re.compile(r"(?!.*(?:\.\.|--))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_HINT = (
    "Write hf://org/repo/path, hf://org/repo@revision/path, hf://datasets/org/repo/path, "
    "or the file's https URL with /resolve/ in it."
)


@dataclass(frozen=True)
class Repo:
    """A repository at a branch, a tag or a commit."""

    kind: RepoKind
    name: str
    revision: str = MAIN

    @property
    def url(self) -> str:
        """The repository as hf:// names it."""
        prefix = "datasets/" if self.kind == "dataset" else ""
        revision = "" if self.revision == MAIN else f"@{quote(self.revision, safe='')}"
        return f"hf://{prefix}{self.name}{revision}"


@dataclass(frozen=True)
class File:
    """A file of a repository; `path` is not escaped."""

    repo: Repo
    path: str

    @property
    def url(self) -> str:
        """The file as hf:// names it; https where the repository has no organisation."""
        if "/" not in self.repo.name:
            return self.resolved(HOME)
        return f"{self.repo.url}/{quote(self.path)}"

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def resolved(self, endpoint: str, commit: str | None = None) -> str:
        """Return where its bytes are, of that commit rather than of the revision."""
        prefix = "datasets/" if self.repo.kind == "dataset" else ""
        revision = quote(commit or self.repo.revision, safe="")
        return f"{endpoint}/{prefix}{self.repo.name}/resolve/{revision}/{quote(self.path)}"


def endpoint_of(setting: str | None) -> str:
    """Return where Hugging Face is: itself, or the mirror that HF_ENDPOINT names."""
    return (setting or HOME).rstrip("/")


def matches(url: str, endpoint: str | None = None) -> bool:
    """Whether an http(s) URL is a file of Hugging Face or of its mirror."""
    return not _is_hf(url) and _file(url, endpoint) is not None


def is_repo(url: str, endpoint: str | None = None) -> bool:
    """Whether a URL is a whole repository."""
    return _repo(url, endpoint) is not None


def file_of(url: str, endpoint: str | None = None, location: str | None = None) -> File:
    """Return the file that a URL names; raises InvalidInput."""
    found = _file(url, endpoint)
    if found is None:
        raise _refused(url, "file", _HINT, location)
    return found


def repo_of(url: str, endpoint: str | None = None, location: str | None = None) -> Repo:
    """Return the repository that a URL names; raises InvalidInput."""
    found = _repo(url, endpoint)
    if found is None:
        raise _refused(
            url, "repository", "Write hf://org/repo or hf://org/repo@revision.", location
        )
    return found


def _refused(url: str, what: str, hint: str, location: str | None) -> errors.InvalidInput:
    return errors.InvalidInput(
        f"{address.shown(url)} names no {what} of Hugging Face.", hint=hint, location=location
    )


def _is_hf(url: str) -> bool:
    return url[:5].lower() == "hf://"


def _file(url: str, endpoint: str | None) -> File | None:
    parts = _parts(url, endpoint)
    if parts is None:
        return None
    found = _hf_split(parts) if _is_hf(url) else _https_split(parts, _MARKS)
    if found is None:
        return None
    repo, path = found
    # Split again: an escaped slash must not hide a step upwards.
    segments = unquote("/".join(path)).split("/")
    is_odd = any(part in ("", ".", "..") or _CONTROL.search(part) for part in segments)
    return None if is_odd else File(repo, "/".join(segments))


def _repo(url: str, endpoint: str | None) -> Repo | None:
    parts = _parts(url, endpoint)
    if parts is None:
        return None
    parts = parts[:-1] if parts[-1] == "" else parts
    found = (_hf_split if _is_hf(url) else _tree_or_bare)(parts)
    return found[0] if found and not found[1] else None


def _parts(url: str, endpoint: str | None) -> list[str] | None:
    """Return the escaped segments of the path; None when the URL is another's."""
    if len(url) > address.URL_LENGTH or _CONTROL.search(url):
        return None
    if _is_hf(url):
        return url[5:].partition("?")[0].split("/")
    try:
        split = urlsplit(url)
        path = _path_at(split, endpoint)
    except ValueError:
        return None
    return None if path is None else path.removeprefix("/").split("/")


def _path_at(split: SplitResult, endpoint: str | None) -> str | None:
    if split.scheme.lower() not in ("http", "https"):
        return None
    host, port = (split.hostname or "").rstrip("."), split.port
    if host in _HOSTS and port in (None, 80, 443):
        return split.path
    if endpoint is None:
        return None
    mirror = urlsplit(endpoint_of(endpoint))
    is_there = (host, port) == (mirror.hostname, mirror.port) and split.path.startswith(
        f"{mirror.path}/"
    )
    return split.path.removeprefix(mirror.path) if is_there else None


def _hf_split(parts: list[str]) -> tuple[Repo, list[str]] | None:
    kind, parts = _kind(parts)
    if len(parts) < 2:
        return None
    name, at, revision = unquote(parts[1]).partition("@")
    path = parts[2:]
    if at and revision == "refs":
        revision, path = _reference([revision, *path])
    return _found(kind, [parts[0], name], revision if at else MAIN, path)


def _https_split(parts: list[str], marks: tuple[str, ...]) -> tuple[Repo, list[str]] | None:
    kind, parts = _kind(parts) if parts[0] == "datasets" else ("model", parts)
    at = next((index for index in (1, 2) if parts[index : index + 1] in [[m] for m in marks]), None)
    if at is None or len(parts) < at + 2 or parts[0] in _PAGES:
        return None
    revision, path = _reference(parts[at + 1 :])
    return _found(kind, parts[:at], revision, path)


def _tree_or_bare(parts: list[str]) -> tuple[Repo, list[str]] | None:
    return _https_split(parts, ("tree",)) or _bare(parts)


def _bare(parts: list[str]) -> tuple[Repo, list[str]] | None:
    kind, parts = _kind(parts) if parts[0] == "datasets" else ("model", parts)
    if len(parts) != 2 or parts[0] in _PAGES:
        return None
    return _found(kind, parts, MAIN, [])


def _kind(parts: list[str]) -> tuple[RepoKind, list[str]]:
    if parts[0] in _KINDS:
        return _KINDS[parts[0]], parts[1:]
    return "model", parts


def _reference(parts: list[str]) -> tuple[str, list[str]]:
    """Return the revision that the parts begin with: refs/pr/1 is one, escaped or not."""
    length = 3 if parts[0] == "refs" and parts[1:2] in (["pr"], ["convert"]) else 1
    return unquote("/".join(parts[:length])), parts[length:]


def _found(
    kind: RepoKind, name: list[str], revision: str, path: list[str]
) -> tuple[Repo, list[str]] | None:
    is_name = all(_PART.fullmatch(part) and not part.endswith(".git") for part in name)
    is_revision = revision and ".." not in revision and not _CONTROL.search(revision)
    if not is_name or not is_revision or name[0] in ("spaces", "buckets", "kernels"):
        return None
    return Repo(kind, "/".join(name), revision), path
