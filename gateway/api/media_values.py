"""Media parameters of a named workflow: what was sent becomes a file before the graph is made."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

from gateway import errors, graph
from gateway.media import encoded
from gateway.media.inputs import Inputs, LocalInput, RemoteInput
from gateway.media.sniff import MediaType
from gateway.storage import credentials
from gateway.workflows import values
from gateway.workflows.workflow import MEDIA, Parameter

#: Kind of parameter -> families of files that do. Sound comes in containers of video, too.
_FAMILIES = {
    "image": ("image",),
    "mask": ("image",),
    "audio": ("audio", "video"),
    "video": ("video",),
}
#: A drawing, for which ComfyUI's loaders of pictures have no reader.
_DRAWING = "image/svg+xml"
#: Pictures that move are video to a node that takes one.
_MOVING = ("image/gif", "image/webp")


async def admit(
    inputs: Inputs, parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the names that stand for the media among these values, and all that is wrong."""
    found: dict[str, str] = {}
    problems = []
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.type not in MEDIA or not isinstance(value, str):
            continue
        try:
            found[name] = await _admitted(inputs, parameter, value)
        except (errors.RequestRefused, values.Wrong) as failure:
            told = values.allowed(parameter)
            problem = values.problem(name, without_users(value), told, sentence(failure))
            problems.append(problem)
    return found, problems


async def _admitted(inputs: Inputs, parameter: Parameter, value: str) -> str:
    # The name of the input tells what it takes: a picture, for one.
    admitted = await inputs.admit(value, location=f"input.{parameter.name}")
    if isinstance(admitted, RemoteInput):
        # What it holds is told when it is fetched.
        return value
    kind = await inputs.kind_of(admitted.name)
    if kind is not None and kind.mime == _DRAWING:
        raise values.Wrong(f"it is {kind.mime}, which ComfyUI does not read; send it as PNG")
    if not _does(parameter, kind, admitted.name):
        told = f"it is {kind.mime}" if kind else "its first bytes are those of no known type"
        raise values.Wrong(f"it is not {_ARTICLES[parameter.type]}: {told}")
    return admitted.name


_ARTICLES = {"image": "an image", "mask": "an image", "audio": "a sound", "video": "a video"}


def _does(parameter: Parameter, kind: MediaType | None, name: str) -> bool:
    families = _FAMILIES[parameter.type]
    if kind is None:
        # An operator's file of a type that is not told from its bytes.
        guessed, _ = mimetypes.guess_type(name)
        return (guessed or "").partition("/")[0] in families
    if kind.mime in _MOVING and parameter.type == "video":
        return True
    return kind.family in families


def sentence(failure: errors.RequestRefused | values.Wrong) -> str:
    """Return what a failure says as a part of a sentence, with what to do about it."""
    text = failure.message if isinstance(failure, errors.GatewayError) else str(failure)
    text = text.rstrip(".")
    hint = failure.hint if isinstance(failure, errors.GatewayError) else None
    first = text[:1].lower() + text[1:] if text[:2] != text[:2].upper() else text
    return f"{first}. {hint.rstrip('.')}" if hint else first


async def without_base64(inputs: Inputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with names of files where base64 was; raises as `Inputs.admit`.

    Base64 may stand in lists and objects: how they nest, the code of a workflow knows alone.
    """
    return {
        name: await _without_base64(inputs, value, f"input.{name}") for name, value in given.items()
    }


async def _without_base64(inputs: Inputs, value: Any, place: str) -> Any:
    if isinstance(value, str) and (encoded.data_url(value) or encoded.bare(value)):
        admitted = await inputs.admit(value, location=place)
        assert isinstance(admitted, LocalInput)
        return admitted.name
    if isinstance(value, dict):
        return {
            key: await _without_base64(inputs, one, f"{place}.{key}") for key, one in value.items()
        }
    if isinstance(value, list) and any(isinstance(one, str | list | dict) for one in value):
        return [await _without_base64(inputs, one, f"{place}.{at}") for at, one in enumerate(value)]
    return value


def without_users(value: Any) -> Any:
    """Return a value with no user or password in any URL of it."""
    if isinstance(value, Mapping):
        return {name: without_users(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_users(one) for one in value]
    return credentials.taken_out(value)[0] if graph.is_url(value) else value
