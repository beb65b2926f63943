"""The embedded engine against what stock ComfyUI was recorded to say, word for word."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

DATA = Path(__file__).parents[3] / "shared" / "data"
NOT_COMPARED = {
    "timestamp", "traceback", "ram_total", "ram_free", "vram_total", "vram_free",
    "torch_vram_total", "torch_vram_free", "python_version", "pytorch_version", "argv",
}  # fmt: skip
# Sets in ComfyUI, so in no order.
UNORDERED = {"executed", "current_outputs"}

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA}")


def recorded(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def comparable(value: Any, base: str) -> Any:
    """The same value without what differs from run to run."""
    if isinstance(value, dict):
        return {
            key: None
            if key in NOT_COMPARED
            else sorted(item)
            if key in UNORDERED and isinstance(item, list)
            else comparable(item, base)
            for key, item in value.items()
            if key != "bytes"
        }
    if isinstance(value, list | tuple):
        return [comparable(item, base) for item in value]
    if isinstance(value, str):
        value = value.replace(base, "<base>")
        return re.sub(r"ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_?_", value)
    return value


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (200, 30, 60)).save(buffer, format="PNG")
    return buffer.getvalue()


UPLOADS = {"rec.png": picture(), "broken.png": b"not a picture"}


class Replay:
    """Asks what was asked, and collects what the record holds."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._base = str(client.engine.base)

    async def entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The same entry as the embedded engine would have been recorded."""
        if "posts" in entry:
            return await self._interrupt(entry)
        answer: dict[str, Any] = dict(entry)
        if "status" in entry:
            answer |= await self._request(entry)
        if "frames" in entry:
            answer["frames"] = await self._frames(entry["frames"], answer)
        if "history" in entry:
            answer["history"] = (await self._client.get(f"/history/{_prompt_id(entry)}"))[1]
        return answer

    async def _request(self, entry: dict[str, Any]) -> dict[str, Any]:
        url = self._client.engine.url
        asked = dict(entry.get("request") or _unrecorded_request(entry["name"]))
        sent: dict[str, Any] = {key: asked[key] for key in ("json", "data") if key in asked}
        if "form" in asked:
            name = asked["form"]["image"]
            form = aiohttp.FormData({"overwrite": asked["form"]["overwrite"]})
            form.add_field("image", UPLOADS[name], filename=name)
            sent = {"data": form}
        async with self._client.session.request(
            asked["method"], url + asked["path"], **sent
        ) as response:
            text = await response.text()
            is_text = isinstance(entry["body"], str)
            answer = {"status": response.status, "body": text if is_text else json.loads(text)}
            if "content_type" in entry:
                answer["content_type"] = response.content_type
            return answer

    async def _frames(self, expected: list[Any], answer: dict[str, Any]) -> list[Any]:
        """Frames of a prompt that ran; of one that was refused, there must be none."""
        if not expected:
            return []
        if "prompt_id" not in (answer.get("body") or {}):
            return [await self._client.next_frame()]
        return await self._client.until_done(_prompt_id(answer))

    async def _interrupt(self, entry: dict[str, Any]) -> dict[str, Any]:
        client, first, second = self._client, *[post["prompt_id"] for post in entry["posts"]]
        running, pending = entry["queue while running"].values()
        answer: dict[str, Any] = {"name": entry["name"], "posts": [], "frames": []}
        for _, prompt_id, graph, *_ in (*running, *pending):
            answer["posts"].append((await client.submit(graph, prompt_id=prompt_id))[1])
        answer["frames"] += await client.until(_is_sampling)
        answer["queue while running"] = (await client.get("/queue"))[1]
        answer["GET /prompt while running"] = (await client.get("/prompt"))[1]
        for name, path, body in (
            ("POST /interrupt of the queued one", "/interrupt", {"prompt_id": second}),
            ("POST /queue delete of the queued one", "/queue", {"delete": [second]}),
            ("POST /interrupt of the running one", "/interrupt", {"prompt_id": first}),
        ):
            status, text = await client.post(path, body)
            answer[name] = [status, text.decode()]
        answer["frames"] += await client.until_done(first)
        answer["history"] = (await client.get(f"/history/{first}"))[1]
        answer["history of the deleted"] = (await client.get(f"/history/{second}"))[1]
        return answer


def _prompt_id(entry: dict[str, Any]) -> str:
    return str(entry["body"]["prompt_id"])


def _is_sampling(frame: dict[str, Any]) -> bool:
    return frame.get("type") == "executing" and frame["data"]["node"] == "3"


def _unrecorded_request(name: str) -> dict[str, Any]:
    bodies = {
        "POST /prompt not JSON": {"data": "not json"},
        "POST /prompt a list": {"json": []},
        "POST /prompt no prompt": {"json": {}},
    }
    return {"method": "POST", "path": "/prompt", **bodies[name]}


def _is_step(frame: Any) -> bool:
    """A frame of a sampling step, of which any number passes before an interrupt arrives."""
    if "binary" in frame or frame["type"] == "progress":
        return True
    nodes = frame["data"].get("nodes") if frame["type"] == "progress_state" else None
    return bool(nodes) and any(n["state"] == "running" and n["value"] for n in nodes.values())


def _settled(frames: list[Any]) -> list[Any]:
    """Without steps, and without the counts of a queue that fills while a prompt starts."""
    start = next(index for index, frame in enumerate(frames) if _is_sampling(frame))
    head = [frame for frame in frames[:start] if frame.get("type") != "status"]
    tail = [f for f in frames[start:] if not _is_step(f) and not _is_arrival_of_second(f)]
    return head + tail


def _is_arrival_of_second(frame: dict[str, Any]) -> bool:
    if frame.get("type") != "status":
        return False
    return bool(frame["data"]["status"]["exec_info"]["queue_remaining"] == 2)


async def test_every_conversation_goes_as_recorded(
    start: Callable[..., Any], connected: Callable[..., Any]
) -> None:
    engine = start("--step-delay", "0.1", "--preview-method", "latent2rgb", wait=True)
    weights = engine.base / "models/checkpoints/model.safetensors"
    weights.write_bytes(_weights())
    client = await connected(engine, "recorder")
    replay = Replay(client)
    record = recorded("conversations.json")["conversations"]
    greeting = next(entry for entry in record if entry["name"] == "websocket opens")
    assert client.frames == greeting["frames"]
    base = str(engine.base)
    for entry in (entry for entry in record if entry is not greeting):
        answer = comparable(await replay.entry(entry), base)
        expected = comparable(entry, base)
        if "posts" in entry:
            answer["frames"] = _settled(answer["frames"])
            expected["frames"] = _settled(expected["frames"])
        for key in expected.keys() | answer.keys():
            assert answer.get(key) == expected.get(key), f"{entry['name']}: {key}"
    cleared = {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}
    assert await client.next_frame() == cleared


async def test_object_info_says_what_stock_says(
    start: Callable[..., Any], connected: Callable[..., Any]
) -> None:
    client = await connected(start())
    _, said = await client.get("/object_info")
    expected = recorded("object_info.json")["object_info"]
    assert len(said) == 25
    for name, info in said.items():
        assert _without_files(info) == _without_files(expected[name]), name


def _without_files(info: dict[str, Any]) -> dict[str, Any]:
    """File names come from folders, so only that there is a list is compared."""
    bare = json.loads(json.dumps(info))
    for name, spec in bare["input"]["required"].items():
        if name in ("image", "ckpt_name", "lora_name", "vae_name", "unet_name", "clip_name"):
            spec[0] = [] if isinstance(spec[0], list) else spec[0]
    return dict(bare)


def _weights() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)
