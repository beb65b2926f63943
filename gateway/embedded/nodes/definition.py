"""What a node is: its declaration, as /object_info tells it, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

    from gateway.embedded.folders import Folders

# ["INT", {...}], ["IMAGE"], or a function of the folders where the choices are file names.
InputSpec: TypeAlias = tuple[Any, ...]
InputSpecs: TypeAlias = Mapping[str, InputSpec]
InputTypes: TypeAlias = dict[str, dict[str, Any]]


class NodeFailure(Exception):
    """A node cannot do its work."""

    exception_type = "Exception"


class Interrupted(Exception):
    """Someone asked to stop the prompt that runs."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a running node may use."""

    folders: Folders
    metadata: bool
    graph: dict[str, Any]
    extra_pnginfo: dict[str, Any] | None
    # Kept for the same node from prompt to prompt.
    memory: dict[str, Any]
    report: Callable[[int, int, Callable[[], Image]], None]
    pause: Callable[[], None]

    def step(self, value: int, total: int, preview: Callable[[], Image]) -> None:
        """Report progress with a picture of it; raises Interrupted when asked to stop."""
        self.pause()
        self.report(value, total, preview)


@dataclass(frozen=True, slots=True)
class Result:
    """The values for the output slots, and what the client is told."""

    values: tuple[Any, ...] = ()
    ui: dict[str, list[Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One class of nodes."""

    name: str
    display_name: str
    category: str
    run: Callable[..., Result]
    required: InputSpecs
    optional: InputSpecs | None = None
    hidden: Mapping[str, str] | None = None
    outputs: tuple[str, ...] = ()
    is_output: bool = False
    module: str = "nodes"
    description: str = ""
    output_tooltips: tuple[str | None, ...] | None = None
    marks: Mapping[str, bool] = field(default_factory=dict)
    # Says what is wrong with one input, which then is exempt from the checks of range and choice.
    checked_input: str | None = None
    check: Callable[[Folders, Any], str | None] | None = None
    # Changes whenever a node with the same inputs must run again.
    fingerprint: Callable[..., str] | None = None

    def input_types(self, folders: Folders) -> InputTypes:
        types: InputTypes = {"required": _resolve(self.required, folders)}
        if self.optional is not None:
            types["optional"] = _resolve(self.optional, folders)
        if self.hidden is not None:
            types["hidden"] = dict(self.hidden)
        return types

    def info(self, folders: Folders) -> dict[str, Any]:
        """The entry of /object_info."""
        types = self.input_types(folders)
        entry: dict[str, Any] = {
            "input": types,
            "input_order": {group: list(specs) for group, specs in types.items()},
            "output": self.outputs,
            "output_is_list": [False] * len(self.outputs),
            "output_name": self.outputs,
            "name": self.name,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": self.module,
            "category": self.category,
            "output_node": self.is_output,
        }
        if self.output_tooltips is not None:
            entry["output_tooltips"] = self.output_tooltips
        return {**entry, **self.marks}


def _resolve(specs: InputSpecs, folders: Folders) -> dict[str, Any]:
    return {
        name: (kind(folders) if callable(kind) else kind, *rest)
        for name, (kind, *rest) in specs.items()
    }


def integer(default: int, lowest: int, highest: int, **more: Any) -> InputSpec:
    return ("INT", {"default": default, "min": lowest, "max": highest, **more})


def number(default: float, lowest: float, highest: float, step: float, **more: Any) -> InputSpec:
    return ("FLOAT", {"default": default, "min": lowest, "max": highest, "step": step, **more})
