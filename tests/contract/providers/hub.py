"""A small server in the shape of Hugging Face: metadata, redirects to another host, commits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.listening import listening

#: Larger files are kept by their hash and sent by the other host, as the hub does.
LFS_FROM = 1024
_MAIN = "main"


@dataclass
class Repository:
    """One repository; every commit is a whole tree."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])
    names: dict[str, int] = field(default_factory=dict)
    is_private: bool = False
    is_gated: bool = False

    def commit(self, files: dict[str, bytes]) -> None:
        self.commits.append({**self.commits[-1], **files})

    def name_of(self, index: int) -> str:
        return hashlib.sha1(f"{id(self)}-{index}".encode()).hexdigest()

    def index_of(self, revision: str) -> int | None:
        if revision == _MAIN:
            return len(self.commits) - 1
        named = {self.name_of(index): index for index in range(len(self.commits))} | self.names
        return named.get(revision)


@dataclass(frozen=True)
class Asked:
    method: str
    host: str
    path: str
    headers: dict[str, str]


def _refusal(status: int, code: str, message: str = "") -> web.Response:
    return web.Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": message})


def _ranged(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    headers = {**headers, "Accept-Ranges": "bytes"}
    found = request.http_range
    if request.method == "HEAD" or (found.start is None and found.stop is None):
        # Named: of an empty file a HEAD would not tell it.
        return web.Response(body=body, headers={**headers, "Content-Length": str(len(body))})
    start, stop, _ = found.indices(len(body))
    if start >= stop:
        return web.Response(status=416)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:stop], headers=headers)


