"""Several gateways with one models folder, each with a cache of its own, as on a NAS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.docs.running import ROOT, environment, free_port
from tests.listening import listening
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

SIZE = 300_000
#: From here on, files stop halfway.
GATED = 12
#: Room for three files in each cache.
LIMIT = 1_073_741
SERVE = (sys.executable, "-m", "gateway", "serve")
#: Sees its own folder where the others see theirs, as containers do.
IN_A_CONTAINER = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c", IN_A_CONTAINER, "sh")


class Host:
    """Serves one file under each number; counts how often each was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.gets: Counter[int] = Counter()
        self._files = {number: safetensors(SIZE, seed=number) for number in range(GATED + 2)}
        #: Files from number GATED on stop halfway, until this is set.
        self.gate = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["number"])
        if request.method != "GET" or number < GATED:
            self.gets[number] += request.method == "GET"
            return web.Response(body=self._files[number])
        self.gets[number] += 1
        body = self._files[number]
        answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            await answer.write(body[: SIZE // 2])
            await self.gate.wait()
            await answer.write(body[SIZE // 2 :])
        return answer

    def of(self, number: int) -> str:
        return f"{self.url}/{number}/model.safetensors"

    def content(self, number: int) -> bytes:
        return self._files[number]

    def cached_name(self, number: int) -> str:
        digest = hashlib.sha256(self.of(number).encode()).digest()
        return base64.urlsafe_b64encode(digest)[:32].decode() + ".safetensors"


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    made = Host()
    async with listening(web.get("/{number}/model.safetensors", made.answer)) as made.url:
        yield made
        made.gate.set()


@dataclass(frozen=True)
class Instance:
    """A gateway: its own cache, as we see it and as it does itself."""

    url: str
    models: Path
    cache: Path
    named: Path
    process: subprocess.Popen[bytes]

    async def ask(self, path: str, body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, json=body) as answer,
        ):
            return answer.status, await answer.json()

    async def run(self, vae: str) -> None:
        status, body = await self.ask("/prompt", {"prompt": decoding(vae)})
        assert status == 200, body

    async def download(self, url: str, filename: str) -> tuple[int, Any]:
        body = {"url": url, "model_type": "vae", "filename": filename, "wait": True}
        return await self.ask("/download", body)

    def seen(self, name: str) -> Path | None:
        """Return the file that its ComfyUI opens: CACHE_DIR/links comes first."""
        for root in (self.cache / "links", self.models):
            path = root / "vae" / name
            if path.is_symlink() and path.readlink().is_relative_to(self.named):
                path = self.cache / path.readlink().relative_to(self.named)
            if path.is_file():
                return path
        return None

    def size(self) -> int:
        """Return the bytes of every model, whole or on its way."""
        folders = (self.cache, self.cache / ".partial")
        found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        return sum(_size(path) for path in found if path.suffix in (".safetensors", ".part"))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def running(
    folder: Path, number: int, *, in_container: bool = False, cache: Path | None = None
) -> Iterator[Instance]:
    home, models = folder / f"instance-{number}", folder / "models"
    cache = cache or home / "cache"
    named = folder / "cache" if in_container else cache
    for needed in (home, cache, models, named):
        needed.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = environment(
        home,
        PORT=str(port),
        COMFYUI_PORT_HOST=str(free_port()),
        MODEL_DIR=str(models),
        CACHE_DIR=str(named),
        LRU_CACHE_SIZE_GB=str(LIMIT / (1 << 30)),
        ALLOW_PRIVATE_NETWORKS="127.0.0.0/8",
    )
    command = (*UNSHARE, str(cache), str(named), *SERVE) if in_container else SERVE
    with (home / "gateway.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        yield Instance(f"http://127.0.0.1:{port}", models, cache, named, process)
        assert process.poll() in (None, -signal.SIGKILL), (home / "gateway.log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="module", params=["hosts", "containers"])
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Instance]]:
    """Three instances; as hosts, the path of each cache is another, as containers it is one."""
    folder = tmp_path_factory.mktemp("shared")
    in_container = request.param == "containers"
    if in_container and not _can_mount(folder):
        pytest.skip("no mounts here")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(running(folder, number, in_container=in_container))
            for number in range(3)
        ]


def _can_mount(folder: Path) -> bool:
    folders = [folder / name for name in ("one", "other")]
    for made in folders:
        made.mkdir()
    tried = (*UNSHARE, *map(str, folders), "true")
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(tried, check=False, capture_output=True).returncode == 0
    return False


@pytest_asyncio.fixture
async def fleet(started: list[Instance]) -> list[Instance]:
    """The instances, ready."""
    for one in started:
        await until_ready(one)
    return started


async def until_ready(one: Instance) -> None:
    async def is_ready() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{one.url}/ready") as answer,
            ):
                return answer.status == 200
        return False

    await wait_until(is_ready, description="the gateway is ready", timeout=30)


@contextlib.asynccontextmanager
async def watched(fleet: list[Instance]) -> AsyncIterator[None]:
    """Look all the time whether a cache holds more than it may."""

    async def look() -> None:
        while True:
            for one in fleet:
                assert one.size() <= LIMIT
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        yield
        task.cancel()


async def test_all_ask_for_the_same_and_for_others_while_files_are_evicted(
    fleet: list[Instance], host: Host
) -> None:
    async def work(one: Instance, numbers: list[int]) -> None:
        for number in numbers:
            await one.run(host.of(number))

    chance = random.Random(3)
    async with watched(fleet), asyncio.TaskGroup() as group:
        for one in fleet:
            for numbers in ([0, 1, 2, 0, 3], chance.sample(range(12), 5)):
                group.create_task(work(one, numbers))

    # No cache serves another; and none could keep all.
    assert all(host.gets[number] >= len(fleet) for number in range(4))
    # In peace, each finds under each name the very file.
    for number in range(6):
        for one in fleet:
            await one.run(host.of(number))
            path = one.seen(host.cached_name(number))
            assert path is not None
            assert path.read_bytes() == host.content(number)


async def test_links_in_the_models_folder_are_never_changed(
    fleet: list[Instance], host: Host
) -> None:
    names = {host.cached_name(number) for number in range(12)}

    def targets() -> dict[str, Path]:
        found = (fleet[0].models / "vae").iterdir()
        return {path.name: path.readlink() for path in found if path.name in names}

    before: dict[str, Path] = {}
    for round_ in range(3):
        for place, one in enumerate(fleet):
            for number in range(round_, 12, 3):
                await one.run(host.of((number + 4 * place) % 12))
                now = targets()
                assert before.items() <= now.items()
                before = now
    assert set(before) == names


async def test_one_name_may_mean_another_model_to_each(fleet: list[Instance], host: Host) -> None:
    for number, one in enumerate(fleet):
        status, body = await one.download(host.of(number), "style.safetensors")
        assert status == 200, body
    for number, one in enumerate(fleet):
        await one.run("style.safetensors")
        path = one.seen("style.safetensors")
        assert path is not None
        assert path.read_bytes() == host.content(number)
        # To each it is taken, while its file is there.
        status, body = await one.download(host.of(7), "style.safetensors")
        assert status == 409, body
        assert body["code"] == "link_occupied"
        assert host.cached_name(number) in body["error"]


async def test_an_evicted_model_is_linked_again_under_its_name(
    fleet: list[Instance], host: Host
) -> None:
    for one in fleet:
        assert (await one.download(host.of(0), "gone.safetensors"))[0] == 200
    for number in range(1, 5):
        await fleet[0].run(host.of(number))
    # Evicted here, it serves the others all the same.
    assert fleet[0].seen("gone.safetensors") is None
    for one in fleet[1:]:
        await one.run("gone.safetensors")
    assert (await fleet[0].download(host.of(0), "gone.safetensors"))[0] == 200
    await fleet[0].run("gone.safetensors")


async def test_a_file_of_the_operators_is_never_replaced(fleet: list[Instance], host: Host) -> None:
    placed = fleet[0].models / "vae" / "mine.safetensors"
    placed.write_bytes(host.content(0))
    for one in fleet:
        status, body = await one.download(host.of(1), "mine.safetensors")
        assert (status, body["code"]) == (409, "link_occupied")
        await one.run("mine.safetensors")
    assert placed.read_bytes() == host.content(0)
    assert host.gets[1] <= len(fleet)


async def test_instances_that_share_a_cache_fetch_once_and_take_over_from_the_killed(
    tmp_path: Path, host: Host
) -> None:
    def asked(number: int) -> Callable[[], bool]:
        return lambda: host.gets[number] > 0

    with (
        running(tmp_path, 0, cache=tmp_path / "cache") as first,
        running(tmp_path, 1, cache=tmp_path / "cache") as second,
    ):
        for one in (first, second):
            await until_ready(one)
        once, again = host.of(GATED), host.of(GATED + 1)
        async with asyncio.TaskGroup() as group:
            for one in (first, second) * 3:
                group.create_task(one.run(once))
            await wait_until(asked(GATED), description="one of them fetches it")
            host.gate.set()
        assert host.gets[GATED] == 1

        host.gate.clear()
        lost = asyncio.create_task(first.run(again))
        await wait_until(asked(GATED + 1), description="the first fetches it")
        waiting = asyncio.create_task(second.run(again))
        first.process.kill()
        await wait_until(lambda: host.gets[GATED + 1] > 1, description="the second goes on with it")
        host.gate.set()
        await waiting
        with pytest.raises(aiohttp.ClientError):
            await lost
        path = second.seen(host.cached_name(GATED + 1))
        assert path is not None
        assert path.read_bytes() == host.content(GATED + 1)
