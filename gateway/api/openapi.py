"""The OpenAPI document, from the route table and the wire models; imported on first use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import openapi_pydantic as oa
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from gateway import errors
from gateway.api.answers import ErrorAnswer
from gateway.api.descriptions import OPERATIONS, Answers, Errors, Told
from gateway.api.middleware import OPEN_PATHS

if TYPE_CHECKING:
    from gateway.api.routes import Route


def document(table: Iterable[Route], version: str) -> bytes:
    """Return the document as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        told = OPERATIONS[route.method, route.path]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, told)
    described = oa.OpenAPI(
        openapi="3.1.1",
        info=oa.Info(
            title="comfy-gateway",
            version=version,
            summary="A workflow in, pictures out.",
            license=oa.License(name="MIT", identifier="MIT"),
        ),
        paths={path: oa.PathItem(**operations) for path, operations in paths.items()},
        components=oa.Components(
            securitySchemes={
                "bearer": oa.SecurityScheme(type="http", scheme="bearer"),
                "key": oa.SecurityScheme.model_validate(
                    {"type": "apiKey", "in": "header", "name": "X-API-Key"}
                ),
            }
        ),
    )
    whole = construct_open_api_with_schema_class(described)
    return whole.model_dump_json(by_alias=True, exclude_unset=True, exclude_none=True).encode()


def _operation(route: Route, told: Told) -> oa.Operation:
    is_open = route.path in OPEN_PATHS
    failures = told.failures if is_open else (*told.failures, errors.Unauthorized)
    summary = inspect.getdoc(route.handler) or route.path
    return oa.Operation(
        operationId=_operation_id(route),
        summary=summary.splitlines()[0].rstrip("."),
        description=told.description,
        tags=[told.tag],
        parameters=[*_path_parameters(route.path), *(_parameter(*one) for one in told.parameters)],
        requestBody=_request_body(told),
        responses=_answers(told) | _failures(failures, told.answers),
        # Each alone is enough; without keys in the settings, none is asked for.
        security=[{}] if is_open else [{"bearer": []}, {"key": []}],
    )


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path)
    return "_".join([route.method.lower(), *words])


def _path_parameters(path: str) -> list[oa.Parameter]:
    return [_parameter(name, "path", "string", None) for name in re.findall(r"\{(\w+)\}", path)]


def _parameter(name: str, where: str, kind: str, description: str | None) -> oa.Parameter:
    return oa.Parameter.model_validate(
        {
            "name": name,
            "in": where,
            "required": where == "path",
            "description": description,
            "schema": {"type": kind},
        }
    )


def _request_body(told: Told) -> oa.RequestBody | None:
    if told.body is None:
        return None
    content = oa.MediaType(media_type_schema=PydanticSchema(schema_class=told.body))
    if told.example:
        content.example = told.example
    kinds = {"application/json": content}
    if told.is_form:
        kinds["multipart/form-data"] = oa.MediaType(media_type_schema=oa.Schema(type="object"))
    kinds |= {kind: oa.MediaType() for kind in told.files}
    return oa.RequestBody(required=True, content=kinds)


def _answers(told: Told) -> dict[str, oa.Response]:
    found = {str(status): _answer(kind) for status, kind in told.answers.items()}
    if told.raw:
        content = found["200"].content or {}
        found["200"].content = content | {kind: oa.MediaType() for kind in told.raw}
    return found


def _answer(kind: type[BaseModel] | str | None) -> oa.Response:
    if kind is None:
        return oa.Response(description="Done; there is no body.")
    if isinstance(kind, str):
        return oa.Response(description="The content.", content={kind: oa.MediaType()})
    text = (inspect.getdoc(kind) or "").splitlines()[0]
    return oa.Response(description=text, content=_json(kind))


def _json(model: type[BaseModel]) -> dict[str, oa.MediaType]:
    schema: Any = PydanticSchema(schema_class=model)
    return {"application/json": oa.MediaType(media_type_schema=schema)}


def _failures(failures: Errors, answers: Answers) -> dict[str, oa.Response]:
    by_status: dict[int, list[type[errors.GatewayError]]] = {}
    for failure in failures:
        by_status.setdefault(failure.status, []).append(failure)
    return {
        str(status): oa.Response(
            description="\n\n".join(_told(failure) for failure in found),
            content=_json(ErrorAnswer),
        )
        for status, found in sorted(by_status.items())
        if status not in answers
    }


def _told(failure: type[errors.GatewayError]) -> str:
    sentence = (inspect.getdoc(failure) or "").splitlines()[0]
    return f"`{failure.code}`: {sentence}"
