"""Workflows in Python: what they are asked, what they answer, and all the ways they may end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from gateway import errors
from gateway.workflows.python.scripts import Scripts
from tests.waiting import wait_until

TIMEOUT_S = 20.0
REQUEST = "import pydantic\nclass Request(pydantic.BaseModel):\n    steps: int = 4\n"
PICTURE = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a"}}}

GOOD = """
from __future__ import annotations
from typing import Literal
from pydantic import BaseModel, Field

DESCRIPTION = "A portrait."
ROUTE = "/portrait"
PRESET = "draft"

class Size(BaseModel):
    width: int = Field(512, ge=64, le=2048)

class Request(BaseModel):
    prompt: str
    steps: int = Field(20, ge=1, le=100, description="How many.")
    kind: Literal["fast", "slow"] = "fast"
    size: Size = Size()

def build(request: Request) -> dict:
    if request.prompt == "refuse me":
        raise ValueError("this prompt is not for us")
    text = {"text": request.prompt, "steps": request.steps, "width": request.size.width}
    return {"6": {"class_type": "CLIPTextEncode", "inputs": text}}
"""


def script(body: str) -> str:
    """Return a workflow whose build() does this."""
    return f"{REQUEST}\ndef build(request):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


WORKS = script(f"return {PICTURE!r}")


@pytest.fixture
async def scripts() -> AsyncIterator[Scripts]:
    async with Scripts.open(TIMEOUT_S) as opened:
        yield opened


async def ran(scripts: Scripts, source: str, **values: Any) -> dict[str, Any]:
    return await scripts.build(source, "/workflows/one.py", values)


async def mistake(scripts: Scripts, source: str) -> errors.ScriptMistake:
    with pytest.raises(errors.ScriptMistake) as caught:
        await scripts.inspect(Path("/workflows/one.py"), source)
    return caught.value


async def problems(scripts: Scripts, source: str, **values: Any) -> dict[str, dict[str, Any]]:
    with pytest.raises(errors.InvalidParameters) as caught:
        await ran(scripts, source, **values)
    return {one["parameter"]: one for one in caught.value.details["errors"]}


NONSENSE = """
import contextlib, os
for number in range(3, 99):
    with contextlib.suppress(OSError):
        os.write(number, b"nonsense\\n")
