"""Runs workflows in Python, in a process of its own: `python -m gateway.workflows.python.child FD`.

It reads orders from the socket FD, one line of JSON each, and writes one line for each. What the
code of a workflow prints goes to standard output, which is the gateway's log. It ends, with all
that it started, when the other end of the socket is closed.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import json
import linecache
import os
import queue
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

#: Of one answer; pictures may stand in a graph as base64.
ANSWER_BYTES = 128 * 1024 * 1024
_TRACEBACK = 20_000
_MESSAGE = 500
#: So many mistakes of a request are told.
_PROBLEMS = 100
#: Modules that are kept: a file that is saved often leaves its older versions behind.
_KEPT = 256

Answer = dict[str, Any]


class Mistake(Exception):
    """What is wrong with the code itself, and where."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.answer = {"mistake": {"line": line, "column": column, "message": message}}


class Modules:
    """The code of workflows, run once for each version of it."""

    def __init__(self) -> None:
        self._found: dict[str, types.ModuleType] = {}

    def get(self, source: str, origin: str) -> types.ModuleType:
        """Return the module; raises Mistake."""
        key = hashlib.sha256(f"{origin}\0{source}".encode(errors="replace")).hexdigest()
        if key not in self._found:
            if len(self._found) >= _KEPT:
                oldest = next(iter(self._found))
                sys.modules.pop(self._found.pop(oldest).__name__, None)
            self._found[key] = _module(f"workflow_{key[:16]}", source, origin)
        return self._found[key]


