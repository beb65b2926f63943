"""The HTTP application around the engine, and its life from start to signal."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import mimetypes
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.embedded.engine import Engine
from gateway.embedded.files import FileRoutes
from gateway.embedded.options import Options
from gateway.embedded.routes import PromptRoutes

log = logging.getLogger(__name__)

FRONT_PAGE = (
    "<!doctype html><title>Embedded engine</title>"
    "<p>This engine speaks ComfyUI's protocol. It draws, it does not diffuse, and has no pages."
)


def build_app(engine: Engine, max_upload_bytes: int) -> web.Application:
    mimetypes.add_type("application/javascript; charset=utf-8", ".js")
    mimetypes.add_type("image/webp", ".webp")
    app = web.Application(client_max_size=max_upload_bytes, middlewares=[_same_origin])
    routes = [
        web.get("/ws", engine.sockets.handle),
        *PromptRoutes(engine).table(),
        *FileRoutes(engine).table(),
    ]
    app.add_routes(_also_under_api(routes))
    app.add_routes([*routes, web.get("/", _front_page)])
    return app


async def serve(options: Options) -> None:
    """Answer until the process is told to end, or a port cannot be had."""
    engine = Engine(options)
    app = build_app(engine, options.max_upload_bytes)
    # At the end nobody is waited for: ComfyUI drops its clients, too.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    publishing = asyncio.create_task(engine.run())
    await runner.setup()
    try:
        for host in options.listen:
            await web.TCPSite(runner, host, options.port).start()
        for address in runner.addresses:
            host, port = address[:2]
            shown = f"[{host}]" if ":" in host else host
            log.info("To see the GUI go to: http://%s:%d", shown, port)
        await publishing
    finally:
        await runner.cleanup()
        engine.folders.clear_temp()


def _also_under_api(routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    return [web.route(route.method, f"/api{route.path}", route.handler) for route in routes]


async def _front_page(request: web.Request) -> web.Response:
    return web.Response(text=FRONT_PAGE, content_type="text/html")


@web.middleware
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a strange web page sends to this machine through its visitor's browser."""
    if _is_foreign(request.headers.get("Host", ""), request.headers.get("Origin", "")):
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def _is_foreign(host: str, origin: str) -> bool:
    ours, theirs = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if not ours.hostname or not theirs.hostname or not _is_loopback(ours.hostname):
        return False
    if ours.port is None or theirs.port is None:
        return ours.hostname != theirs.hostname
    return ours.netloc != theirs.netloc


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
