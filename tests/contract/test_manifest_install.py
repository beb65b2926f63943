"""A manifest carried out: order, progress, failures, models."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import errors
from gateway.manifest.apt import Apt
from gateway.manifest.schema import ModelEntry
from tests.contract.manifest import World, program, watched_programs
from tests.waiting import wait_until

MODELS = """
models:
  before_start:
    - {url: "https://h/1", local_path: loras/1.pt}
    - {url: "https://h/2", local_path: loras/2.pt}
  after_start:
    - {url: "https://h/3", type: vae}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, sys.executable)


class Models:
    """Fetches nothing, and says of some that they cannot be fetched."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[str] = []
        self.go_on = asyncio.Event()

    async def fetch(self, model: ModelEntry) -> str:
        self.asked.append(model.url)
        await self.go_on.wait()
        if model.url in self.refused:
            raise errors.ModelNotFetched("The host said 404.", hint="Look at the URL.")
        return model.filename or "name.pt"


async def test_models_before_the_start_and_after_it(world: World) -> None:
    models = Models()
    installer = world.installer(MODELS, models.fetch)
    before = asyncio.create_task(installer.before_start())
    await wait_until(lambda: len(models.asked) == 2, description="both are fetched at a time")
    models.go_on.set()
    await before
    assert models.asked == ["https://h/1", "https://h/2"]
    assert world.told[0] == "models: 2"
    assert sorted(world.told[1:]) == ["model 1 of 2: loras/1.pt", "model 2 of 2: loras/2.pt"]
    await installer.after_start()
    assert models.asked[2:] == ["https://h/3"]
    assert world.told[-1] == "model 1 of 1: vae/name.pt"
    assert installer.problems == []


async def test_a_model_that_cannot_be_fetched_stops_the_start(world: World) -> None:
    models = Models("https://h/1")
    models.go_on.set()
    installer = world.installer(MODELS, models.fetch)
    with pytest.raises(errors.InstallFailed) as failure:
        await installer.before_start()
    assert failure.value.message == "model loras/1.pt: The host said 404."
    assert failure.value.hint == "Look at the URL."


async def test_all_models_that_cannot_be_fetched_are_named(world: World) -> None:
    models = Models("https://h/1", "https://h/2")
    models.go_on.set()
    with pytest.raises(errors.InstallFailed) as failure:
        await world.installer(MODELS, models.fetch).before_start()
    assert failure.value.message.splitlines() == [
        "model loras/1.pt: The host said 404.",
        "model loras/2.pt: The host said 404.",
    ]


async def test_skip_goes_on_and_logs(world: World) -> None:
    models = Models("https://h/1", "https://h/3")
    models.go_on.set()
    installer = world.installer(MODELS, models.fetch, on_manifest_error="skip")
    with capture_logs() as logged:
        await installer.before_start()
        await installer.after_start()
    assert [problem.message for problem in installer.problems] == [
        "model loras/1.pt: The host said 404.",
        "model https://h/3: The host said 404.",
    ]
    assert [entry["what"] for entry in logged if entry["log_level"] == "error"] == [
        "model loras/1.pt",
        "model https://h/3",
    ]


async def test_after_the_start_nothing_is_stopped(world: World) -> None:
    models = Models("https://h/3")
    models.go_on.set()
    installer = world.installer(MODELS, models.fetch)
    await installer.before_start()
    await installer.after_start()
    assert len(installer.problems) == 1


async def test_a_cancel_reaches_the_models(world: World) -> None:
    models = Models()
    running = asyncio.create_task(world.installer(MODELS, models.fetch).before_start())
    await wait_until(lambda: models.asked, description="models are fetched")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_each_custom_node_is_told_and_one_that_fails_is_skipped(world: World) -> None:
    good = world.repository("good")
    good.commit(node_py="1")
    world.python = program(world.folder / "env", "python", PROBED).as_posix()
    absent = f"file://{world.folder}/absent"
    text = json.dumps({"custom_nodes": [absent, good.url]})
    with capture_logs() as logged:
        installer = await world.install(text, on_manifest_error="skip")
    assert world.told == ["custom node 1 of 2: absent", "custom node 2 of 2: good"]
    assert [problem.message.split(":")[0] for problem in installer.problems] == ["custom node file"]
    assert (world.nodes / "good").is_dir()
    (told,) = [entry for entry in logged if entry["log_level"] == "error"]
    assert "does not appear to be a git repository" in told["output"]


#: A Python that only tells where its packages are.
PROBED = """\
import json, os
here = os.path.dirname(os.path.abspath(__file__))
print(json.dumps(["3.11.0", here, [here + "/packages"], True]))
"""


async def test_the_embedded_engine_has_no_use_for_packages(world: World) -> None:
    given = {"engine": "embedded", "comfy_python": None, "comfy_home": None}
    with capture_logs() as logged, watched_programs() as programs:
        await world.install("pip: [x]\ncustom_nodes: [y]", **given)
    assert programs == []
    assert "set COMFY_HOME, or COMFY_PYTHON" in logged[0]["event"]


async def test_a_lock_that_cannot_be_written_is_named(world: World) -> None:
    world.python = program(world.folder / "env", "python", PROBED).as_posix()
    (world.folder / "file").touch()
    remote = world.repository()
    remote.commit(node_py="1")
    with pytest.raises(errors.InstallFailed, match=r"manifest.lock.json cannot be written"):
        await world.install(
            f"custom_nodes: ['{remote.url}']", state_dir=world.folder / "file" / "state"
        )


APT_GET = """\
import os, sys
words = [word for word in sys.argv[1:] if "::" not in word and word != "-o"]
with open(os.path.join(os.path.dirname(__file__), "apt.log"), "a") as log:
    log.write(" ".join(words) + " " + os.environ["DEBIAN_FRONTEND"] + chr(10))
sys.exit(100 if "absent" in words else 0)
"""


class TestApt:
    async def test_lists_are_updated_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path, "apt-get", APT_GET)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        apt = Apt(is_root=True)
        await apt.install(["ffmpeg", "libgl1=1.6.0-1"])
        with pytest.raises(errors.InstallFailed, match="apt-get ended with status 100"):
            await apt.install(["absent"])
        assert (tmp_path / "apt.log").read_text().splitlines() == [
            "update noninteractive",
            "install -y --no-install-recommends -- ffmpeg libgl1=1.6.0-1 noninteractive",
            "install -y --no-install-recommends -- absent noninteractive",
        ]

    async def test_without_root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program(tmp_path, "apt-get", APT_GET)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(errors.InstallFailed, match="needs root"):
            await Apt(is_root=False).install(["ffmpeg"])

    async def test_without_apt(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(errors.InstallFailed, match="There is no apt-get") as failure:
            await world.install("apt: [no-such-package-here]")
        assert failure.value.message.startswith("apt package no-such-package-here: ")
        assert "Put the packages into the image" in (failure.value.hint or "")