"""

# What works


async def test_a_workflow_tells_what_it_is(scripts: Scripts) -> None:
    info = await scripts.inspect(Path("/workflows/one.py"), GOOD)

    assert (info.description, info.route, info.preset) == ("A portrait.", "/portrait", "draft")
    assert info.request_schema["required"] == ["prompt"]
    assert info.request_schema["properties"]["steps"]["maximum"] == 100
    assert info.request_schema["additionalProperties"] is False


async def test_it_makes_a_graph(scripts: Scripts) -> None:
    made = await ran(scripts, GOOD, prompt="a lamp", size={"width": 640})

    assert made["6"]["inputs"] == {"text": "a lamp", "steps": 20, "width": 640}


async def test_numbers_may_name_nodes(scripts: Scripts) -> None:
    source = script("return {1: {'class_type': 'A', 'inputs': {}}}")

    assert await ran(scripts, source) == {"1": {"class_type": "A", "inputs": {}}}


async def test_each_version_of_a_file_is_run_as_it_is(scripts: Scripts) -> None:
    other = WORKS.replace("SaveImage", "PreviewImage")

    first, second, third = [await ran(scripts, source) for source in (WORKS, other, WORKS)]

    assert first == third == PICTURE
    assert second["1"]["class_type"] == "PreviewImage"


async def test_many_at_once_each_get_their_own(scripts: Scripts) -> None:
    prompts = [f"number {n}" for n in range(20)]

    made = await asyncio.gather(*(ran(scripts, GOOD, prompt=prompt) for prompt in prompts))

    assert [graph["6"]["inputs"]["text"] for graph in made] == prompts


async def test_a_form_has_nothing_but_text(scripts: Scripts) -> None:
    values = {"prompt": "x", "steps": "7"}

    made = await scripts.build(GOOD, "one.py", values, is_form=True)

    assert made["6"]["inputs"]["steps"] == 7


async def test_large_values_pass(scripts: Scripts) -> None:
    picture = "iVBORw0KGgo" * 500_000

    made = await ran(scripts, GOOD, prompt=picture)

    assert made["6"]["inputs"]["text"] == picture


# Wrong values


async def test_all_wrong_values_are_told_at_once(scripts: Scripts) -> None:
    told = await problems(
        scripts, GOOD, steps="20", kind="fats", size={"width": 9}, stpes=3, other="x" * 5000
    )

    assert told["prompt"]["message"] == "it is required"
    assert told["steps"]["given"] == "20"
    assert told["steps"]["allowed"] == "integer, maximum 100, minimum 1"
    assert "'fast' or 'slow'" in told["kind"]["message"]
    assert told["size.width"]["given"] == 9
    assert told["size.width"]["allowed"] == "integer, maximum 2048, minimum 64"
    assert told["stpes"]["message"] == "there is no such parameter; did you mean steps"
    assert len(told["other"]["given"]) <= 201


async def test_of_thousands_of_mistakes_a_hundred_are_told(scripts: Scripts) -> None:
    told = await problems(scripts, WORKS, **{f"x{number}": 1 for number in range(50_000)})
    assert len(told) == 100


async def test_a_request_that_takes_anything_says_so(scripts: Scripts) -> None:
    source = WORKS.replace("    steps", '    model_config = {"extra": "allow"}\n    steps')

    assert await ran(scripts, source, whatever=1) == PICTURE


@pytest.mark.parametrize(
    ("field", "given", "refused"),
    [
        ("pydantic.Field(4, alias='class')", ["class"], ["steps"]),
        ("pydantic.Field(4, serialization_alias='class')", ["steps"], ["class"]),
        (
            "pydantic.Field(4, validation_alias=pydantic.AliasChoices('a', 'b'))",
            ["a", "b"],
            ["steps"],
        ),
        (
            "pydantic.Field(4, alias='class')\n    model_config = {'populate_by_name': True}",
            ["class", "steps"],
            ["other"],
        ),
    ],
)
async def test_a_field_with_an_alias_goes_by_it(
    scripts: Scripts, field: str, given: list[str], refused: list[str]
) -> None:
    source = WORKS.replace("steps: int = 4", f"steps: int = {field}")

    for name in given:
        assert await ran(scripts, source, **{name: 1}) == PICTURE
    for name in refused:
        told = await problems(scripts, source, **{name: 1})
        assert told[name]["message"].startswith("there is no such parameter")
        assert given[0] in told[name]["allowed"]


async def test_what_is_wrong_as_a_whole_is_told_of_the_input(scripts: Scripts) -> None:
    check = "@pydantic.model_validator(mode='after')\n    def whole(self): raise ValueError('no')"
    source = WORKS.replace("steps: int = 4", f"steps: int = 4\n    {check}")

    with pytest.raises(errors.InvalidParameters, match="input: no") as caught:
        await ran(scripts, source)

    assert caught.value.location == "input"


async def test_a_place_that_no_schema_tells_of_has_no_hint(scripts: Scripts) -> None:
    source = WORKS.replace("steps: int = 4", "sizes: dict[str, dict[str, int]] = {}")

    with pytest.raises(errors.InvalidParameters, match=r"sizes\.a\.b") as caught:
        await ran(scripts, source, sizes={"a": {"b": "x"}})

    assert caught.value.hint is None


async def test_value_error_refuses_the_request(scripts: Scripts) -> None:
    with pytest.raises(errors.InvalidParameters, match="this prompt is not for us") as caught:
        await ran(scripts, GOOD, prompt="refuse me")

    assert caught.value.location == "input"
    assert caught.value.details["errors"][0]["message"] == "this prompt is not for us"


# Code that cannot be used


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("x = (\n", 1, 5, "this is not Python: '(' was never closed"),
        ("x = 1\ny = = 2\n", 2, 5, "this is not Python: invalid syntax"),
        ("x = 1\0", 1, 1, "this is not Python: source code string cannot contain null bytes"),
        ("import no_such_module\n", 1, 1, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\ny = x / 0\n", 2, 5, "it raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", 1, 1, "it raised SystemExit: 3"),
        ("", 1, 1, "there is no class Request(pydantic.BaseModel)"),
        ("x = 1\nclass Request: pass\n", 2, 1, "Request is not a class of pydantic.BaseModel"),
        (
            WORKS.replace("pydantic.BaseModel", "pydantic.RootModel[list]").replace(
                "steps: int = 4", "pass"
            ),
            2,
            1,
            "Request is a RootModel",
        ),
        ("raise ValueError('\\ud800')", 1, 1, "it raised ValueError: ?"),
        (REQUEST, 1, 1, "there is no function build(request)"),
        (REQUEST + "build = 3\n", 4, 1, "build is not a plain function: def build(request)"),
        (REQUEST + "async def build(request): pass", 4, 1, "build is not a plain function"),
        (REQUEST + "def build(): pass", 4, 1, "build does not take one argument"),
        ("ROUTE = 5\n" + WORKS, 1, 1, "ROUTE is not text"),
        ("ROUTE: int = 5\n" + WORKS, 1, 1, "ROUTE is not text"),
        (
            WORKS.replace("steps: int = 4", "x: 'typing.Callable' = print").replace(
                "import", "import typing,"
            ),
            2,
            1,
            "Request has no JSON",
        ),
    ],
)
async def test_a_mistake_has_its_place(
    scripts: Scripts, source: str, line: int, column: int, message: str
) -> None:
    found = await mistake(scripts, source)

    assert message in found.message
    assert (found.line, found.column) == (line, column)


async def test_what_never_ends_at_its_import_is_a_mistake() -> None:
    async with Scripts.open(0.5) as scripts:
        assert "longer than 0.5 s" in (await mistake(scripts, "while True: pass")).message


async def test_what_dies_at_its_import_is_a_mistake(scripts: Scripts) -> None:
    assert "exit status 7" in (await mistake(scripts, "import os; os._exit(7)")).message


# Code that fails


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('secret')", "raised KeyError; the gateway's log has more"),
        ("import sys; sys.exit(0)", "raised SystemExit"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("return build(request)", "raised RecursionError"),
        ("import json; json.loads('{')", "raised JSONDecodeError"),
        ("return None", "returned nothing, and no graph"),
        ("return [1]", "returned list, and no graph"),
        ("return {}", "prompt is empty"),
        ("return {'1': {'inputs': {}}}", "the node has no class_type"),
        ("return {'1': {'class_type': 'A', 'inputs': {'x': float('nan')}}}", "raised ValueError"),
        ("return {'1': {'class_type': 'A', 'inputs': {'x': object()}}}", "raised TypeError"),
        ("g = {}; g['1'] = g; return g", "raised ValueError"),
        ("return {'1': {'class_type': '\\ud800'}}", "raised UnicodeEncodeError"),
        ("raise ValueError('\\ud800')", "raised UnicodeEncodeError"),
        ("import resource, os; os.closerange(3, 99); return {}", "gave no answer"),
        (NONSENSE, "wrote into the pipe"),
    ],
)
async def test_code_that_fails_is_told_and_the_next_one_works(
    scripts: Scripts, body: str, message: str
) -> None:
    with pytest.raises(errors.BuildFailed) as caught:
        await ran(scripts, script(body))

    assert message in f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in caught.value.message
    assert await ran(scripts, WORKS) == PICTURE


async def test_what_never_ends_is_ended() -> None:
    async with Scripts.open(0.5) as scripts:
        with pytest.raises(errors.BuildFailed, match=r"longer than 0\.5 s"):
            await ran(scripts, script("while True: pass"))

    async with Scripts.open(TIMEOUT_S) as scripts:
        assert await ran(scripts, WORKS) == PICTURE


async def test_the_traceback_goes_to_the_log_alone(scripts: Scripts) -> None:
    with structlog.testing.capture_logs() as lines, pytest.raises(errors.BuildFailed) as caught:
        await ran(scripts, script("raise KeyError('what is in it')"))

    logged = [line for line in lines if line["log_level"] == "error"]
    assert "raise KeyError('what is in it')" in logged[0]["exception"]
    assert logged[0]["file"] == "one.py"
    assert "what is in it" not in str(caught.value.to_dict())


async def test_prints_go_to_the_log_and_never_into_the_answer(scripts: Scripts) -> None:
    body = f"""
        import os, sys
        print("one")
        os.write(1, b'{{"number": 1, "graph": {{}}}}\\n')
        os.system("echo three")
        print("four", file=sys.stderr)
        return {PICTURE!r}
    """
    with structlog.testing.capture_logs() as lines:
        assert await ran(scripts, script(body)) == PICTURE
        await wait_until(lambda: len(lines) >= 4, description="all is in the log")

    assert [line["line"] for line in lines] == [
        *("one", '{"number": 1, "graph": {}}', "three", "four")
    ]


async def test_a_flood_of_output_is_cut(scripts: Scripts) -> None:
    body = f"for n in range(200_000): print('x' * 50)\nprint('y' * 10_000_000)\nreturn {PICTURE!r}"
    with structlog.testing.capture_logs() as lines:
        assert await ran(scripts, script(body)) == PICTURE

    assert len(lines) <= 101
    assert lines[-1]["line"] == "it prints more than is logged"


async def test_standard_input_is_empty(scripts: Scripts) -> None:
    with pytest.raises(errors.BuildFailed, match="EOFError"):
        await ran(scripts, script("input()"))


async def test_secrets_of_the_environment_are_not_there(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEYS", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "told")
    body = "import os\nreturn {'1': {'class_type': 'A', 'inputs': dict(os.environ)}}"

    seen = (await ran(scripts, script(body)))["1"]["inputs"]

    assert "told" not in seen.values()
    assert {"PATH", "HOME"} <= seen.keys()


# The process


def child() -> psutil.Process | None:
    """Return the process that runs workflows."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.ZombieProcess):
            if "gateway.workflows.python.child" in process.cmdline():
                return process
    return None