@dataclass
class Hub:
    """What the server holds, and what it was asked."""

    token: str
    port: int = 0
    repositories: dict[str, Repository] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    #: Paths that say that they are kept in Xet storage, which this server has not.
    xet: set[str] = field(default_factory=set)
    #: Statuses that the next requests of a path's kind get: resolve, preupload, commit, cdn.
    faults: dict[str, list[int]] = field(default_factory=dict)
    #: What requests of such paths wait for.
    held: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def repository(self, name: str, files: dict[str, bytes] | None = None) -> Repository:
        found = self.repositories.setdefault(name, Repository())
        if files:
            found.commit(files)
        return found

    def sent_to(self, host: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.host == host]

    async def handle(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - one for each route
        path = request.rel_url.raw_path
        host = request.host.partition(":")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, host, request.raw_path, headers))
        for held, released in self.held.items():
            if f"/{held}/" in path:
                await released.wait()
        kind = next((kind for kind in self.faults if f"/{kind}/" in path), None)
        if kind is not None and self.faults[kind]:
            return web.Response(status=self.faults[kind].pop(0))
        if path.startswith("/cdn/"):
            return _ranged(request, self.contents[path[5:]], {"ETag": f'"cdn-{path[5:13]}"'})
        if path.startswith("/lfs/"):
            return await self._stored(request, path)
        bearer = headers.get("authorization")
        if bearer not in (None, f"Bearer {self.token}"):
            return _refusal(401, "", "Invalid credentials in Authorization header")
        if path.endswith("/info/lfs/objects/batch"):
            return await self._batch(request)
        if path.startswith("/api/"):
            return await self._api(request, path[5:], is_known=bearer is not None)
        return self._resolve(request, path[1:], is_known=bearer is not None)

    def _refused(self, name: str, is_known: bool) -> web.Response | None:
        repository = self.repositories.get(name)
        if repository is None or (repository.is_private and not is_known):
            if not is_known:
                return _refusal(401, "RepoNotFound", "Invalid username or password.")
            return _refusal(404, "RepoNotFound", "Repository not found")
        if repository.is_gated:
            return _refusal(403 if is_known else 401, "GatedRepo", "Access to it is restricted.")
        return None

    def _resolve(self, request: web.Request, path: str, *, is_known: bool) -> web.Response:
        name, _, rest = path.partition("/resolve/")
        refused = self._refused(name, is_known)
        if refused is not None:
            return refused
        repository = self.repositories[name]
        revision, _, filename = rest.partition("/")
        index = repository.index_of(unquote(revision))
        if index is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        body = repository.commits[index].get(unquote(filename))
        if body is None:
            return _refusal(404, "EntryNotFound", "Entry not found")
        return self._sent(request, unquote(filename), body, repository.name_of(index))

    def _sent(self, request: web.Request, filename: str, body: bytes, commit: str) -> web.Response:
        headers = {"X-Repo-Commit": commit}
        if len(body) < LFS_FROM:
            blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            return _ranged(request, body, {**headers, "ETag": f'"{blob}"'})
        sha256 = hashlib.sha256(body).hexdigest()
        self.contents[sha256] = body
        headers |= {"X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{sha256}"'}
        if filename in self.xet:
            route = f"{self.endpoint}/api/models/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": sha256, "X-Xet-Refresh-Route": route}
        headers["Location"] = f"http://localhost:{self.port}/cdn/{sha256}?Signature=signed"
        return web.Response(status=302, headers=headers)

    async def _api(  # noqa: PLR0911 - one for each answer
        self, request: web.Request, path: str, *, is_known: bool
    ) -> web.Response:
        kind, _, rest = path.partition("/")
        for what in ("preupload", "commit", "tree", "revision"):
            name, mark, revision = rest.partition(f"/{what}/")
            if mark:
                break
        else:
            return web.Response(status=404)
        key = name if kind == "models" else f"{kind}/{name}"
        refused = self._refused(key, is_known)
        if refused is not None:
            return refused
        repository = self.repositories[key]
        index = repository.index_of(unquote(revision))
        if index is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        if what == "tree":
            return web.json_response(_tree(repository.commits[index]))
        if what == "revision":
            return web.json_response({"id": name, "sha": repository.name_of(index), "tags": []})
        if not is_known:
            return _refusal(401, "", "Invalid username or password.")
        if what == "preupload":
            return web.json_response({"files": _modes(await request.json())})
        repository.commit(self._files(await request.text()))
        oid = repository.name_of(len(repository.commits) - 1)
        return web.json_response({"commitUrl": f"{self.endpoint}/{key}", "commitOid": oid})

    def _files(self, text: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for line in text.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                found[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                found[value["path"]] = self.contents[value["oid"]]
        return found

    async def _batch(self, request: web.Request) -> web.Response:
        question = await request.json()
        objects = [
            {**wanted, "actions": {"upload": {"href": self._upload_url(wanted["oid"])}}}
            for wanted in question["objects"]
        ]
        return web.json_response({"transfer": "basic", "objects": objects})

    def _upload_url(self, oid: str) -> str:
        return f"http://localhost:{self.port}/lfs/{oid}?Signature=signed"

    async def _stored(self, request: web.Request, path: str) -> web.Response:
        body = await request.read()
        oid = path.removeprefix("/lfs/")
        if hashlib.sha256(body).hexdigest() != oid:
            return web.Response(status=400)
        self.contents[oid] = body
        return web.Response()


def _modes(question: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["size"] >= LFS_FROM else "regular",
            "shouldIgnore": False,
        }
        for file in question["files"]
    ]


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    folders = {path.rpartition("/")[0] for path in files if "/" in path}
    found: list[dict[str, Any]] = [
        {"type": "directory", "path": path, "oid": "0" * 40} for path in folders
    ]
    for path, body in files.items():
        entry = {"type": "file", "path": path, "size": len(body), "oid": "0" * 40}
        if len(body) >= LFS_FROM:
            sha256 = hashlib.sha256(body).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(body), "pointerSize": 134}
        found.append(entry)
    return found


@contextlib.asynccontextmanager
async def serving(token: str) -> AsyncIterator[Hub]:
    """Serve on a free port, as 127.0.0.1 and, for what lies on another host, as localhost."""
    hub = Hub(token)
    async with listening(web.route("*", "/{rest:.*}", hub.handle)) as url:
        hub.port = int(url.rpartition(":")[2])
        yield hub
