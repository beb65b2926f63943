"""Custom nodes out of real git repositories, and through a comfy-cli."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway import errors
from tests.contract.manifest import Repository, World, git, program, watched_programs
from tests.listening import listening
from tests.waiting import wait_until


@pytest.fixture
def world(tmp_path: Path) -> World:
    # Nothing is installed here by pip, so any Python will do.
    return World(tmp_path, program(tmp_path / "env", "python", PYTHON).as_posix())


#: A Python whose packages lie beside it, where nobody else's are.
PYTHON = f"""\
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
if "json.dumps" in sys.argv[-1]:
    print(json.dumps(["3.11.0", here, [here + "/packages"], True]))
    sys.exit()
if sys.argv[1:3] == ["-m", "pip"]:
    open(here + "/pip.log", "a").write(json.dumps(sys.argv[1:]) + chr(10))
    sys.exit("refuse" in open(sys.argv[-1]).read() if sys.argv[-1].endswith(".txt") else 0)
os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
"""


def pip_runs(world: World) -> list[list[str]]:
    log = world.folder / "env" / "pip.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def manifest(*entries: str) -> str:
    return json.dumps({"custom_nodes": list(entries)})


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD")


class TestRefs:
    @pytest.mark.parametrize("ref", ["main", "feature/x", "v1", "annotated", "SHA", "SHORT", ""])
    async def test_each_is_checked_out_at_its_exact_commit(self, world: World, ref: str) -> None:
        remote = world.repository()
        wanted = remote.commit(node_py="1")
        git(remote.folder, "tag", "v1")
        git(
            remote.folder, "-c", "user.name=x", "-c", "user.email=x", "tag", "-am", "x", "annotated"
        )
        git(remote.folder, "branch", "feature/x")
        if ref in ("SHA", "SHORT"):
            ref = wanted[: 40 if ref == "SHA" else 10]
        if ref not in ("main", ""):
            remote.commit(node_py="2")
        await world.install(manifest(f"{remote.url}@{ref}" if ref else remote.url))
        assert head(world.nodes / "node") == wanted
        assert (world.nodes / "node" / "node.py").read_text() == "1"
        assert world.lock.custom_nodes["node"].resolved == wanted
        assert [entry.name for entry in world.nodes.iterdir()] == ["node"]

    async def test_only_the_wanted_commit_is_fetched(self, world: World) -> None:
        remote = world.repository()
        for number in range(5):
            remote.commit(node_py=str(number))
        await world.install(manifest(remote.url))
        assert git(world.nodes / "node", "rev-list", "--count", "HEAD") == "1"
        assert git(world.nodes / "node", "remote", "get-url", "origin") == remote.url

    @pytest.mark.parametrize("ref", ["absent", "0123456789abcdef0123456789abcdef01234567"])
    async def test_one_that_is_not_there(self, world: World, ref: str) -> None:
        remote = world.repository()
        remote.commit(node_py="1")
        with pytest.raises(errors.InstallFailed, match=f"no branch, tag or commit '{ref}'") as told:
            await world.install(manifest(f"{remote.url}@{ref}"))
        assert told.value.hint
        assert list(world.nodes.iterdir()) == []

    async def test_with_its_submodules(self, world: World) -> None:
        inner, remote = world.repository("inner"), world.repository()
        inner.commit(part_py="inside")
        allowed = ("-c", "protocol.file.allow=always")
        git(remote.folder, *allowed, "submodule", "--quiet", "add", inner.url, "inner")
        remote.commit(node_py="1")
        await world.install(manifest(remote.url))
        assert (world.nodes / "node" / "inner" / "part.py").read_text() == "inside"

    async def test_a_repository_that_is_not_there(self, world: World) -> None:
        with pytest.raises(errors.InstallFailed, match=r"custom node file.*absent") as failure:
            await world.install(manifest(f"file://{world.folder}/absent"))
        assert "does not appear to be a git repository" in failure.value.last_lines


class TestSecondStart:
    async def test_nothing_is_run(self, world: World) -> None:
        remote = world.repository()
        remote.commit(requirements_txt="x", install_py="open('ran', 'a').write('1')")
        await world.install(manifest(remote.url))
        world.told.clear()
        with watched_programs() as programs:
            await world.install(manifest(remote.url))
        assert programs == []
        assert world.told == []
        assert (world.nodes / "node" / "ran").read_text() == "1"

    async def test_a_node_without_a_ref_is_not_updated(self, world: World) -> None:
        remote = world.repository()
        first = remote.commit(node_py="1")
        await world.install(manifest(remote.url))
        remote.commit(node_py="2")
        await world.install(manifest(remote.url))
        assert head(world.nodes / "node") == first

    async def test_a_node_that_vanished_is_installed_again(self, world: World) -> None:
        remote = world.repository()
        remote.commit(requirements_txt="x")
        await world.install(manifest(remote.url))
        git(world.folder, "init", "--quiet")  # whatever lies around it
        (world.nodes / "node").rename(world.folder / "elsewhere")
        await world.install(manifest(remote.url))
        assert (world.nodes / "node" / ".git").is_dir()
        assert len(pip_runs(world)) == 2

    async def test_another_ref_is_checked_out(self, world: World) -> None:
        remote = world.repository()
        first = remote.commit(node_py="1", install_py="open('ran', 'a').write('1')")
        git(remote.folder, "tag", "v1")
        second = remote.commit(node_py="2")
        await world.install(manifest(remote.url))
        (world.nodes / "node" / "mine.txt").write_text("kept")
        await world.install(manifest(f"{remote.url}@v1"))
        assert head(world.nodes / "node") == first != second
        assert (world.nodes / "node" / "mine.txt").read_text() == "kept"
        assert (world.nodes / "node" / "ran").read_text() == "11"
        await world.install(manifest(f"{remote.url}@main"))
        assert head(world.nodes / "node") == second

    async def test_changed_requirements_are_installed(self, world: World) -> None:
        remote = world.repository()
        remote.commit(requirements_txt="x")
        await world.install(manifest(remote.url))
        (world.nodes / "node" / "requirements.txt").write_text("y")
        await world.install(manifest(remote.url))
        assert len(pip_runs(world)) == 2

    async def test_a_new_environment_gets_the_requirements_again(self, world: World) -> None:
        remote = world.repository()
        remote.commit(requirements_txt="x", install_py="open('ran', 'a').write('1')")
        await world.install(manifest(remote.url))
        (stamp,) = (world.folder / "env" / "packages").iterdir()
        stamp.unlink()
        await world.install(manifest(remote.url))
        assert len(pip_runs(world)) == 2
        assert (world.nodes / "node" / "ran").read_text() == "11"

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1, "pip": 3}', "\x00"])
    async def test_a_lock_that_is_lost_or_broken(self, world: World, content: str) -> None:
        remote = world.repository()
        commit = remote.commit(node_py="1")
        await world.install(manifest(remote.url))
        (world.folder / "state" / "manifest.lock.json").write_text(content)
        await world.install(manifest(remote.url))
        assert world.lock.custom_nodes["node"].resolved == commit


class TestFoldersThatAreThere:
    async def test_anothers_repository_is_left_alone(self, world: World) -> None:
        ours, other = world.repository(), Repository(world.folder / "others" / "node")
        ours.commit(node_py="1")
        theirs = other.commit(node_py="2")
        world.nodes.mkdir()
        git(world.nodes, "clone", "--quiet", other.url)
        with pytest.raises(errors.InstallFailed, match=f"a repository of {other.url}, not") as told:
            await world.install(manifest(ours.url))
        assert "Move it away" in (told.value.hint or "")
        assert head(world.nodes / "node") == theirs

    async def test_local_changes_are_left_alone(self, world: World) -> None:
        remote = world.repository()
        remote.commit(node_py="1")
        git(remote.folder, "tag", "v1")
        remote.commit(node_py="2")
        await world.install(manifest(remote.url))
        (world.nodes / "node" / "node.py").write_text("mine")
        with pytest.raises(errors.InstallFailed, match="has local changes") as failure:
            await world.install(manifest(f"{remote.url}@v1"))
        assert "M node.py" in failure.value.last_lines
        assert (world.nodes / "node" / "node.py").read_text() == "mine"

    async def test_a_file_in_the_way_is_left_alone(self, world: World) -> None:
        remote = world.repository()
        remote.commit(node_py="1")
        git(remote.folder, "branch", "more")
        await world.install(manifest(remote.url))
        git(remote.folder, "checkout", "--quiet", "more")
        remote.commit(mine_txt="theirs")
        (world.nodes / "node" / "mine.txt").write_text("mine")
        with pytest.raises(errors.InstallFailed, match="git ended with status 1"):
            await world.install(manifest(f"{remote.url}@more"))
        assert (world.nodes / "node" / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize("kind", ["folder", "file", "dangling"])
    async def test_what_is_no_repository_is_left_alone(self, world: World, kind: str) -> None:
        remote = world.repository()
        remote.commit(node_py="1")
        world.nodes.mkdir()
        path = world.nodes / "node"
        if kind == "folder":
            path.mkdir()
            (path / "mine").write_text("mine")
        elif kind == "file":
            path.write_text("mine")
        else:
            path.symlink_to("nowhere")
        with pytest.raises(errors.InstallFailed, match="is no git repository"):
            await world.install(manifest(remote.url))
        assert os.path.lexists(path / "mine" if kind == "folder" else path)

    async def test_a_clone_by_hand_is_adopted(self, world: World) -> None:
        remote = world.repository()
        first = remote.commit(requirements_txt="x")
        world.nodes.mkdir()
        git(world.nodes, "clone", "--quiet", remote.url)
        remote.commit(node_py="2")
        await world.install(manifest(remote.url))
        assert head(world.nodes / "node") == first
        assert len(pip_runs(world)) == 1


class TestSteps:
    async def test_requirements_and_script_run_with_comfys_python(self, world: World) -> None:
        remote = world.repository()
        remote.commit(
            requirements_txt="x",
            install_py="import os; open('ran', 'w').write(os.environ['COMFYUI_PATH'])",
        )
        await world.install(manifest(remote.url))
        (run,) = pip_runs(world)
        folder = world.nodes / "node"
        assert run[:3] == ["-m", "pip", "install"]
        assert run[-2:] == ["--requirement", str(folder / "requirements.txt")]
        assert (folder / "ran").read_text() == str(world.folder / "ComfyUI")

    async def test_the_images_constraints_hold(self, world: World) -> None:
        (world.folder / "env" / "constraints.txt").write_text("torch==2.0")
        remote = world.repository()
        remote.commit(requirements_txt="x")
        await world.install(manifest(remote.url))
        (run,) = pip_runs(world)
        assert str(world.folder / "env" / "constraints.txt") in run

    async def test_a_step_that_failed_is_taken_again(self, world: World) -> None:
        remote = world.repository()
        remote.commit(requirements_txt="refuse")
        with pytest.raises(errors.InstallFailed, match=r"custom node file.*node: pip ended"):
            await world.install(manifest(remote.url))
        with pytest.raises(errors.InstallFailed):
            await world.install(manifest(remote.url))
        assert len(pip_runs(world)) == 2

    async def test_a_script_that_fails_is_named_with_its_output(self, world: World) -> None:
        remote = world.repository()
        remote.commit(install_py="raise SystemExit('no compiler here')")
        with pytest.raises(errors.InstallFailed, match="custom node") as failure:
            await world.install(manifest(remote.url))
        assert "no compiler here" in failure.value.last_lines


@pytest.fixture
async def server(world: World) -> AsyncIterator[Any]:
    """A plain file server that wants a password; git can fetch from it, slowly and whole."""
    folder = world.folder / "remotes"
    state: dict[str, Any] = {"hang": False, "seen": []}

    async def answer(request: web.Request) -> web.StreamResponse:
        expected = base64.b64encode(b"me:planted-secret").decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        state["seen"].append(request.path)
        if state["hang"] and "/objects/" in request.path:
            await asyncio.Event().wait()
        path = folder / request.path.lstrip("/")
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    async with listening(web.get("/{path:.*}", answer)) as url:
        state["url"] = f"{url.replace('//', '//me:planted-secret@')}/node/.git"
        yield state


def dumb(remote: Repository) -> None:
    """Make a repository fit for a server that knows nothing of git."""
    bare = remote.folder.parent / "bare.git"
    git(remote.folder, "clone", "--quiet", "--bare", ".", str(bare))
    git(bare, "update-server-info")


class TestOverHttp:
    async def test_a_password_reaches_the_server_and_nothing_else(
        self, world: World, server: Any
    ) -> None:
        remote = world.repository()
        commit = remote.commit(node_py="1")
        dumb(remote)
        url = server["url"].replace("node/.git", "bare.git")
        with capture_logs() as logged, watched_programs() as programs:
            await world.install(manifest(f"{url}@{commit[:12]}"))
        assert head(world.nodes / "bare") == commit
        lock = (world.folder / "state" / "manifest.lock.json").read_text()
        config = (world.nodes / "bare" / ".git" / "config").read_text()
        assert "planted-secret" not in f"{logged} {programs} {lock} {config} {world.told}"
        assert base64.b64encode(b"me:planted-secret").decode() not in f"{programs} {config}"

    async def test_a_kill_leaves_nothing_that_looks_whole(self, world: World, server: Any) -> None:
        remote = world.repository()
        commit = remote.commit(node_py="1")
        dumb(remote)
        text = manifest(server["url"].replace("node/.git", "bare.git"))
        server["hang"] = True
        code = (
            "import asyncio, pathlib, sys\n"
            "from tests.contract.manifest import World\n"
            "world = World(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
            "asyncio.run(world.install(sys.argv[3]))\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, str(world.folder), world.python, text),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        await wait_until(
            lambda: any("/objects/" in path for path in server["seen"]),
            description="git is under way",
            timeout=20,
        )
        process.send_signal(signal.SIGKILL)
        await process.wait()
        (left,) = world.nodes.iterdir()
        assert left.name.endswith(".disabled")  # which ComfyUI does not load
        server["hang"] = False
        await world.install(text)
        assert head(world.nodes / "bare") == commit
        assert [entry.name for entry in world.nodes.iterdir()] == ["bare"]

    async def test_a_cancel_leaves_nothing(self, world: World, server: Any) -> None:
        remote = world.repository()
        remote.commit(node_py="1")
        dumb(remote)
        server["hang"] = True
        text = manifest(server["url"].replace("node/.git", "bare.git"))
        running = asyncio.create_task(world.install(text))
        await wait_until(
            lambda: any("/objects/" in path for path in server["seen"]),
            description="git is under way",
        )
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert list(world.nodes.iterdir()) == []


async def test_a_checkout_that_was_killed_is_finished(world: World) -> None:
    remote = world.repository()
    first = remote.commit(node_py="1")
    git(remote.folder, "tag", "v1")
    remote.commit(node_py="2")
    await world.install(manifest(remote.url))
    folder = world.nodes / "node"
    git(folder, "fetch", "--quiet", "origin", "tag", "v1")
    # As a kill in the middle of it leaves the folder and the lock.
    path = world.folder / "state" / "manifest.lock.json"
    lock = json.loads(path.read_text())
    lock["custom_nodes"]["node"]["changing_to"] = first
    path.write_text(json.dumps(lock))
    (folder / "node.py").write_text("half")
    (folder / ".git" / "index.lock").touch()
    await world.install(manifest(f"{remote.url}@v1"))
    assert head(folder) == first
    assert (folder / "node.py").read_text() == "1"
    assert world.lock.custom_nodes["node"].changing_to is None


async def test_many_at_once_into_one_folder(world: World) -> None:
    remote = world.repository()
    commit = remote.commit(node_py="1")
    installers = [
        world.installer(manifest(remote.url), state_dir=world.folder / f"state{number}")
        for number in range(3)
    ]
    await asyncio.gather(*(installer.before_start() for installer in installers))
    assert head(world.nodes / "node") == commit
    assert [entry.name for entry in world.nodes.iterdir()] == ["node"]


#: Stands where comfy-cli would: it makes the node's folder, unless the registry lacks the name.
COMFY = """\
import os, sys
assert sys.argv[1:3] == ["--skip-prompt", "--workspace"] and sys.argv[4:6] == ["node", "install"]
name, _, version = sys.argv[6].partition("@")
print("installing", name)
if name != "absent":
    folder = os.path.join(sys.argv[3], "custom_nodes", name)
    os.makedirs(folder)
    open(folder + "/requirements.txt", "w").write("x")
    open(folder + "/pyproject.toml", "w").write('[project]\\nversion = "%s"' % (version or "9.0"))
"""


class TestRegistry:
    @pytest.mark.parametrize(("entry", "version"), [("pack@1.2", "1.2"), ("pack", "9.0")])
    async def test_comfy_cli_beside_comfys_python(
        self, world: World, entry: str, version: str
    ) -> None:
        program(world.folder / "env", "comfy", COMFY)
        await world.install(manifest(entry))
        record = world.lock.custom_nodes["pack"]
        assert record.resolved == version
        assert record.folders == [str(world.folder / "ComfyUI" / "custom_nodes" / "pack")]
        # It has installed the requirements itself.
        assert pip_runs(world) == []
        with watched_programs() as programs:
            await world.install(manifest(entry))
        assert programs == []

    async def test_a_name_that_the_registry_does_not_have(self, world: World) -> None:
        program(world.folder / "env", "comfy", COMFY)
        with pytest.raises(errors.InstallFailed, match="made no folder for absent") as failure:
            await world.install(manifest("absent"))
        assert failure.value.last_lines == "installing absent"

    async def test_without_comfy_cli(self, world: World) -> None:
        with pytest.raises(errors.InstallFailed, match="need comfy-cli") as failure:
            await world.install(manifest("pack"))
        assert "pip install comfy-cli), or give a git URL" in (failure.value.hint or "")
