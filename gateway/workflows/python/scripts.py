"""Workflows in Python: their code runs in a process of its own, never in the gateway's."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway import errors, graph
from gateway.log import logger
from gateway.workflows import values as parameter_values
from gateway.workflows.files.conversion import Definitions, converted
from gateway.workflows.python.process import Died, ScriptProcess
from gateway.workflows.turns import in_turn

#: The longest that the code of a workflow may take, at its import and for a graph.
TIMEOUT_S = 10.0
#: What JSON Schema says beside what is allowed.
_FOR_PEOPLE = ("title", "description", "default", "examples")
_SAID = 300


@dataclass(frozen=True)
class ScriptInfo:
    """What a workflow in Python says of itself."""

    request_schema: dict[str, Any]
    description: str | None = None
    route: str | None = None
    preset: str | None = None


class Scripts:
    """The process that runs them: started when it is needed, and anew after its end."""

    def __init__(self, timeout_s: float = TIMEOUT_S, definitions: Definitions = dict) -> None:
        self._timeout_s = timeout_s
        self._definitions = definitions
        self._process: ScriptProcess | None = None
        # One at a time: a build takes a millisecond, and whose fault a death is stays plain.
        self._turn = asyncio.Lock()
        self._is_closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, timeout_s: float = TIMEOUT_S, definitions: Definitions = dict
    ) -> AsyncIterator[Scripts]:
        """Return what runs workflows in Python; nothing is left of its process at the end."""
        scripts = cls(timeout_s, definitions)
        try:
            yield scripts
        finally:
            await scripts.close()

    async def close(self) -> None:
        """End the process, and start no other."""
        self._is_closed = True
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    async def inspect(self, path: Path, source: str) -> ScriptInfo:
        """Return what the code says of itself; raises ScriptMistake."""
        try:
            answer = await self._asked({"do": "inspect", "source": source, "origin": str(path)})
        except (Died, TimeoutError, OSError) as failure:
            raise errors.ScriptMistake(
                1, 1, f"it could not be read: {_why(failure, self)}"
            ) from None
        if "mistake" in answer:
            raise errors.ScriptMistake(**answer["mistake"])
        if "schema" not in answer:
            raise errors.ScriptMistake(1, 1, f"it raised {answer.get('raised')}")
        said = {name: answer.get(name) for name in ("description", "route", "preset")}
        return ScriptInfo(answer["schema"], **said)

    async def build(
        self, source: str, origin: Path | str, values: Mapping[str, Any], *, is_form: bool = False
    ) -> graph.Graph:
        """Return the graph that the code makes of these values.

        `is_form`: values are text, and read by the types of the `Request`.
        Raises InvalidParameters, BuildFailed; NotReady where it is in the format of the canvas,
        and ComfyUI is not known yet.
        """
        order = {"do": "build", "source": source, "origin": str(origin)}
        try:
            answer = await self._asked({**order, "values": dict(values), "is_form": is_form})
        except (Died, TimeoutError, OSError) as failure:
            logger.error("the code of a workflow failed", file=Path(origin).name, why=str(failure))
            raise errors.BuildFailed(
                f"The code of this workflow gave no answer: {_why(failure, self)}."
            ) from None
        _check_ran(answer, str(origin))
        if "problems" in answer:
            raise _refusal(answer["problems"], values)
        if "refused" in answer:
            problem = parameter_values.problem("input", None, "", answer["refused"])
            raise errors.InvalidParameters(answer["refused"], location="input", errors=[problem])
        return await self._checked(answer.get("graph"))

    async def _checked(self, made: Any) -> graph.Graph:
        if not isinstance(made, dict):
            kind = "nothing" if made is None else type(made).__name__
            raise errors.BuildFailed(f"The code of this workflow returned {kind}, and no graph.")
        try:
            if graph.is_ui_format(made):
                return (await in_turn(partial(converted, made, self._definitions()))).graph
            return graph.check_shape(made)
        except errors.RequestRefused as failure:
            raise errors.BuildFailed(
                f"The code of this workflow returned no graph: {failure.message}",
                hint=failure.hint,
                **failure.details,
            ) from None

    async def _asked(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have the process carry out an order; it is ended when it gives no answer in time."""
        async with self._turn:
            process = await self._running()
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await process.ask(order)
            except BaseException:
                # What it does now is for nobody, and its answer would be taken for another's.
                await self._end()
                raise

    async def _running(self) -> ScriptProcess:
        if self._process is not None and not self._process.is_alive:
            await self._end()
        if self._is_closed:
            raise Died("the gateway is stopping")
        if self._process is None:
            self._process = await ScriptProcess.start()
        return self._process


def _why(failure: Exception, scripts: Scripts) -> str:
    if isinstance(failure, TimeoutError):
        return f"it took longer than {scripts._timeout_s:g} s"
    return str(failure)


def _check_ran(answer: dict[str, Any], origin: str) -> None:
    """Raise BuildFailed when the code raised; its traceback goes to the log."""
    if "mistake" not in answer and "raised" not in answer:
        return
    # GET /logs leaves out what is called so.
    logger.error(
        "the code of a workflow failed",
        file=Path(origin).name,
        exception=answer.get("traceback", ""),
    )
    what = answer.get("raised") or answer["mistake"]["message"]
    raise errors.BuildFailed(
        f"The code of this workflow raised {what}; the gateway's log has more."
    )


def _refusal(problems: list[dict[str, Any]], given: Mapping[str, Any]) -> errors.InvalidParameters:
    found = parameter_values.refusal([_problem(one, given) for one in problems])
    if not problems[0]["place"]:
        found.location = "input"
    return found


def _problem(one: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    place = one["place"]
    name = ".".join(place) or "input"
    value = _at(given, place)
    if one["kind"] == "unknown":
        close = difflib.get_close_matches(name[:200], one["known"], n=1)
        meant = f"; did you mean {close[0]}" if close else ""
        known = ", ".join(one["known"]) or "none"
        said = f"there is no such parameter{meant}"
        return parameter_values.problem(name, value, f"one of the parameters {known}", said)
    message = "it is required" if one["kind"] == "missing" else one["message"]
    message = message[:1].lower() + message[1:].rstrip(".")
    return parameter_values.problem(name, value, _allowed(one["schema"] or {}), message)


def _at(given: Any, place: list[str]) -> Any:
    for part in place:
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(given, list) and part.isdecimal() and int(part) < len(given):
            given = given[int(part)]
        else:
            return None
    return given


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say what JSON Schema says of a value, less what is for people."""
    found = {key: value for key, value in schema.items() if key not in _FOR_PEOPLE}
    kind = found.pop("type", None)
    told = [str(kind)] if isinstance(kind, str) else []
    told += [f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in found.items()]
    return ", ".join(told)[:_SAID]
