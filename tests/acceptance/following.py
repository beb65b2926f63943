"""A reader of a job's events that keeps every one, and a job that takes a while."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.conformance.conftest import safetensors_bytes
from tests.waiting import wait_until

MODEL = "model.safetensors"


def put_model(models: Path) -> None:
    """Put weights where the sampler looks for them."""
    folder = models / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(safetensors_bytes())


def sampler(steps: int, seed: int = 1) -> dict[str, Any]:
    """Return text to image that reports each of its steps."""
    settings = {"seed": seed, "steps": steps, "cfg": 7, "sampler_name": "euler"}
    settings |= {"scheduler": "normal", "denoise": 1}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}
    size = {"width": 64, "height": 64, "batch_size": 1}
    return {
        "3": {"class_type": "KSampler", "inputs": {**settings, **links, "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": MODEL}},
        "5": {"class_type": "EmptyLatentImage", "inputs": size},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "s"}},
    }


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    id: int
    kind: str
    data: dict[str, Any]


@dataclass
class Reader:
    """What one connection has brought so far."""

    events: list[Event] = field(default_factory=list)
    comments: int = 0
    is_ended: bool = False

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == kind]

    @property
    def states(self) -> list[str]:
        return [data["state"] for data in self.of("state")]

    async def until(self, fact: Callable[[Reader], Any], description: str) -> None:
        await wait_until(lambda: fact(self), description=description, timeout=20)

    async def until_end(self) -> None:
        await self.until(lambda found: found.is_ended, "the stream ended")

    def take(self, block: str) -> None:
        if block.startswith(":"):
            self.comments += 1
            return
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event = Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        self.events.append(event)


@contextlib.asynccontextmanager
async def following(
    session: aiohttp.ClientSession, url: str, **headers: str
) -> AsyncIterator[Reader]:
    """Read events beside the test; the connection is cut when the context is left."""
    found = Reader()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.get(url, headers=named) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        task = asyncio.create_task(_read(answer, found))
        try:
            yield found
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _read(answer: aiohttp.ClientResponse, found: Reader) -> None:
    rest = ""
    # A gateway that is killed ends it without a last chunk.
    with contextlib.suppress(aiohttp.ClientPayloadError):
        async for data in answer.content.iter_any():
            *blocks, rest = (rest + data.decode()).split("\n\n")
            for block in blocks:
                found.take(block)
    found.is_ended = True
