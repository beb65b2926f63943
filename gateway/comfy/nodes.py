"""What ComfyUI's node classes take and give, and the check of a graph before it is accepted."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import errors, graph
from gateway.comfy.definitions import Definitions, packed

#: Where classes of ComfyUI itself come from; only their plain lists are known to be final.
_CORE_MODULES = ("nodes", "comfy_extras.", "comfy_api_nodes.")

#: Lists that the class's own VALIDATE_INPUTS looks past, and that no flag of the input tells.
_FILE_LISTS = {("LoadLatent", "latent")}
_UPLOAD_FLAGS = ("image_upload", "audio_upload", "video_upload", "file_upload", "upload", "remote")

_CLOSEST = 5
_LONG_LIST = 20
_TITLE = 100
#: A file of the cache that nobody named: a digest, which tells nobody what it is.
_DIGEST = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])[\w-]{32}\.\w{1,16}", re.ASCII)
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://")


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One class: what it needs, how many outputs it has, which inputs are closed lists."""

    name: str
    required: tuple[str, ...]
    outputs: int
    is_output: bool
    choices: Mapping[str, tuple[Any, ...]]
    model_folders: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of one node, as ComfyUI words it."""

    node_id: str
    type: str
    message: str
    details: str
    extra_info: dict[str, Any]
    closest: tuple[str, ...] = ()
    folder: str | None = None

    def as_error(self) -> dict[str, Any]:
        """Return the entry of `node_errors`."""
        return {
            "type": self.type,
            "message": self.message,
            "details": self.details,
            "extra_info": self.extra_info,
        }


class Catalog:
    """The classes of `/object_info`, as last known."""

    def __init__(self) -> None:
        self._classes: dict[str, NodeClass] = {}
        self._definitions: dict[str, bytes] = {}

    @property
    def definitions(self) -> Mapping[str, Any]:
        """What the conversion of the UI format needs of `/object_info`, in its form."""
        return Definitions(self._definitions)

    @property
    def is_known(self) -> bool:
        """Whether `/object_info` was ever read."""
        return bool(self._classes)

    @property
    def output_classes(self) -> set[str]:
        """Names of the classes that end a graph."""
        return {name for name, found in self._classes.items() if found.is_output}

    def output_nodes(self, workflow: graph.Graph) -> frozenset[str]:
        """Return the nodes that end a graph."""
        found = self._classes
        return frozenset(
            node_id
            for node_id, node in workflow.items()
            if (known := found.get(node["class_type"])) is not None and known.is_output
        )

    def get(self, name: str) -> NodeClass | None:
        """Return a class, or None when this ComfyUI lacks it."""
        return self._classes.get(name)

    def replace(self, object_info: Mapping[str, Any]) -> None:
        """Take over the whole of `/object_info`."""
        lists: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._definitions = {
            name: packed(entry) for name, entry in object_info.items() if isinstance(entry, dict)
        }
        self._classes = {
            name: _node_class(name, entry, lists)
            for name, entry in object_info.items()
            if isinstance(entry, dict)
        }

    def update(self, object_info: Mapping[str, Any]) -> None:
        """Take over some classes: `/object_info/{class}`."""
        for name, entry in object_info.items():
            if isinstance(entry, dict):
                self._classes[name] = _node_class(name, entry, {})
                self._definitions = {**self._definitions, name: packed(entry)}

    def closest(self, name: str) -> list[str]:
        """Return the names of classes most like this one."""
        return difflib.get_close_matches(name, self._classes, _CLOSEST)


def _node_class(
    name: str, entry: dict[str, Any], lists: dict[tuple[Any, ...], tuple[Any, ...]]
) -> NodeClass:
    inputs = entry.get("input") or {}
    required = inputs.get("required") or {}
    given = {**required, **(inputs.get("optional") or {})}
    # Folders of models are asked for by URL and by name alike, whoever wrote the loader.
    folders = graph.MODEL_INPUTS.get(name, {})
    is_core = str(entry.get("python_module", "")).startswith(_CORE_MODULES)
    choices = {}
    for key, spec in given.items():
        is_closed = is_core and (name, key) not in _FILE_LISTS
        found = _choices(spec, is_model=key in folders) if is_closed else None
        if found is not None:
            # Hundreds of classes repeat the same samplers: one copy of each list is kept.
            choices[sys.intern(key)] = lists.setdefault(found, found)
    return NodeClass(
        sys.intern(name),
        tuple(sys.intern(key) for key in required),
        len(entry.get("output") or ()),
        entry.get("output_node") is True,
        choices,
        folders,
    )


def _choices(spec: Any, *, is_model: bool) -> tuple[Any, ...] | None:
    """Return the values of a plain list, or None where anything else decides."""
    values = listed(spec)
    # Lists of the newer form belong to classes that may check for themselves, loaders aside.
    if values is None or not (is_model or isinstance(spec[0], list)):
        return None
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    if any(options.get(flag) for flag in _UPLOAD_FLAGS):
        return None
    return values if all(isinstance(value, str | int | float) for value in values) else None


def listed(spec: Any) -> tuple[Any, ...] | None:
    """Return the values that an input of object_info lists, in either of its two forms."""
    if not isinstance(spec, list) or not spec:
        return None
    values = spec[0]
    if values == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        values = spec[1].get("options")
    return tuple(values) if isinstance(values, list) else None


def stale_classes(problems: Iterable[Problem], workflow: graph.Graph) -> set[str]:
    """Return the classes worth asking ComfyUI about again before a graph is refused."""
    doubtful = {"value_not_in_list", "invalid_prompt"}
    return {workflow[found.node_id]["class_type"] for found in problems if found.type in doubtful}


def check(workflow: graph.Graph, catalog: Catalog) -> list[Problem]:
    """Return why ComfyUI would refuse the graph as a whole; empty when some output can run.

    Raises NoOutput when no node ends the graph.
    """
    unknown = [
        _unknown_class(node_id, node["class_type"])
        for node_id, node in workflow.items()
        if catalog.get(node["class_type"]) is None
    ]
    if unknown:
        # Only the first is hinted at, and likeness to every class takes milliseconds a name.
        name = workflow[unknown[0].node_id]["class_type"]
        closest = tuple(catalog.closest(name[:200]))
        return [dataclasses.replace(unknown[0], closest=closest), *unknown[1:]]
    ends = [node_id for node_id, node in workflow.items() if _ends(node, catalog)]
    if not ends:
        raise errors.NoOutput
    found: dict[str, list[Problem]] = {}
    for end in ends:
        problems = _problems_of(workflow, end, catalog, found)
        if not problems:
            # One good output is enough: ComfyUI runs it and reports the others.
            return []
    return [problem for entries in found.values() for problem in entries]


def _ends(node: dict[str, Any], catalog: Catalog) -> bool:
    found = catalog.get(node["class_type"])
    return found is not None and found.is_output


def _problems_of(
    workflow: graph.Graph, end: str, catalog: Catalog, found: dict[str, list[Problem]]
) -> list[Problem]:
    problems = []
    for node_id in graph.reached_from(workflow, end):
        if node_id not in found:
            found[node_id] = list(_node_problems(workflow, node_id, catalog))
        problems += found[node_id]
    # Two outputs may need the same cycle: it is told once.
    is_told = any(problem.type == "dependency_cycle" for problem in problems)
    cycle = None if is_told else graph.cycle_through(workflow, end)
    if cycle:
        problem = _cycle(cycle)
        found.setdefault(cycle[0], []).append(problem)
        problems.append(problem)
    return problems


def _node_problems(workflow: graph.Graph, node_id: str, catalog: Catalog) -> Iterable[Problem]:
    node = workflow[node_id]
    inputs = node.get("inputs", {})
    known = catalog.get(node["class_type"])
    assert known is not None
    for name in known.required:
        if name not in inputs:
            yield Problem(
                node_id,
                "required_input_missing",
                "Required input is missing",
                name,
                {"input_name": name},
            )
    for name, value in inputs.items():
        if graph.is_link(value):
            yield from _link_problem(workflow, node_id, name, value, catalog)
        elif name in known.choices or name in known.model_folders:
            yield from _choice_problem(node_id, name, value, known)


def _link_problem(
    workflow: graph.Graph, node_id: str, name: str, link: list[Any], catalog: Catalog
) -> Iterable[Problem]:
    extra = {"input_name": name, "received_value": link}
    source = workflow.get(link[0])
    if source is None:
        details = f"{name}: node {link[0][:100]!r} is not in the workflow"
        yield Problem(node_id, "bad_linked_input", "Bad linked input", details, extra)
        return
    known = catalog.get(source["class_type"])
    if known is not None and link[1] not in range(known.outputs):
        details = (
            f"{name}: node {link[0][:100]!r} ({known.name}) has {known.outputs} outputs, "
            f"counted from 0; {link[1]} is not one of them"
        )
        yield Problem(node_id, "bad_linked_input", "Bad linked input", details, extra)


def _choice_problem(node_id: str, name: str, value: Any, known: NodeClass) -> Iterable[Problem]:
    allowed = known.choices.get(name)
    if allowed is None or isinstance(value, list | dict) or value in allowed:
        return
    if graph.is_url(value):
        # Whether weights belong there, and into which folder, models/resolver tells.
        return
    shown = str(list(allowed)) if len(allowed) <= _LONG_LIST else f"(list of length {len(allowed)})"
    names = [text for text in map(str, allowed) if not _DIGEST.fullmatch(text)]
    closest = difflib.get_close_matches(str(value)[:300], names, _CLOSEST, 0.4)
    extra: dict[str, Any] = {"input_name": name, "received_value": value}
    if closest:
        extra["closest"] = closest
    yield Problem(
        node_id,
        "value_not_in_list",
        "Value not in list",
        f"{name}: '{str(value)[:300]}' not in {shown}",
        extra,
        tuple(closest),
        known.model_folders.get(name),
    )


def _unknown_class(node_id: str, name: str) -> Problem:
    return Problem(
        node_id,
        "invalid_prompt",
        f"Cannot execute because node {name[:200]} does not exist.",
        f"Node ID '#{node_id[:100]}'",
        {},
    )


def _cycle(cycle: list[str]) -> Problem:
    way = " -> ".join(node_id[:40] for node_id in cycle[:12])
    return Problem(
        cycle[0], "dependency_cycle", "Dependency cycle detected", f"nodes {way}", {"cycle": cycle}
    )


def refusal(problems: list[Problem], workflow: graph.Graph) -> errors.InvalidGraph:
    """Return the answer to a graph that ComfyUI would refuse."""
    first = problems[0]
    node_errors: dict[str, Any] = {}
    for problem in problems:
        class_type = workflow[problem.node_id]["class_type"]
        entry = node_errors.setdefault(
            problem.node_id,
            {"errors": [], "dependent_outputs": [], "class_type": class_type},
        )
        entry["errors"].append(problem.as_error())
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = _called(first.node_id, workflow[first.node_id])
    return errors.InvalidGraph(
        f"Node {where}: {first.message.rstrip('.')}: {first.details}{more}",
        hint=_hint(first),
        location=_location(first),
        node_errors=node_errors,
    )


def _called(node_id: str, node: dict[str, Any]) -> str:
    """Return a node's id, and its class; between them its title, where somebody gave it one."""
    meta, kind = node.get("_meta"), node["class_type"]
    title = meta.get("title") if isinstance(meta, dict) else None
    shown = ""
    if isinstance(title, str) and title.strip() and title != kind:
        shown = f" {title[:_TITLE]!r}"
    return f"{node_id[:100]}{shown} ({kind[:100]})"


def _hint(problem: Problem) -> str | None:
    if problem.folder and _ANY_URL.match(str(problem.extra_info.get("received_value"))):
        schemes = ", ".join(f"{scheme}://" for scheme in graph.SCHEMES)
        return f"A URL that can be fetched begins with {schemes}."
    parts = []
    if problem.closest:
        parts.append(f"The closest: {', '.join(problem.closest)}.")
    if problem.folder:
        parts.append(f"ComfyUI looked in the models folder {problem.folder!r}.")
    if problem.type == "invalid_prompt" and not problem.closest:
        parts.append("Install the custom node that brings this class, or correct class_type.")
    return " ".join(parts) or None


def _location(problem: Problem) -> str:
    name = problem.extra_info.get("input_name")
    tail = f".inputs.{name}" if name else ".class_type" if problem.type == "invalid_prompt" else ""
    return f"prompt.{problem.node_id[:100]}{tail}"