async def test_nothing_runs_before_it_is_needed_or_after(scripts: Scripts) -> None:
    assert child() is None
    await ran(scripts, WORKS)
    found = child()
    assert found is not None

    await scripts.close()

    assert not found.is_running()


async def test_one_that_was_killed_while_idle_is_replaced(scripts: Scripts) -> None:
    await ran(scripts, WORKS)
    found = child()
    assert found is not None
    found.kill()
    # Until then it may end, and have no command line any more, and not be over yet.
    await wait_until(lambda: not psutil.pid_exists(found.pid), description="it is gone")

    assert await ran(scripts, WORKS) == PICTURE


async def test_one_that_is_killed_in_the_middle_fails_its_request_alone(
    scripts: Scripts, tmp_path: Path
) -> None:
    slow = asyncio.create_task(ran(scripts, script(sleeping(tmp_path))))
    others = [asyncio.create_task(ran(scripts, WORKS)) for _ in range(3)]
    await wait_until((tmp_path / "begun").exists, description="it is at it")
    found = child()
    assert found is not None

    os.kill(found.pid, signal.SIGKILL)

    with pytest.raises(errors.BuildFailed, match="signal 9"):
        await slow
    assert await asyncio.gather(*others) == [PICTURE] * 3


def sleeping(folder: Path) -> str:
    """Return what sleeps for long, and says that it has begun."""
    return f"import pathlib, time\npathlib.Path({str(folder / 'begun')!r}).touch()\ntime.sleep(60)"


