"""A named workflow, as its files say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gateway import graph
from gateway.workflows.sampling.samplers import Place

Kind = Literal[
    "string",
    "integer",
    "float",
    "boolean",
    "enum",
    "seed",
    "image",
    "mask",
    "audio",
    "video",
    "model",
    "lora",
]
#: Kinds whose value is a file: a URL, base64, the name of an input file, a part of a form.
MEDIA = ("image", "mask", "audio", "video")


@dataclass(frozen=True)
class Parameter:
    """What a caller may say, and where it goes."""

    name: str
    type: Kind
    default: Any = None
    required: bool = False
    min: float | None = None
    max: float | None = None
    multiple_of: float | None = None
    choices: tuple[Any, ...] = ()
    description: str | None = None
    #: Folder of models, of a `model`.
    folder: str | None = None
    #: The inputs that hold its value.
    places: tuple[Place, ...] = ()
    #: Nodes that a boolean takes out when it is false.
    toggle: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workflow:
    """A named workflow; what a job was made of it stays as it was made."""

    name: str
    parameters: Mapping[str, Parameter]
    #: None where Python makes it.
    graph: graph.Graph | None = None
    description: str | None = None
    #: `_workflow_metadata` of the file.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: A second address: `/tryon`.
    route: str | None = None
    #: Applied where a request names none.
    preset: str | None = None
    #: Nodes whose outputs are wanted; empty: all.
    outputs: tuple[str, ...] = ()
    #: A request's `input`, to show.
    example: Mapping[str, Any] = field(default_factory=dict)
    #: JSON Schema of the `Request` of a workflow in Python.
    request_schema: Mapping[str, Any] | None = None
    #: Its file of Python.
    script: Path | None = None
    #: What that file holds in the version in service.
    source: str | None = None
    #: What is worth knowing of the conversion of a file in the format of the canvas.
    warnings: tuple[str, ...] = ()
    #: Tells one version of its files from the next.
    version: str = ""
