"""Where a custom node comes from, as the manifest writes it; pure.

A git URL is understood in every form that GitHub, GitLab and Bitbucket show in the address bar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

#: Schemes that git may fetch from; `file` only below the operator's ALLOWED_FILE_ROOTS.
SCHEMES = ("https", "http", "ssh", "git")

_TREES = r"tree|commits?|tags|blob"
#: `/-/` separates GitLab's project, in groups of any depth, from what is shown of it.
_GITLAB = re.compile(rf"(?P<repo>[^@]+?)/-/(?:{_TREES})/(?P<ref>.+)")
_BROWSED = re.compile(
    r"(?P<repo>[^/@]+/[^/@]+)/"
    rf"(?:{_TREES}|releases/tag|releases/tags|src/branch|src/tag|src/commit|src|branch)/(?P<ref>.+)"
)
_BITBUCKET = re.compile(r"/commits/(branch|tag)/")
_DOT_GIT = re.compile(r"(?P<repo>[^@]*?\.git)(?:/(?P<rest>.+)|@(?P<ref>.+))?")
_AT = re.compile(r"(?P<repo>[^@]+)@(?P<ref>.+)")
_SCP = re.compile(r"(?P<host>[A-Za-z0-9._-]+@[A-Za-z0-9.-]+):(?P<path>[^/].*)")

#: There a repository is always owner/name; what follows shows some part of it.
_OWNER_AND_NAME = ("github.com", "bitbucket.org", "codeberg.org")

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REGISTRY = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})(@(?P<version>[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}))?"
)
_UNFIT_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class GitNode:
    """A custom node out of a git repository."""

    #: What git clones; user and password of an http URL are apart.
    url: str
    #: Branch, tag or commit; None: the default branch as it is when first installed.
    ref: str | None = None
    #: `user:password` of an http URL.
    credentials: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name of the node's folder: that of the repository."""
        return _repository_name(self.url)

    @property
    def shown(self) -> str:
        """How logs and the lock file name it; no secrets."""
        return f"{self.url}@{self.ref}" if self.ref else self.url


@dataclass(frozen=True, kw_only=True)
class RegistryNode:
    """A custom node out of ComfyUI's registry."""

    name: str
    version: str | None = None

    @property
    def shown(self) -> str:
        """How logs and the lock file name it."""
        return f"{self.name}@{self.version}" if self.version else self.name


def parse(text: str, file_roots: Sequence[str] = ()) -> GitNode | RegistryNode:
    """Return where a node comes from; raises ValueError with a sentence for the operator."""
    text = text.strip()
    if not text or _CONTROL.search(text):
        raise ValueError("a custom node is a registry name or a git URL")
    if text.startswith("-"):
        raise ValueError("this is an option, not a custom node")
    if "://" in text:
        return _from_url(text, file_roots)
    if "::" in text:
        raise ValueError("git's remote helpers (ext:: and the like) are not allowed")
    if found := _SCP.fullmatch(text):
        return _from_scp(found["host"], found["path"])
    return _from_registry(text)


def same_repository(one: str, other: str) -> bool:
    """Whether two clone URLs name one repository, in whatever form."""
    return _identity(one) == _identity(other)


def _from_registry(text: str) -> RegistryNode:
    if found := _REGISTRY.fullmatch(text):
        return RegistryNode(name=found["name"], version=found["version"])
    if re.fullmatch(r"[\w.-]+\.\w+/[\w.-]+/[\w./@-]+", text):
        raise ValueError(f"write it with its scheme: https://{text}")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", text):
        raise ValueError(f"write the whole URL, for instance https://github.com/{text}")
    raise ValueError("a custom node is a registry name (name or name@version) or a git URL")


def _from_scp(host: str, path: str) -> GitNode:
    if host.startswith("-") or path.startswith("-"):
        raise ValueError("this is an option, not a git URL")
    path, ref = _split(path.partition("#")[0].strip("/"))
    return _checked(f"{host}:{path}", ref)


def _from_url(text: str, file_roots: Sequence[str]) -> GitNode:
    parts = _parts(text.removeprefix("git+"))
    if parts.scheme == "file":
        return _from_file(parts, file_roots)
    user, at, host = parts.netloc.rpartition("@")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not the name of a host")
    if len(parts.path) < 2:
        raise ValueError("the URL names no repository")
    path = parts.path.strip("/")
    if host.lower() == "bitbucket.org":
        path = _BITBUCKET.sub("/commits/", path)
    path, ref = _split(path)
    _check_depth(host, path)
    if parts.scheme in ("http", "https"):
        url = f"{parts.scheme}://{host.lower()}/{path}"
        return _checked(url, ref, credentials=unquote(user) if at else None)
    # A password means nothing to ssh, and would be shown.
    user = user.partition(":")[0]
    if user and not _USER.fullmatch(user):
        raise ValueError("the user of the URL is not a name")
    return _checked(f"{parts.scheme}://{user}{at}{host}/{path}", ref)


def _parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("this is not a URL") from None
    if parts.scheme not in (*SCHEMES, "file"):
        raise ValueError(f"git does not fetch from {parts.scheme}:// here; use https or ssh")
    return parts


def _from_file(parts: SplitResult, file_roots: Sequence[str]) -> GitNode:
    path, ref = _split(unquote(parts.path).rstrip("/"))
    pure = PurePosixPath(path)
    allowed = any(pure.is_relative_to(PurePosixPath(root)) for root in file_roots)
    if parts.netloc or ".." in pure.parts or not allowed:
        raise ValueError("file:// is only allowed below the folders of ALLOWED_FILE_ROOTS")
    return _checked(f"file://{path}", ref)


def _split(path: str) -> tuple[str, str | None]:
    """Return a URL's path as (repository, ref); where a ref ends cannot be told, so it is all."""
    if found := _DOT_GIT.fullmatch(path):
        # "x.git/tree/main": what follows reads as it does without the ending.
        rest = f"o/r/{found['rest']}" if found["rest"] else ""
        ref = found["ref"] or (_split(rest)[1] if rest else None)
        if rest and ref is None:
            raise ValueError("this is a page of the repository; write repo@REF")
        return found["repo"], ref
    for form in (_GITLAB, _BROWSED, _AT):
        if found := form.fullmatch(path):
            return found["repo"], unquote(found["ref"]).strip("/")
    return path, None


def _check_depth(host: str, path: str) -> None:
    name = host.lower().removeprefix("www.")
    if name in _OWNER_AND_NAME and len(path.split("/")) != 2:
        raise ValueError(
            f"on {host} a repository is https://{host}/OWNER/NAME; for a branch, a tag or a "
            f"commit write https://{host}/OWNER/NAME@REF"
        )


def _checked(url: str, ref: str | None, credentials: str | None = None) -> GitNode:
    if not _FOLDER.fullmatch(_repository_name(url)) or "/../" in url:
        raise ValueError("the name of the repository cannot be the name of a folder")
    if re.search(r"\s", url):
        raise ValueError("the URL has a blank in it")
    if ref is not None and (not ref or ref.startswith(("-", ".")) or _UNFIT_IN_REF.search(ref)):
        raise ValueError(f"{ref!r} cannot be a branch, a tag or a commit")
    return GitNode(url=url, ref=ref, credentials=credentials)


def _repository_name(url: str) -> str:
    return re.split(r"[/:]", url.removesuffix(".git"))[-1]


def _identity(url: str) -> str:
    url = url.strip().removeprefix("git+")
    if found := _SCP.fullmatch(url):
        url = f"ssh://{found['host']}/{found['path']}"
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{host}/{parts.path.strip('/').removesuffix('.git')}".lower()
