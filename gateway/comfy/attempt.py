"""One run of one graph in ComfyUI, told by its frames."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway import errors, graph
from gateway.comfy.events import Frame, Preview
from gateway.comfy.observer import FileRef, Observer, Progress

_PATH = re.compile(r'File "([^"]+)"')
_FOLDER = re.compile(r"(?:/[^\s'\"/]+)+/(?=[^\s'\"/]+)")
#: The end of the calendar: what a frame tells beyond is no time.
_LATEST_MS = 253_402_300_799_000


@dataclass(frozen=True)
class Execution:
    """What came of an attempt that succeeded; times are milliseconds since 1970."""

    prompt_id: str
    files: list[FileRef]
    texts: list[tuple[str, str]]
    cached: list[str]
    node_errors: dict[str, Any]
    start: float
    end: float
    node_starts: dict[str, float]
    warnings: list[str] = field(default_factory=list)


@dataclass
class Attempt:
    """Collects the frames of one prompt_id; `over` is set when ComfyUI is done with it."""

    prompt_id: str
    workflow: graph.Graph
    observer: Observer
    on_node: Callable[[str, float], None]
    result: asyncio.Future[Execution]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    started: bool = False
    node_errors: dict[str, Any] = field(default_factory=dict)
    #: Nodes of output classes: until they are done, files may come to stand before others.
    output_nodes: frozenset[str] = frozenset()
    last_change: float = field(default_factory=time.monotonic)
    is_missing: bool = False
    #: Frames were missed while the connection was down: only /history knows all outputs.
    has_gaps: bool = False
    _outputs: dict[str, Any] = field(default_factory=dict)
    _cached: list[str] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    #: Nodes that made others at run time, which report under their name.
    _grown: set[str] = field(default_factory=set)
    _starts: dict[str, float] = field(default_factory=dict)
    _start: float = 0.0
    _node: str | None = None
    _node_since: float = 0.0
    _value: float = 0.0

    def take(self, frame: Frame) -> None:
        """Take one frame; unknown types count as a sign of life and nothing else."""
        self.last_change = time.monotonic()
        handler = _HANDLERS.get(frame.type)
        if handler is not None:
            handler(self, frame.data)
        self.observer.on_frame(frame)

    def take_preview(self, preview: Preview) -> None:
        """Take a picture of the progress; an old core does not say of which node."""
        self.observer.on_preview(replace(preview, node_id=preview.node_id or self._node))

    def _execution_start(self, data: dict[str, Any]) -> None:
        self.started = True
        self._start = _milliseconds(data)
        self._report()

    def _execution_cached(self, data: dict[str, Any]) -> None:
        self._cached = [node for node in _list(data.get("nodes")) if isinstance(node, str)]
        self._done.update(self._cached)
        self._report()

    def _executing(self, data: dict[str, Any]) -> None:
        self._close_node()
        node = data.get("node")
        if isinstance(node, str):
            self.started = True
            self._node, self._node_since = node, time.monotonic()
            self._starts.setdefault(node, _milliseconds(data))
            self._report()
        else:
            self.over.set()

    def _progress(self, data: dict[str, Any]) -> None:
        step, steps = data.get("value"), data.get("max")
        if isinstance(step, int | float) and isinstance(steps, int | float) and steps > 0:
            self._report(_whole(step), _whole(steps))

    def _executed(self, data: dict[str, Any]) -> None:
        node = data.get("display_node")
        if not isinstance(node, str) or node not in self.workflow:
            node = str(data.get("node"))
        elif node != data.get("node"):
            self._grown.add(node)
        self._done.add(node)
        self._keep(node, data.get("output"))
        self._report()
        self._report_files()

    def _keep(self, node: str, output: Any) -> None:
        if isinstance(output, dict):
            # A node inside a loop or a subgraph reports more than once: all of it counts.
            self._outputs.setdefault(node, []).append(output)

    def _execution_success(self, data: dict[str, Any]) -> None:
        self._close_node()
        if not self.has_gaps:
            self.succeed(_milliseconds(data))

    def _execution_error(self, data: dict[str, Any]) -> None:
        self.fail(execution_failed(data))

    def _execution_interrupted(self, _: dict[str, Any]) -> None:
        self.fail(errors.JobCancelled("The job was interrupted in ComfyUI."))

    def succeed(self, end: float) -> None:
        """Settle the attempt with what its frames told."""
        if self.result.done():
            return
        start = self._start or end
        self.result.set_result(
            Execution(
                self.prompt_id,
                self.files(),
                collect_texts(self.workflow, self._outputs),
                self._cached,
                self.node_errors,
                start,
                max(end, start),
                self._starts,
            )
        )

    def files(self) -> list[FileRef]:
        """Return the files it has reported so far."""
        return collect_files(self.workflow, self._outputs)

    def fail(self, failure: BaseException) -> None:
        """Settle the attempt with a failure."""
        if not self.result.done():
            self.result.set_exception(failure)

    def restore(self, entry: dict[str, Any]) -> None:
        """Settle the attempt from its entry in /history, after frames were missed."""
        status = _dict(entry.get("status"))
        for message in _list(status.get("messages")):
            kind, data = message if isinstance(message, list) and len(message) == 2 else ("", None)
            if isinstance(data, dict) and kind != "execution_success":
                self.take(Frame(str(kind), data))
        self._outputs = {}
        for node, output in _dict(entry.get("outputs")).items():
            self._keep(node, output)
        if status.get("status_str") != "error":
            self.succeed(time.time() * 1000)
        self.fail(errors.ExecutionFailed("ComfyUI reports that the workflow failed."))
        self.over.set()

    def _close_node(self) -> None:
        if self._node is not None:
            class_type = self.workflow.get(self._node, {}).get("class_type", "other")
            self.on_node(class_type, time.monotonic() - self._node_since)
            self._done.add(self._node)
            self._node = None

    def _report(self, step: float | None = None, steps: float | None = None) -> None:
        total = max(len(self.workflow), 1)
        done = len(self._done & self.workflow.keys())
        part = min(step / steps, 1.0) if step is not None and steps else 0.0
        self._value = max(self._value, min((done + part) / total, 1.0))
        node = self._node
        class_type = self.workflow.get(node, {}).get("class_type") if node else None
        self.observer.on_progress(Progress(self._value, node, class_type, done, total, step, steps))

    def _report_files(self) -> None:
        files = self.files()
        if files:
            self.observer.on_files(files, _settled(files, self.workflow, self._open()))

    def _open(self) -> set[str]:
        """Return the nodes that may still report files."""
        return {*(self.output_nodes - self._done), *self._grown}


def _settled(files: list[FileRef], workflow: graph.Graph, may_report: set[str]) -> int:
    """Return how many of the first files will keep their place."""
    sure = set(itertools.takewhile(lambda node: node not in may_report, workflow))
    return sum(1 for _ in itertools.takewhile(lambda ref: ref.node_id in sure, files))


_HANDLERS: dict[str, Callable[[Attempt, dict[str, Any]], None]] = {
    "execution_start": Attempt._execution_start,
    "execution_cached": Attempt._execution_cached,
    "executing": Attempt._executing,
    "progress": Attempt._progress,
    "executed": Attempt._executed,
    "execution_success": Attempt._execution_success,
    "execution_error": Attempt._execution_error,
    "execution_interrupted": Attempt._execution_interrupted,
}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _milliseconds(data: dict[str, Any]) -> float:
    stamp = data.get("timestamp")
    if isinstance(stamp, int | float) and 0 <= stamp <= _LATEST_MS:
        return float(stamp)
    return time.time() * 1000


def _in_order(workflow: graph.Graph, outputs: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return (node, output) in the order of the graph; nodes a graph grew at run time come last."""
    known = [node for node in workflow if node in outputs]
    grown = [node for node in outputs if node not in workflow]
    return [(node, output) for node in known + grown for output in outputs[node]]


