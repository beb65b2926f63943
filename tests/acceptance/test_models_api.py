"""Models by URL, ahead of need, and the cache: a real gateway, a real host of weights."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.conftest import Gateway
from tests.acceptance.weights import (
    Host,
    cached_name,
    download,
    files,
    link,
    prompt,
    serving_weights,
    weights,
)
from tests.docs.running import ROOT, running_gateway
from tests.waiting import wait_until

ENGINE = ROOT / "tests" / "child_programs" / "engine_with_custom_nodes.py"
CMD = (
    f"{sys.executable} {ENGINE} --listen ${{DIRECT_ADDRESS}} --port ${{COMFYUI_PORT_HOST}} "
    "--input-directory ${INPUT_DIR} --output-directory ${OUTPUT_DIR} "
    "--temp-directory ${STATE_DIR} "
    "--extra-model-paths-config ${STATE_DIR}/extra_model_paths.yaml"
)


@pytest.fixture(scope="module")
def gateway(start: Callable[..., Any]) -> Iterator[Gateway]:
    """A gateway in front of an engine with custom nodes, which may fetch from this machine."""
    settings = {
        "ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
        "CMD": CMD,
        "MODEL_INPUTS": "LoaderByText.weights=embeddings",
        "LRU_CACHE_SIZE_GB": "1",
    }
    with start(**settings) as found:
        yield found


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with serving_weights() as found:
        yield found


class TestByUrl:
    async def test_a_loader_of_the_table(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/table/vae.safetensors"
        for _ in range(2):
            answer = await gateway.ask(body=prompt("VAELoader", "vae_name", url))
            assert answer.status == 200, answer.told
            assert answer.json["prompt"]["1"]["inputs"]["vae_name"] == cached_name(url)
        assert host.asked(url) == 1
        path = link(gateway, "vae", cached_name(url))
        assert path.is_symlink()
        assert path.read_bytes() == weights("/table/vae.safetensors")

    async def test_a_loader_of_a_custom_node(self, gateway: Gateway, host: Host) -> None:
        link(gateway, "loras", "placed.safetensors").write_bytes(weights("placed"))
        for name in ("first", "second"):
            url = f"{host.url}/custom/{name}.safetensors"
            answer = await gateway.ask(body=prompt("Style / Loader", "weights", url))
            assert answer.status == 200, answer.told
            assert link(gateway, "loras", cached_name(url)).is_file()

    async def test_a_loader_that_the_operator_names(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/named/x.safetensors"
        answer = await gateway.ask(body=prompt("LoaderByText", "weights", url))
        assert answer.status == 200, answer.told
        assert link(gateway, "embeddings", cached_name(url)).is_file()

    async def test_a_loader_that_nobody_knows(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/unknown.safetensors"
        answer = await gateway.ask(body=prompt("LoaderOfSamplers", "weights", url))
        assert (answer.status, answer.json["code"]) == (422, "unknown_model_folder")
        assert answer.json["location"] == "prompt.1.inputs.weights"
        for told in ("LoaderOfSamplers", "table", "/models", "MODEL_INPUTS"):
            assert told in answer.told
        assert host.asked(url) == 0

    async def test_a_loader_that_no_output_needs(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/unneeded.safetensors"
        body = prompt("VAELoader", "vae_name", f"{host.url}/needed.safetensors")
        for number, loader in enumerate(("LoaderOfSamplers", "Style / Loader"), start=5):
            body["prompt"][str(number)] = {"class_type": loader, "inputs": {"weights": url}}
        answer = await gateway.ask(body=body)
        assert answer.status == 200, answer.told
        assert host.asked(url) == 0

    async def test_a_plain_name_that_is_not_there(self, gateway: Gateway, host: Host) -> None:
        await download(gateway, f"{host.url}/sdxl.safetensors", filename="sdxl_vae.safetensors")
        answer = await gateway.ask(body=prompt("VAELoader", "vae_name", "sdxl-vae.safetensors"))
        assert (answer.status, answer.json["code"]) == (422, "invalid_graph")
        assert "The closest: sdxl_vae.safetensors" in answer.told
        assert "models folder 'vae'" in answer.told

    async def test_a_plain_name_of_a_custom_node(self, gateway: Gateway) -> None:
        link(gateway, "loras", "style_v1.safetensors").write_bytes(weights("style"))
        body = prompt("Style / Loader", "weights", "style-v1.safetensors")
        answer = await gateway.ask(body=body)
        assert (answer.status, answer.json["code"]) == (422, "invalid_graph")
        assert "The closest: style_v1.safetensors" in answer.told

    @pytest.mark.parametrize(
        ("path", "code", "says"),
        [
            ("/missing.safetensors", "model_not_fetched", "404"),
            ("/private/401.safetensors", "model_not_fetched", "401"),
            ("/private/403.safetensors", "model_not_fetched", "403"),
            ("/page.safetensors", "model_invalid", "web page"),
        ],
    )
    async def test_what_is_no_model(
        self, gateway: Gateway, host: Host, path: str, code: str, says: str
    ) -> None:
        url = host.url + path
        for answer in (
            await gateway.ask(body=prompt("VAELoader", "vae_name", url)),
            await download(gateway, url),
        ):
            assert (answer.status, answer.json["code"]) == (400, code)
            assert says in answer.told
            assert path in answer.told
        assert cached_name(url) not in await files(gateway)

    async def test_a_file_that_needs_credentials(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/private/model.safetensors"
        body = prompt("VAELoader", "vae_name", url)
        auth = {"type": "bearer", "token": "open"}
        pattern = f"{host.url}/private/**"
        opened = {**body, "credentials": [{"url_pattern": pattern, "auth": auth}]}
        answer = await gateway.ask(body=opened)
        assert answer.status == 200, answer.told
        for refused in (await gateway.ask(body=body), await download(gateway, url)):
            assert (refused.status, refused.json["code"]) == (403, "credentials_refused")
        assert (await gateway.ask(body=opened)).status == 200
        assert (await download(gateway, url, auth=auth)).status == 200
        assert host.asked(url) == 1


class TestModels:
    async def test_every_folder_that_comfyui_knows(self, gateway: Gateway, host: Host) -> None:
        await download(gateway, f"{host.url}/seen.safetensors", filename="seen.safetensors")
        placed = link(gateway, "loras", "placed.safetensors")
        placed.write_bytes(weights("placed"))
        found = (await gateway.ask("/models")).json
        assert "seen.safetensors" in found["vae"]
        assert "placed.safetensors" in found["loras"]
        assert {"checkpoints", "controlnet", "upscale_models"} <= found.keys()
        assert "custom_nodes" not in found


class TestDownload:
    async def test_it_is_waited_for(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/waited.safetensors?token=secret&v=1"
        answer = await download(gateway, url.replace("//", "//me:hidden@", 1))
        assert answer.status == 200, answer.told
        size = len(weights("/waited.safetensors"))
        told = answer.json
        assert isinstance(told.pop("duration"), float)
        assert told == {
            "url": f"{host.url}/waited.safetensors?token=***&v=1",
            "model_type": "vae",
            "filename": cached_name(url),
            "status": "completed",
            "size": size,
        }

    async def test_it_goes_on_by_itself(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/gated/alone.safetensors"
        answer = await download(gateway, url, wait=False, filename="alone.safetensors")
        assert answer.status == 202
        assert answer.json == {
            "url": url,
            "model_type": "vae",
            "filename": "alone.safetensors",
            "status": "started",
        }
        assert (await self.shown(gateway, url))["state"] in ("wanted", "fetching")
        host.gate.set()

        async def is_there() -> bool:
            return "alone.safetensors" in (await gateway.ask("/models")).json["vae"]

        await wait_until(is_there, description="the model is listed")
        shown = await self.shown(gateway, url)
        size = len(weights("/gated/alone.safetensors"))
        assert (shown["state"], shown["bytes"], shown["total"]) == ("present", size, size)

    async def shown(self, gateway: Gateway, url: str) -> dict[str, Any]:
        async def found() -> dict[str, Any] | None:
            downloads = (await gateway.ask("/downloads")).json["downloads"]
            return next((one for one in downloads if one["url"] == url), None)

        await wait_until(found, description="the download is shown")
        shown = await found()
        assert shown is not None
        return shown

    async def test_a_failure_that_nobody_waits_for_is_shown(
        self, gateway: Gateway, host: Host
    ) -> None:
        url = f"{host.url}/missing/nobody.safetensors"
        assert (await download(gateway, url, wait=False)).status == 202

        async def failed() -> bool:
            return (await self.shown(gateway, url))["state"] == "failed"

        await wait_until(failed, description="the download has failed")
        assert "404" in (await self.shown(gateway, url))["error"]

    async def test_one_that_runs_is_joined(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/gated/joined.safetensors"
        asked = [
            asyncio.create_task(download(gateway, url, filename=f"joined{n}.safetensors"))
            for n in range(3)
        ]
        await wait_until(lambda: host.asked(url) > 0, description="the file is asked for")
        host.gate.set()
        answers = await asyncio.gather(*asked)
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert host.asked(url) == 1

    @pytest.mark.parametrize(("old", "folder"), [("clip", "text_encoders"), ("loras", "loras")])
    async def test_folders_by_either_name(
        self, gateway: Gateway, host: Host, old: str, folder: str
    ) -> None:
        url = f"{host.url}/either/{old}.safetensors"
        answer = await download(gateway, url, model_type=old)
        assert (answer.status, answer.json["model_type"]) == (200, old)
        assert link(gateway, folder, cached_name(url)).is_file()

    @pytest.mark.parametrize("model_type", ["lora", "../x", "", "custom_nodes", "vae/../loras"])
    async def test_a_folder_that_is_none(
        self, gateway: Gateway, host: Host, model_type: str
    ) -> None:
        answer = await download(gateway, f"{host.url}/a.safetensors", model_type=model_type)
        assert (answer.status, answer.json["code"]) == (400, "unknown_model_type")
        assert "checkpoints" in answer.told
        assert answer.json["location"] == "model_type"

    @pytest.mark.parametrize(
        "name", ["..", "../x", "a/b", "a\\b", "a\0b", "x" * 300, "é" * 130, "", ".", ".hidden"]
    )
    async def test_a_name_that_is_none(self, gateway: Gateway, host: Host, name: str) -> None:
        answer = await download(gateway, f"{host.url}/a.safetensors", filename=name)
        assert (answer.status, answer.json["code"]) == (400, "invalid_input")
        assert answer.json["location"] == "filename"
        assert host.asked(f"{host.url}/a.safetensors") == 0

    @pytest.mark.parametrize("url", ["", "x", "ftp://host/x", "file:///etc/passwd", "http://"])
    async def test_a_url_that_is_none(self, gateway: Gateway, url: str) -> None:
        answer = await download(gateway, url)
        assert answer.status == 400, answer.told
        assert answer.json["location"] == "url"

    @pytest.mark.parametrize(
        "change", [{"url": None}, {"model_type": 5}, {"sha256": "0"}, {"auth": {}}, {"more": 1}]
    )
    async def test_a_request_of_another_shape(
        self, gateway: Gateway, change: dict[str, Any]
    ) -> None:
        answer = await download(gateway, "https://host/x", **change)
        assert (answer.status, answer.json["code"]) == (422, "invalid_request")
        assert next(iter(change)) in answer.told

    async def test_what_is_no_json(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/download", raw=b"{")
        assert (answer.status, answer.json["code"]) == (400, "invalid_json")

    async def test_a_sha256(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/sum.safetensors"
        answer = await download(gateway, url, sha256="0" * 64)
        assert (answer.status, answer.json["code"]) == (400, "model_invalid")
        assert cached_name(url) not in await files(gateway)
        right = hashlib.sha256(weights("/sum.safetensors")).hexdigest()
        assert (await download(gateway, url, sha256=right.upper())).status == 200
        assert (await download(gateway, url, sha256="0" * 64)).status == 400


class TestNames:
    async def test_two_urls_with_one_name(self, gateway: Gateway, host: Host) -> None:
        one, other = f"{host.url}/same/1.safetensors", f"{host.url}/same/2.safetensors"
        assert (await download(gateway, one, filename="same.safetensors")).status == 200
        answer = await download(gateway, other, filename="same.safetensors")
        assert (answer.status, answer.json["code"]) == (409, "link_occupied")
        assert answer.json["location"] == "filename"
        content = link(gateway, "vae", "same.safetensors").read_bytes()
        assert content == weights("/same/1.safetensors")

    async def test_one_url_under_two_names_and_in_two_folders(
        self, gateway: Gateway, host: Host
    ) -> None:
        url = f"{host.url}/many.safetensors"
        places = [("vae", "one.safetensors"), ("vae", "two.safetensors"), ("loras", None)]
        for folder, name in places:
            answer = await download(gateway, url, model_type=folder, filename=name)
            assert answer.status == 200, answer.told
            path = link(gateway, folder, name or cached_name(url))
            assert path.read_bytes() == weights("/many.safetensors")
        assert host.asked(url) == 1
        file = (await files(gateway))[cached_name(url)]
        named = f"loras/{cached_name(url)}"
        assert file["links"] == [named, "vae/one.safetensors", "vae/two.safetensors"]

    async def test_a_file_that_was_put_there(self, gateway: Gateway, host: Host) -> None:
        placed = link(gateway, "vae", "mine.safetensors")
        placed.write_bytes(b"mine")
        answer = await download(gateway, f"{host.url}/m.safetensors", filename="mine.safetensors")
        assert (answer.status, answer.json["code"]) == (409, "link_occupied")
        assert placed.read_bytes() == b"mine"
        placed.unlink()


class TestLog:
    async def test_a_model_that_came_and_one_that_did_not(
        self, gateway: Gateway, host: Host
    ) -> None:
        came, missing = f"{host.url}/came.safetensors?sig=", f"{host.url}/missing.safetensors?sig="
        for url in (came, missing):
            await gateway.ask(body=prompt("VAELoader", "vae_name", f"{url}secret"))
        lines = (await gateway.ask("/logs?tail=2000&source=gateway")).json["lines"]
        told = {(line["event"], line.get("url")): line for line in lines}
        fetched = told["model fetched", f"{came}***"]
        assert fetched["size"] == len(weights("/came.safetensors"))
        assert "404" in told["model not fetched", f"{missing}***"]["reason"]
        over = [line for line in lines if line["event"] == "job over" and "reason" in line]
        assert any(f"{missing}***" in line["reason"] for line in over)


class TestCache:
    async def test_what_it_holds(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/held.safetensors?sig=secret"
        await download(gateway, url)
        found = (await gateway.ask("/cache")).json
        file = next(one for one in found["files"] if one["name"] == cached_name(url))
        assert file["url"] == f"{host.url}/held.safetensors?sig=***"
        assert file["size"] == len(weights("/held.safetensors"))
        assert file["pins"] == []
        assert found["limit"] == 1 << 30
        assert found["size"] == sum(one["size"] for one in found["files"])

    async def test_a_file_is_deleted(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/deleted.safetensors"
        await download(gateway, url)
        path = f"/cache/{cached_name(url)}"
        assert (await gateway.ask(path, method="DELETE")).status == 204
        assert cached_name(url) not in await files(gateway)
        answer = await gateway.ask(path, method="DELETE")
        assert (answer.status, answer.json["code"]) == (404, "cache_entry_not_found")
        assert (await download(gateway, url)).status == 200
        assert host.asked(url) == 2

    @pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fx", "links", "%00", "x" * 300])
    async def test_a_name_that_is_none(self, gateway: Gateway, name: str) -> None:
        answer = await gateway.ask(f"/cache/{name}", method="DELETE")
        assert (answer.status, answer.json["code"]) == (404, "cache_entry_not_found")

    async def test_a_file_that_a_job_needs(self, gateway: Gateway, host: Host) -> None:
        used, slow = f"{host.url}/used.safetensors", f"{host.url}/gated/slow.safetensors"
        body = prompt("VAELoader", "vae_name", used)
        body["prompt"]["5"] = {"class_type": "VAELoader", "inputs": {"vae_name": slow}}
        decoder = {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["5", 0]}}
        body["prompt"]["6"] = decoder
        body["prompt"]["4"]["inputs"]["images"] = ["6", 0]
        body["prompt"]["7"] = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
        await download(gateway, used)
        running = asyncio.create_task(gateway.ask(body=body))
        await wait_until(lambda: host.asked(slow) > 0, description="the other model is fetched")
        answer = await gateway.ask(f"/cache/{cached_name(used)}", method="DELETE")
        assert (answer.status, answer.json["code"]) == (409, "cache_entry_in_use")
        assert (await files(gateway))[cached_name(used)]["pins"]
        host.gate.set()
        assert (await running).status == 200

        async def is_free() -> bool:
            return not (await files(gateway))[cached_name(used)]["pins"]

        await wait_until(is_free, description="nobody needs it")


class TestStop:
    async def test_nobody_waits_for_a_download(self, host: Host, tmp_path: Path) -> None:
        url = f"{host.url}/gated/stopped.safetensors"
        async with running_gateway(tmp_path, ALLOW_PRIVATE_NETWORKS="127.0.0.0/8") as running:
            process: Any = running.process
            gateway = Gateway(running.url, process, tmp_path)
            waiting = asyncio.create_task(download(gateway, url))
            assert (await download(gateway, f"{url}?other", wait=False)).status == 202
            await wait_until(lambda: host.asked(url) > 1, description="both are fetched")
            running.process.send_signal(signal.SIGTERM)
            answer = await waiting
            assert (answer.status, answer.json["code"]) == (503, "draining")
            assert await asyncio.wait_for(running.process.wait(), 10) == 0


class TestCommands:
    async def run(self, gateway: Gateway, *arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *arguments),
            cwd=ROOT,
            env={"GATEWAY_URL": gateway.url, "PATH": ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def test_pull_and_list_and_prune(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/pulled.safetensors"
        status, out, err = await self.run(
            gateway, "models", "pull", url, "--type", "loras", "--as", "pulled.safetensors"
        )
        assert (status, out) == (0, "loras/pulled.safetensors\n"), err
        _, out, _ = await self.run(gateway, "models", "ls", "loras")
        assert "pulled.safetensors" in out.splitlines()
        _, out, _ = await self.run(gateway, "cache", "ls")
        [line] = [line for line in out.splitlines() if line.startswith(cached_name(url))]
        assert "loras/pulled.safetensors" in line
        assert url in line
        _, out, err = await self.run(gateway, "cache", "prune", "--older-than", "1d")
        assert (out, "0 files deleted" in err) == ("", True)
        _, out, _ = await self.run(gateway, "cache", "prune")
        assert cached_name(url) in out.splitlines()
        assert cached_name(url) not in await files(gateway)

    async def test_pull_of_what_is_not_there(self, gateway: Gateway, host: Host) -> None:
        status, out, err = await self.run(
            gateway, "models", "pull", f"{host.url}/missing.safetensors", "--type", "loras"
        )
        assert (status, out) == (1, "")
        assert err.startswith("error: ")
        assert "404" in err
