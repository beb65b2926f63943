"""HTTP routes for prompts, the queue, the history and what the engine can do."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import Any

import psutil
from aiohttp import web

from gateway.embedded.engine import Engine
from gateway.embedded.nodes import CLASSES
from gateway.embedded.pending import Prompt
from gateway.embedded.validation import validate

COMFYUI_VERSION = "0.3.64"
FRONTEND_VERSION = "1.27.10"
TEMPLATES_VERSION = "0.1.95"
# What the frontend of that version registers first; the engine serves no frontend.
EXTENSIONS = [
    "/extensions/core/groupNode.js",
    "/extensions/core/maskEditorOld.js",
    "/extensions/core/clipspace.js",
]
NO_PROMPT = "No prompt provided"


class PromptRoutes:
    """Handlers; each translates a request into one call of the engine's parts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._number = 0

    def table(self) -> list[web.RouteDef]:
        return [
            web.post("/prompt", self.post_prompt),
            web.get("/prompt", self.get_prompt),
            web.get("/queue", self.get_queue),
            web.post("/queue", self.post_queue),
            web.post("/interrupt", self.post_interrupt),
            web.get("/history", self.get_history),
            web.post("/history", self.post_history),
            web.get("/history/{prompt_id}", self.get_history_of),
            web.get("/object_info", self.get_object_info),
            web.get("/object_info/{node_class}", self.get_object_info_of),
            web.get("/models", self.get_models),
            web.get("/models/{folder}", self.get_models_in),
            web.get("/embeddings", self.get_embeddings),
            web.get("/extensions", self.get_extensions),
            web.get("/features", self.get_features),
            web.get("/system_stats", self.get_system_stats),
            web.post("/free", self.post_free),
        ]

    async def post_prompt(self, request: web.Request) -> web.Response:
        body = _members(await request.json())
        number = self._next_number(body)
        if "prompt" not in body:
            error = {
                "type": "no_prompt",
                "message": NO_PROMPT,
                "details": NO_PROMPT,
                "extra_info": {},
            }
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        verdict = validate(
            body["prompt"], self._engine.folders, body.get("partial_execution_targets")
        )
        if verdict.error is not None:
            refusal = {"error": verdict.error, "node_errors": verdict.node_errors}
            return web.json_response(refusal, status=400)
        extra_data = body.get("extra_data", {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        prompt_id = self._prompt_id(body)
        self._engine.pending.put(
            Prompt(number, prompt_id, body["prompt"], extra_data, verdict.outputs)
        )
        return web.json_response(
            {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        )

    def _next_number(self, body: dict[str, Any]) -> float:
        """Counts up with every request, accepted or not; `front` puts a prompt before others."""
        if "number" in body:
            return float(body["number"])
        number, self._number = self._number, self._number + 1
        return -number if body.get("front") else number

    def _prompt_id(self, body: dict[str, Any]) -> str:
        own = str(uuid.uuid4())
        return own if self._engine.faults.no_prompt_id else str(body.get("prompt_id", own))

    async def get_prompt(self, request: web.Request) -> web.Response:
        return web.json_response(self._engine.status())

    async def get_queue(self, request: web.Request) -> web.Response:
        return web.json_response(self._engine.pending.queue())

    async def post_queue(self, request: web.Request) -> web.Response:
        body = _members(await request.json())
        if body.get("clear"):
            self._engine.pending.clear_queue()
        for prompt_id in body.get("delete", ()):
            self._engine.pending.remove(prompt_id)
        return web.Response()

    async def post_interrupt(self, request: web.Request) -> web.Response:
        try:
            body = _members(await request.json())
        except json.JSONDecodeError:
            body = {}
        wanted = body.get("prompt_id")
        if wanted and not self._engine.faults.no_prompt_id:
            if wanted == self._engine.pending.running_id():
                self._engine.executor.interrupt()
        else:
            self._engine.executor.interrupt()
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        limit = request.query.get("max_items")
        offset = int(request.query.get("offset", -1))
        history = self._engine.pending.history(None if limit is None else int(limit), offset)
        return web.json_response(history)

    async def get_history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        return web.json_response(self._engine.pending.history_of(prompt_id))

    async def post_history(self, request: web.Request) -> web.Response:
        body = _members(await request.json())
        if body.get("clear"):
            self._engine.pending.clear_history()
        for prompt_id in body.get("delete", ()):
            self._engine.pending.forget(prompt_id)
        return web.Response()

    async def get_object_info(self, request: web.Request) -> web.Response:
        folders = self._engine.folders
        return web.json_response({name: node.info(folders) for name, node in CLASSES.items()})

    async def get_object_info_of(self, request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        found = {name: CLASSES[name].info(self._engine.folders)} if name in CLASSES else {}
        return web.json_response(found)

    async def get_models(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._engine.folders.models))

    async def get_models_in(self, request: web.Request) -> web.Response:
        kind = request.match_info["folder"]
        if kind not in self._engine.folders.models:
            return web.Response(status=404)
        return web.json_response(self._engine.folders.model_names(kind))

    async def get_embeddings(self, request: web.Request) -> web.Response:
        names = self._engine.folders.model_names("embeddings")
        return web.json_response([os.path.splitext(name)[0] for name in names])

    async def get_extensions(self, request: web.Request) -> web.Response:
        return web.json_response(EXTENSIONS)

    async def get_features(self, request: web.Request) -> web.Response:
        return web.json_response(self._engine.features)

    async def get_system_stats(self, request: web.Request) -> web.Response:
        memory = psutil.virtual_memory()
        sizes = {"total": memory.total, "free": memory.available}
        system = {
            "os": os.name,
            **{f"ram_{name}": size for name, size in sizes.items()},
            "comfyui_version": COMFYUI_VERSION,
            "required_frontend_version": FRONTEND_VERSION,
            "installed_templates_version": TEMPLATES_VERSION,
            "required_templates_version": TEMPLATES_VERSION,
            "python_version": sys.version,
            "pytorch_version": "none: the embedded engine draws",
            "embedded_python": False,
            "argv": sys.argv,
        }
        device = {
            "name": "cpu",
            "type": "cpu",
            "index": None,
            **{f"vram_{name}": size for name, size in sizes.items()},
            **{f"torch_vram_{name}": size for name, size in sizes.items()},
        }
        return web.json_response({"system": system, "devices": [device]})

    async def post_free(self, request: web.Request) -> web.Response:
        body = _members(await request.json())
        # Unloading models alone changes nothing here: none is ever loaded.
        if body.get("free_memory", False):
            self._engine.pending.free_memory()
        return web.Response()


def _members(body: Any) -> dict[str, Any]:
    """What a JSON body names; lists and strings name nothing, and the rest is an error of ours."""
    if isinstance(body, list | str):
        return {}
    if not isinstance(body, dict):
        raise TypeError(f"not a JSON object: {body!r}")
    return body
