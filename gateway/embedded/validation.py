"""Refusing a prompt before it is queued, with ComfyUI's words and its shape of errors."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gateway.embedded.folders import Folders
from gateway.embedded.graph import Graph, is_link
from gateway.embedded.nodes import CLASSES
from gateway.embedded.nodes.definition import Node

Error: TypeAlias = dict[str, Any]
CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
LONGEST_SHOWN_LIST = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which outputs will run, or why none will; the errors of single nodes come in both cases."""

    error: Error | None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def validate(graph: Graph, folders: Folders, wanted: list[str] | None = None) -> Verdict:
    """Check every output that is wanted, all by default, and everything it is made from.

    Values are converted in place, as they will be shown in the queue and in the history.
    """
    problem = _problem_with_classes(graph)
    if problem is not None:
        return Verdict(problem)
    outputs = [
        node_id
        for node_id, node in graph.items()
        if CLASSES[node["class_type"]].is_output and (wanted is None or node_id in wanted)
    ]
    if not outputs:
        return Verdict(_error("prompt_no_outputs", "Prompt has no outputs"))
    return _Validation(graph, folders).outputs(outputs)


def _problem_with_classes(graph: Graph) -> Error | None:
    for node_id, node in graph.items():
        where = f"Node ID '#{node_id}'"
        if "class_type" not in node:
            reason = "Cannot execute because a node is missing the class_type property."
            return _error("invalid_prompt", reason, where)
        if node["class_type"] not in CLASSES:
            reason = f"Cannot execute because node {node['class_type']} does not exist."
            return _error("invalid_prompt", reason, where)
    return None


class _Validation:
    """One pass over a graph; what is known of a node is kept, since outputs share nodes."""

    def __init__(self, graph: Graph, folders: Folders) -> None:
        self._graph = graph
        self._folders = folders
        self._open: set[str] = set()
        self._errors: dict[str, list[Error]] = {}
        self._is_valid: dict[str, bool] = {}

    def outputs(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        reasons: list[Error] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            if self._output(output):
                good.append(output)
                continue
            reasons += self._errors[output]
            self._blame(output, node_errors)
        if good:
            return Verdict(None, good, node_errors)
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in reasons)
        refusal = "Prompt outputs failed validation"
        error = _error("prompt_outputs_failed_validation", refusal, details)
        return Verdict(error, [], node_errors)

    def _output(self, output: str) -> bool:
        try:
            return self._node(output)
        except Exception as failure:  # noqa: BLE001  (whatever a node's check raises is an answer)
            error = _error(
                "exception_during_validation",
                "Exception when validating node",
                str(failure),
                exception_type=type_name(failure),
                traceback=traceback.format_tb(failure.__traceback__),
            )
            return self._conclude(output, [error], False)

    def _blame(self, output: str, node_errors: dict[str, Any]) -> None:
        for node_id, errors in self._errors.items():
            if not errors:
                continue
            entry = node_errors.setdefault(
                node_id,
                {
                    "errors": errors,
                    "dependent_outputs": [],
                    "class_type": self._graph[node_id]["class_type"],
                },
            )
            entry["dependent_outputs"].append(output)

    def _node(self, node_id: str) -> bool:
        """Whether a node and all that feeds it can run."""
        if node_id in self._is_valid:
            return self._is_valid[node_id]
        if node_id in self._open:
            # A cycle: ComfyUI recurses until Python stops it, and then has no reason to give.
            return False
        self._open.add(node_id)
        try:
            return self._checked(node_id)
        finally:
            self._open.discard(node_id)

    def _checked(self, node_id: str) -> bool:
        inputs = self._graph[node_id]["inputs"]
        node = CLASSES[self._graph[node_id]["class_type"]]
        types = node.input_types(self._folders)
        errors: list[Error] = []
        is_valid = True
        for group in ("required", "optional"):
            for name, spec in types.get(group, {}).items():
                if name not in inputs:
                    errors += [_missing(name)] if group == "required" else []
                elif isinstance(inputs[name], list):
                    is_valid &= self._link(name, spec, inputs[name], errors)
                else:
                    errors += _value_errors(node, name, spec, inputs)
        errors += self._own_check(node, inputs)
        return self._conclude(node_id, errors, is_valid)

    def _conclude(self, node_id: str, errors: list[Error], is_valid: bool) -> bool:
        self._errors[node_id] = errors
        self._is_valid[node_id] = is_valid and not errors
        return self._is_valid[node_id]

    def _link(self, name: str, spec: Any, link: list[Any], errors: list[Error]) -> bool:
        """Check where an input comes from; False when the node there is at fault, not this link."""
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            errors.append(_input_error("bad_linked_input", message, name, spec, link))
            return True
        source = link[0]
        received = CLASSES[self._graph[source]["class_type"]].outputs[link[1]]
        if not _fits(received, spec[0]):
            errors.append(_mismatch(name, spec, link, received))
            return True
        try:
            return self._node(source)
        except Exception as failure:  # noqa: BLE001  (whatever a node's check raises is an answer)
            error = _error(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                str(failure),
                input_name=name,
                input_config=_config(spec),
                exception_message=str(failure),
                exception_type=type_name(failure),
                traceback=traceback.format_tb(failure.__traceback__),
                linked_node=link,
            )
            return self._conclude(source, [error], False)

    def _own_check(self, node: Node, inputs: dict[str, Any]) -> list[Error]:
        name = node.checked_input
        if node.check is None or name is None:
            return []
        if name not in inputs:
            raise TypeError(
                f"{node.name}.VALIDATE_INPUTS() missing 1 required positional argument: '{name}'"
            )
        value = None if is_link(inputs[name]) else inputs[name]
        problem = node.check(self._folders, value)
        if problem is None:
            return []
        message = "Custom validation failed for node"
        details = f"{name} - {problem}"
        return [_error("custom_validation_failed", message, details, input_name=name)]