def collect_files(workflow: graph.Graph, outputs: dict[str, Any]) -> list[FileRef]:
    """Return every file under any key, in the order of nodes and, within a node, as reported."""
    found: dict[FileRef, None] = {}
    for node, output in _in_order(workflow, outputs):
        for value in output.values():
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, dict) and isinstance(entry.get("filename"), str):
                    ref = FileRef(
                        node,
                        entry["filename"],
                        str(entry.get("subfolder") or ""),
                        str(entry.get("type") or "output"),
                    )
                    found[ref] = None
    return list(found)


def collect_texts(workflow: graph.Graph, outputs: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (node, text) of every text under any key."""
    return [
        (node, entry)
        for node, output in _in_order(workflow, outputs)
        for value in output.values()
        for entry in (value if isinstance(value, list) else [value])
        if isinstance(entry, str)
    ]


def _whole(number: float) -> float:
    """Return 11 for the 11.0 that ComfyUI counts a step as."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def execution_failed(data: dict[str, Any]) -> errors.ExecutionFailed:
    """Translate an execution_error frame; paths in it are cut to their file names."""
    kind = str(data.get("exception_type") or "Exception")
    message = _FOLDER.sub("", str(data.get("exception_message") or "").strip())[:2000]
    class_type, node_id = data.get("node_type"), data.get("node_id")
    frames = data.get("traceback")
    return errors.ExecutionFailed(
        f"Node {node_id} ({class_type}) raised {kind}: {message}",
        node_id=str(node_id),
        class_type=str(class_type),
        exception_type=kind,
        exception_message=message,
        traceback=node_traceback(frames) if isinstance(frames, list) else [],
    )


#: Frames of ComfyUI's own executor, below which the node's own frames begin.
_EXECUTOR = "execution.py"


def node_traceback(lines: list[Any]) -> list[str]:
    """Return the node's own frames, each path cut to its file name."""
    texts = [line for line in lines if isinstance(line, str)]
    own = [line for line in texts if f'{_EXECUTOR}"' not in line.split("\n")[0]]
    return [
        _FOLDER.sub("", _PATH.sub(lambda found: f'File "{_base(found[1])}"', line))
        for line in own or texts
    ]


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
