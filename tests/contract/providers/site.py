"""A small server in Civitai's shape: links that lead to signed URLs on another host."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.listening import listening


@dataclass
class Site:
    """What the server holds, and what it was asked."""

    token: str
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    #: Whether it gives files to whoever asks.
    is_open: bool = False
    #: What the API answers instead.
    api: web.Response | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, version: str) -> str:
        return f"http://{self.host}/api/download/models/{version}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        folder, _, version = request.path.rpartition("/")
        if folder == "/signed":
            return self._sent(request, self.files[version])
        given = (request.headers.get("Authorization"), request.query.get("token"))
        if not self.is_open and given not in [(f"Bearer {self.token}", None), (None, self.token)]:
            return web.json_response({"error": "Unauthorized"}, status=401)
        if version not in self.files:
            return web.json_response({"error": "No file found"}, status=404)
        if folder == "/api/v1/model-versions":
            return self.api or web.json_response(_told(self.files[version]))
        target = f"http://localhost:{self.port}/signed/{version}?X-Amz-Signature=s"
        return web.Response(status=307, headers={"Location": target})

    def _sent(self, request: web.Request, body: bytes) -> web.Response:
        headers = {
            "ETag": f'"{hashlib.md5(body).hexdigest()}"',
            "Content-Disposition": 'attachment; filename="detail.safetensors"',
            "Accept-Ranges": "bytes",
        }
        is_same = request.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
        if "Range" not in request.headers or not is_same:
            # Named: of an empty file a HEAD would not tell it.
            return web.Response(body=body, headers={**headers, "Content-Length": str(len(body))})
        start, stop, _ = request.http_range.indices(len(body))
        if start >= stop:
            return web.Response(status=416)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return web.Response(status=206, body=body[start:stop], headers=headers)


def _told(body: bytes) -> object:
    sha256 = hashlib.sha256(body).hexdigest().upper()
    return {"files": [{"primary": True, "hashes": {"SHA256": sha256}}]}


@contextlib.asynccontextmanager
async def serving(token: str) -> AsyncIterator[Site]:
    """Serve on a free port, as 127.0.0.1 and, for what is signed, as localhost."""
    site = Site(token)
    async with listening(web.route("*", "/{rest:.*}", site.handle)) as url:
        site.port = int(url.rpartition(":")[2])
        yield site