def _module(name: str, source: str, origin: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__file__ = origin
    # For tracebacks: the file may be another by now.
    linecache.cache[origin] = (len(source), None, source.splitlines(keepends=True), origin)
    # pydantic looks up names of annotations here.
    sys.modules[name] = module
    try:
        tree = ast.parse(source, origin)
        exec(compile(tree, origin, "exec"), module.__dict__)  # noqa: S102 - the operator's own code
        _check(module, tree)
    except Mistake:
        del sys.modules[name]
        raise
    except SyntaxError as failure:
        del sys.modules[name]
        line, column = failure.lineno or 1, failure.offset or 1
        raise Mistake(line, max(column, 1), f"this is not Python: {failure.msg}") from None
    except BaseException as failure:
        del sys.modules[name]
        line, column = _place(failure, origin)
        raise Mistake(line, column, f"it raised {_told(failure)}") from failure
    return module


def _check(module: types.ModuleType, tree: ast.Module) -> None:
    """Raise Mistake unless it has a `Request` and a `build` that can be used."""
    import pydantic

    request, build = vars(module).get("Request"), vars(module).get("build")
    if request is None:
        raise Mistake(1, 1, "there is no class Request(pydantic.BaseModel)")
    if not (isinstance(request, type) and issubclass(request, pydantic.BaseModel)):
        raise Mistake(*_defined(tree, "Request"), "Request is not a class of pydantic.BaseModel")
    if issubclass(request, pydantic.RootModel):
        said = "Request is a RootModel, whose values have no names; give it fields"
        raise Mistake(*_defined(tree, "Request"), said)
    if build is None:
        raise Mistake(1, 1, "there is no function build(request)")
    if not callable(build) or inspect.iscoroutinefunction(build):
        raise Mistake(*_defined(tree, "build"), "build is not a plain function: def build(request)")
    try:
        inspect.signature(build).bind(None)
    except TypeError:
        said = "build does not take one argument: def build(request)"
        raise Mistake(*_defined(tree, "build"), said) from None
    for name in ("DESCRIPTION", "ROUTE", "PRESET"):
        if not isinstance(vars(module).get(name), str | None):
            raise Mistake(*_defined(tree, name), f"{name} is not text")
    try:
        schema_of(request)
    except Exception as failure:
        said = f"Request has no JSON Schema: {_told(failure)}"
        raise Mistake(*_defined(tree, "Request"), said) from failure


def _defined(tree: ast.Module, name: str) -> tuple[int, int]:
    """Return where a module defines a name."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [getattr(node, "name", None), *(getattr(one, "id", None) for one in targets)]
        if name in names:
            return node.lineno, node.col_offset + 1
    return 1, 1


def _place(failure: BaseException, origin: str) -> tuple[int, int]:
    """Return where in the file it was raised."""
    frames = traceback.extract_tb(failure.__traceback__)
    here = [frame for frame in frames if frame.filename == origin]
    if not here:
        return 1, 1
    return here[-1].lineno or 1, (here[-1].colno or 0) + 1


def _told(failure: BaseException) -> str:
    try:
        said = str(failure).strip().splitlines()
    except Exception:  # noqa: BLE001 - the operator's own code may be in it
        said = []
    kind = type(failure).__name__
    told = f"{kind}: {said[0]}"[:_MESSAGE] if said else kind
    return told.encode(errors="replace").decode()


def schema_of(request: Any) -> dict[str, Any]:
    """Return the JSON Schema of a `Request`."""
    found: dict[str, Any] = request.model_json_schema()
    if _is_closed(request):
        found["additionalProperties"] = False
    json.dumps(found, allow_nan=False)  # it is sent as JSON
    return found


def _is_closed(request: Any) -> bool:
    """Whether unknown names are refused; what pydantic ignores on its own, we do not."""
    return request.model_config.get("extra") in (None, "forbid")


# The orders


def inspected(modules: Modules, order: dict[str, Any]) -> Answer:
    """Return what a workflow says of itself."""
    module = modules.get(order["source"], order["origin"])
    said = vars(module)
    constants = {name.lower(): said.get(name) for name in ("DESCRIPTION", "ROUTE", "PRESET")}
    return {"schema": schema_of(said["Request"]), **constants}


def built(modules: Modules, order: dict[str, Any]) -> Answer:
    """Return the graph for these values."""
    import pydantic

    module = modules.get(order["source"], order["origin"])
    kind, values = vars(module)["Request"], order["values"]
    unknown = _unknown(kind, values) if _is_closed(kind) else []
    try:
        # As JSON, and strictly: "20" is no integer; a form has nothing but text.
        request = kind.model_validate_json(json.dumps(values), strict=not order["is_form"])
    except pydantic.ValidationError as failure:
        return {"problems": [*_problems(kind, failure), *unknown]}
    if unknown:
        return {"problems": unknown}
    try:
        graph = vars(module)["build"](request)
    except ValueError as failure:
        if not _is_refusal(failure, module):
            raise
        return {"refused": str(failure)[:_MESSAGE] or "build() refused it"}
    return {"graph": graph}


def _is_refusal(failure: ValueError, module: types.ModuleType) -> bool:
    """Whether it was raised to say something: libraries have kinds of their own."""
    return type(failure) is ValueError or type(failure).__module__ == module.__name__


def _unknown(kind: Any, values: dict[str, Any]) -> list[Answer]:
    names = list(dict.fromkeys(_names(kind)))
    known = {*names}
    unknown = (name for name in values if name not in known)
    return [
        {"place": [name], "kind": "unknown", "known": names}
        for name in itertools.islice(unknown, _PROBLEMS)
    ]


def _names(kind: Any) -> Iterator[str]:
    """Yield the names that pydantic reads; a field with an alias goes by that one alone."""
    config = kind.model_config
    is_by_name = config.get("populate_by_name") or config.get("validate_by_name")
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        if alias is None or is_by_name:
            yield name
        if alias is not None and config.get("validate_by_alias", True):
            for choice in getattr(alias, "choices", [alias]):
                yield choice if isinstance(choice, str) else str(choice.path[0])


def _problems(kind: Any, failure: Any) -> list[Answer]:
    schema = kind.model_json_schema()
    found = failure.errors(include_url=False, include_context=False, include_input=False)
    return [
        {
            "place": [str(part) for part in one["loc"]],
            "kind": one["type"],
            "message": one["msg"].removeprefix("Value error, ")[:_MESSAGE],
            "schema": _schema_at(schema, one["loc"]),
        }
        for one in found[:_PROBLEMS]
        if one["type"] != "extra_forbidden" or not _is_closed(kind)
    ]


def _schema_at(schema: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    """Return what the schema says of a place, as far as it is told plainly."""
    found: Any = schema
    for step in place:
        is_index = isinstance(step, int)
        found = found.get("items") if is_index else found.get("properties", {}).get(step)
        if not isinstance(found, dict):
            return {}
        reference = found.get("$ref")
        if isinstance(reference, str):
            found = schema.get("$defs", {}).get(reference.rpartition("/")[2], {})
    return {key: value for key, value in found.items() if key not in ("properties", "$defs")}


ORDERS: dict[str, Callable[[Modules, dict[str, Any]], Answer]] = {
    "inspect": inspected,
    "build": built,
}


def answered(modules: Modules, line: bytes) -> bytes:
    """Carry out one order; whatever the code of a workflow does becomes an answer."""
    order = json.loads(line)
    try:
        answer = ORDERS[order["do"]](modules, order)
        return _encoded(order, answer)
    except Mistake as mistake:
        return _encoded(order, {**mistake.answer, **_trace(mistake.__cause__)})
    except BaseException as failure:  # noqa: BLE001 - sys.exit() and others of the operator's code
        return _encoded(order, {"raised": type(failure).__name__, **_trace(failure)})


def _encoded(order: dict[str, Any], answer: Answer) -> bytes:
    # Half a character, which the gateway could not read, is refused here.
    text = json.dumps({"number": order["number"], **answer}, allow_nan=False, ensure_ascii=False)
    raw = text.encode()
    if len(raw) > ANSWER_BYTES:
        raise OverflowError(f"its graph is larger than {ANSWER_BYTES >> 20} MiB")
    return raw + b"\n"


def _trace(failure: BaseException | None) -> Answer:
    if failure is None:
        return {}
    lines = traceback.format_exception(type(failure), failure, failure.__traceback__, limit=-20)
    return {"traceback": "".join(lines)[-_TRACEBACK:].encode(errors="replace").decode()}


# The process


def main(descriptor: int) -> None:
    """Answer orders until the gateway is gone."""
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A thread: the gateway's end is heard of while a build runs, too.
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    modules = Modules()
    connection.sendall(b"{}\n")
    while True:
        connection.sendall(answered(modules, orders.get()))


def _listen(connection: socket.socket, orders: queue.SimpleQueue[bytes]) -> None:
    try:
        with connection.makefile("rb") as lines:
            for line in lines:
                orders.put(line)
    finally:
        # With whatever the code of a workflow has started.
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
