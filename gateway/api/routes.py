"""Every address of the gateway, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from aiohttp import web

from gateway.api import (
    aliases,
    convert,
    docs,
    events,
    generations,
    jobs,
    loras,
    middleware,
    models,
    named,
    operations,
    prompt,
    reproduce,
    tasks,
    webhooks,
    workflows,
)
from gateway.api.middleware import Handler


@dataclass(frozen=True)
class Route:
    """An address, and who answers; the handler's docstring is its summary in /docs."""

    method: str
    path: str
    handler: Handler


TABLE = (
    Route("POST", "/prompt", prompt.post_prompt),
    Route("POST", "/convert", convert.post_convert),
    Route("GET", "/workflows", workflows.list_workflows),
    Route("GET", "/workflow/{name}", workflows.get_workflow),
    Route("POST", "/workflow/{name}", named.post_workflow),
    Route("POST", "/generate", tasks.post_generate),
    Route("GET", "/tasks/{id}", tasks.get_task),
    Route("POST", "/interrupt", jobs.interrupt),
    Route("GET", "/jobs", jobs.list_jobs),
    Route("GET", "/jobs/{id}", jobs.get_job),
    Route("DELETE", "/jobs/{id}", jobs.delete_job),
    Route("POST", "/jobs/{id}/cancel", jobs.cancel_job),
    Route("POST", "/jobs/{id}/reproduce", reproduce.post_reproduce),
    Route("GET", "/jobs/{id}/events", events.get_events),
    Route("GET", "/jobs/{id}/outputs/{name}", jobs.get_output),
    Route("GET", "/jobs/{id}/outputs/{name}/metadata", jobs.get_output_metadata),
    Route("GET", "/generations", generations.list_generations),
    Route("GET", "/models", models.list_models),
    Route("GET", "/loras", loras.list_loras),
    Route("GET", "/presets", loras.list_presets),
    Route("POST", "/download", models.post_download),
    Route("GET", "/downloads", models.list_downloads),
    Route("GET", "/cache", models.list_cache),
    Route("DELETE", "/cache/{name}", models.delete_cached),
    Route("GET", "/webhooks/deliveries", webhooks.list_deliveries),
    Route("POST", "/webhooks/deliveries/{id}/replay", webhooks.replay),
    Route("GET", "/health", operations.health),
    Route("GET", "/ready", operations.ready),
    Route("GET", "/live", operations.live),
    Route("GET", "/metrics", operations.exposition),
    Route("GET", "/logs", operations.logs),
    Route("GET", "/openapi.json", docs.openapi),
    Route("GET", "/docs", docs.page),
    Route("GET", "/docs/{asset}", docs.asset),
)


#: Names of workflows have slashes in them where their folders nest.
_NESTED = "/workflow/{name}"


def application(largest_body: int) -> web.Application:
    """Return an application that answers at every address of the table, and at the aliases."""
    app = web.Application(
        middlewares=[*middleware.ALL, aliases.answer_aliases], client_max_size=largest_body
    )
    app.on_response_prepare.append(middleware.add_headers)
    for route in TABLE:
        app.router.add_route(route.method, _pattern(route.path), route.handler)
    return app


def _pattern(path: str) -> str:
    return path.replace("{name}", "{name:.+}") if path == _NESTED else path


def is_taken(path: str) -> bool:
    """Whether the table has an answer at this address, whatever the method."""
    if path.startswith(middleware.OPEN_FOLDER):
        # At any depth: what is there is answered without a key.
        return True
    return any(_matcher(route.path).fullmatch(path) for route in TABLE)


@cache
def _matcher(path: str) -> re.Pattern[str]:
    whole = ".+" if path == _NESTED else "[^/]+"
    pieces = re.split(r"\{\w+\}", path)
    return re.compile(whole.join(re.escape(piece) for piece in pieces))
