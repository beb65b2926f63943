"""Packages by a real pip into a real environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import errors
from tests.contract.manifest import World, program, watched_programs, wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("comfy") / "env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin" / "python")


@pytest.fixture
def world(tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return World(tmp_path, python)


def versions(world: World) -> dict[str, str | None]:
    return world.lock.pip


async def test_packages_go_into_comfys_environment_once(world: World) -> None:
    wheel(world.folder / "wheels", "first_pack", "1.0")
    wheel(world.folder / "wheels", "first_pack", "2.0")
    direct = wheel(world.folder / "direct", "by_url", "3.0")
    text = f"pip: ['First-Pack<2', 'by-url @ {direct.as_uri()}']"
    await world.install(text)
    code = "import first_pack, by_url; print(first_pack.version, by_url.version)"
    assert world.import_from_comfy(code) == "1.0 3.0"
    assert list(versions(world).values()) == ["1.0", "3.0"]
    with pytest.raises(ModuleNotFoundError):
        __import__("first_pack")
    environment = world.lock.environment
    assert environment is not None
    assert environment.version == sys.version.split()[0]
    world.told.clear()
    with watched_programs() as programs:
        await world.install(text)
    assert (programs, world.told) == ([], [])


async def test_only_what_is_new_is_installed(world: World) -> None:
    wheel(world.folder / "wheels", "old_pack", "1.0")
    wheel(world.folder / "wheels", "new_pack", "1.0")
    await world.install("pip: [old_pack]")
    with watched_programs() as programs:
        await world.install("pip: [old_pack, new_pack]")
    (command,) = programs
    assert command[-2:] == ["--", "new_pack"]


async def test_a_version_that_was_replaced_comes_back(world: World) -> None:
    for version in ("1.0", "2.0"):
        wheel(world.folder / "wheels", "back_pack", version)
    for version in ("1.0", "2.0", "1.0"):
        await world.install(f"pip: [back_pack=={version}]")
        assert world.import_from_comfy("import back_pack; print(back_pack.version)") == version
        assert versions(world) == {f"back_pack=={version}": version}


async def test_an_environment_that_was_lost_gets_everything_again(world: World) -> None:
    wheel(world.folder / "wheels", "lost_pack", "1.0")
    await world.install("pip: [lost_pack]")
    environment = world.lock.environment
    assert environment is not None
    Path(environment.stamp).unlink()
    await world.install("pip: [lost_pack]")
    assert world.told == ["pip: lost_pack", "pip: lost_pack"]


async def test_two_gateways_share_an_environment(world: World) -> None:
    wheel(world.folder / "wheels", "shared_pack", "1.0")
    for state in ("a", "b"):
        await world.install("pip: [shared_pack]", state_dir=world.folder / state)
    world.told.clear()
    await world.install("pip: [shared_pack]", state_dir=world.folder / "a")
    assert world.told == []


async def test_the_one_that_fails_is_named_and_the_others_are_installed(world: World) -> None:
    wheel(world.folder / "wheels", "good_pack", "1.0")
    installer = await world.install("pip: [absent-pack, good_pack]", on_manifest_error="skip")
    (problem,) = installer.problems
    assert problem.message.startswith("pip package absent-pack: pip ended with status 1")
    assert "No matching distribution found for absent-pack" in problem.last_lines
    assert world.import_from_comfy("import good_pack; print('there')") == "there"
    assert versions(world) == {"good_pack": "1.0"}


async def test_the_one_that_fails_stops_the_start(world: World) -> None:
    with pytest.raises(errors.InstallFailed, match="pip package absent-pack: pip ended"):
        await world.install("pip: [absent-pack]")
    assert versions(world) == {}


async def test_a_nodes_requirements(world: World) -> None:
    wheel(world.folder / "wheels", "node_pack", "1.0")
    remote = world.repository()
    remote.commit(requirements_txt="# what it needs\nnode_pack\n")
    await world.install(f"custom_nodes: ['{remote.url}']")
    assert world.import_from_comfy("import node_pack; print(node_pack.version)") == "1.0"


async def test_a_python_that_is_not_there(world: World) -> None:
    with pytest.raises(errors.InstallFailed, match=r"ComfyUI's Python .*/nowhere. cannot be found"):
        await world.install("pip: [x]", comfy_python="/nowhere")


class TestWithoutPip:
    @pytest.fixture
    def bare(self, world: World) -> World:
        folder = world.folder / "bare"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        world.python = str(folder / "bin" / "python")
        return world

    async def test_there_is_uv(self, bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
        code = "import sys; print(sys.argv[1:], file=open(sys.argv[0] + '.log', 'w'))"
        uv = program(bare.folder / "programs", "uv", code)
        monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
        await bare.install("pip: [some_pack]")
        expected = ["pip", "install", "--no-progress", "--python", bare.python, "--", "some_pack"]
        assert uv.with_name("uv.log").read_text().strip() == str(expected)

    async def test_there_is_no_uv(self, bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(bare.folder))
        with pytest.raises(errors.InstallFailed, match="has no pip, and there is no uv") as failure:
            await bare.install("pip: [some_pack]")
        assert "-m ensurepip" in (failure.value.hint or "")
