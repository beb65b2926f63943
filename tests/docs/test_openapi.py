"""/openapi.json is a valid document, and /docs shows it with nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api import docs
from gateway.api.routes import TABLE
from tests.docs.running import RunningGateway, running_gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
async def session(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url, auto_decompress=False) as found:
        yield found


@pytest.fixture
async def document(session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get("/openapi.json") as answer:
        assert answer.content_type == "application/json"
        found: dict[str, Any] = await answer.json()
        return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


class TestDocument:
    async def test_it_is_valid(self, document: dict[str, Any]) -> None:
        assert document["openapi"].startswith("3.1.")
        OpenAPIV31SpecValidator(document).validate()

    async def test_it_has_every_route(self, document: dict[str, Any]) -> None:
        table = {(route.method, route.path) for route in TABLE}
        assert operations(document).keys() >= table
        # The others are the named workflows of the folder that comes along.
        others = [found for key, found in operations(document).items() if key not in table]
        assert {found["tags"][0] for found in others} <= {"workflows"}

    async def test_every_operation_has_a_name_of_its_own(self, document: dict[str, Any]) -> None:
        names = [found["operationId"] for found in operations(document).values()]
        assert len(names) == len(set(names))

    async def test_keys_are_asked_for_where_they_are(self, document: dict[str, Any]) -> None:
        is_open = {
            path for (_, path), found in operations(document).items() if found["security"] == [{}]
        }
        assert {"/health", "/ready", "/live", "/metrics"} <= is_open
        assert operations(document)["POST", "/prompt"]["security"] == [{"bearer": []}, {"key": []}]

    async def test_its_example_runs(
        self, document: dict[str, Any], session: aiohttp.ClientSession
    ) -> None:
        body = document["paths"]["/prompt"]["post"]["requestBody"]
        example = body["content"]["application/json"]["example"]
        async with session.post("/prompt", json=example) as answer:
            assert answer.status == 200, await answer.text()
            found = await answer.json()
        assert len(found["images"]) == 1

    async def test_what_an_error_looks_like(
        self, document: dict[str, Any], session: aiohttp.ClientSession
    ) -> None:
        async with session.post("/prompt", json={"prompt": {}}) as answer:
            told = document["paths"]["/prompt"]["post"]["responses"][str(answer.status)]
            assert f"`{(await answer.json())['code']}`" in told["description"]


class TestPage:
    async def test_it_asks_for_nothing_from_elsewhere(self, session: aiohttp.ClientSession) -> None:
        async with session.get("/docs") as answer:
            page = await answer.text()
            assert answer.content_type == "text/html"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
        asked = set(re.findall(r"(?:src|href)=\"docs/([^\"]+)\"", page))
        assert asked == docs.ASSETS.keys()

    @pytest.mark.parametrize("name", docs.ASSETS)
    async def test_its_assets_are_there(self, session: aiohttp.ClientSession, name: str) -> None:
        async with session.get(f"/docs/{name}") as answer:
            assert (answer.status, answer.content_type) == (200, docs.ASSETS[name])
            assert "max-age" in answer.headers["Cache-Control"]
            tag = answer.headers["ETag"]
        async with session.get(f"/docs/{name}", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304

    @pytest.mark.parametrize("name", ["index.j2", "swagger-ui.js", "..%2F..%2F__init__.py", "%00"])
    async def test_no_other_file_is(self, session: aiohttp.ClientSession, name: str) -> None:
        async with session.get(f"/docs/{name}") as answer:
            assert answer.status == 404
            assert json.loads(await answer.read())["code"] == "not_found"