async def test_a_client_that_leaves_takes_its_build_along(scripts: Scripts, tmp_path: Path) -> None:
    slow = asyncio.create_task(ran(scripts, script(sleeping(tmp_path))))
    await wait_until((tmp_path / "begun").exists, description="it is at it")
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow

    assert await ran(scripts, WORKS) == PICTURE


async def test_what_the_code_started_ends_with_it(scripts: Scripts) -> None:
    body = """
        import subprocess
        started = subprocess.Popen(["sleep", "600"])
        return {"1": {"class_type": "A", "inputs": {"pid": started.pid}}}
    """
    made = await ran(scripts, script(body))
    sleeper = psutil.Process(made["1"]["inputs"]["pid"])

    await scripts.close()

    await wait_until(lambda: not _is_running(sleeper.pid), description="what it started is gone")


async def test_nothing_is_started_once_it_is_closed(scripts: Scripts) -> None:
    await scripts.close()

    with pytest.raises(errors.BuildFailed, match="the gateway is stopping"):
        await ran(scripts, WORKS)
    assert child() is None


DIES = """
import asyncio
from gateway.workflows.python.scripts import Scripts

async def main():
    await Scripts().build(SOURCE, "one.py", {})

asyncio.run(main())
"""


async def test_it_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    body = f"""
        import os, pathlib, subprocess
        started = subprocess.Popen(["sleep", "600"])
        pids = f"{{os.getpid()}} {{started.pid}} "
        pathlib.Path({str(tmp_path / "pids")!r}).write_text(pids)
        while True: pass
    """
    program = f"SOURCE = {script(body)!r}\n{DIES}"
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    pids = await wait_until(lambda: _pids(tmp_path / "pids"), description="the code runs")

    gateway.kill()
    await gateway.wait()

    await wait_until(lambda: not any(_is_running(pid) for pid in pids), description="both are gone")


def _pids(path: Path) -> list[int]:
    text = path.read_text() if path.exists() else ""
    return [int(pid) for pid in text.split()] if text.endswith(" ") else []


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