def _value_errors(node: Node, name: str, spec: Any, inputs: dict[str, Any]) -> list[Error]:
    """Convert a value to the type of its input, and check range and choice; [] or one error."""
    kind, options = spec[0], _config(spec)[1]
    value = inputs[name]
    try:
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        if isinstance(kind, str) and kind in CONVERSIONS:
            value = inputs[name] = CONVERSIONS[kind](value)
    except Exception as failure:  # noqa: BLE001  (a conversion may raise anything)
        message = f"Failed to convert an input value to a {kind} value"
        error = _input_error("invalid_input_type", message, name, spec, value)
        error["details"] = f"{name}, {value}, {failure}"
        error["extra_info"]["exception_message"] = str(failure)
        return [error]
    if name == node.checked_input:
        return []
    if "min" in options and value < options["min"]:
        message = f"Value {value} smaller than min of {options['min']}"
        return [_input_error("value_smaller_than_min", message, name, spec, value)]
    if "max" in options and value > options["max"]:
        message = f"Value {value} bigger than max of {options['max']}"
        return [_input_error("value_bigger_than_max", message, name, spec, value)]
    if isinstance(kind, list) and value not in kind:
        return [_not_in_list(name, spec, value)]
    return []


def _not_in_list(name: str, spec: Any, value: Any) -> Error:
    error = _input_error("value_not_in_list", "Value not in list", name, spec, value)
    shown = str(spec[0])
    if len(spec[0]) > LONGEST_SHOWN_LIST:
        shown = f"(list of length {len(spec[0])})"
        error["extra_info"]["input_config"] = None
    error["details"] = f"{name}: '{value}' not in {shown}"
    return error


def _mismatch(name: str, spec: Any, link: list[Any], received: str) -> Error:
    return _error(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        f"{name}, received_type({received}) mismatch input_type({spec[0]})",
        input_name=name,
        input_config=_config(spec),
        received_type=received,
        linked_node=link,
    )


def _fits(received: str, wanted: Any) -> bool:
    return bool(wanted in ("*", received))


def _missing(name: str) -> Error:
    return _error("required_input_missing", "Required input is missing", name, input_name=name)


def _input_error(kind: str, message: str, name: str, spec: Any, value: Any) -> Error:
    return _error(
        kind, message, name, input_name=name, input_config=_config(spec), received_value=value
    )


def _config(spec: Any) -> tuple[Any, dict[str, Any]]:
    return (spec[0], spec[1] if len(spec) > 1 else {})


def _error(kind: str, message: str, details: str = "", **extra_info: Any) -> Error:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def type_name(failure: BaseException) -> str:
    """The name of an exception's class as ComfyUI gives it on the wire."""
    kind = type(failure)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
