"""The jobs of the chaos run: instant ones, long ones, ones with something to fetch."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import stand

Graph = dict[str, Any]

#: Each node of the embedded engine takes so long.
_NODE_S = 0.05
_SLEEPER = '''
import time


class BenchPause:
    """Hand on a picture, later."""

    CATEGORY = "bench"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "pause"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "seconds": ("FLOAT", {"default": 1.0})}}

    def pause(self, image, seconds):
        time.sleep(seconds)
        return (image,)


NODE_CLASS_MAPPINGS = {"BenchPause": BenchPause}
'''


@dataclass(frozen=True)
class Wanted:
    """A job to be sent."""

    id: str
    workflow: Graph
    #: When it is sent, seconds from the begin.
    at_s: float
    is_cancelled: bool = False


def is_stock() -> bool:
    """Whether the engine is stock ComfyUI."""
    return bool(os.environ.get("COMFY_HOME"))


def prepare_engine(folder: Path) -> tuple[str, dict[str, str]]:
    """Return the engine's flags and the settings under which jobs can take a while."""
    if not is_stock():
        return f"--slow {_NODE_S}", {}
    nodes = folder / "custom_nodes"
    nodes.mkdir()
    (nodes / "bench_pause.py").write_text(_SLEEPER)
    return "", {"CUSTOM_NODES_DIR": str(nodes)}


def long(color: int, seconds: float) -> Graph:
    """Return a graph that takes about so long."""
    graph = stand.picture(16, color, "chaos")
    if is_stock():
        inputs = {"image": ["1", 0], "seconds": seconds}
        graph["3"] = {"class_type": "BenchPause", "inputs": inputs}
        last = "3"
    else:
        last = "1"
        for number in range(max(0, round(seconds / _NODE_S) - 2)):
            name = str(number + 3)
            graph[name] = {"class_type": "ImageInvert", "inputs": {"image": [last, 0]}}
            last = name
    graph["2"]["inputs"]["images"] = [last, 0]
    return graph


def fetching(url: str) -> Graph:
    """Return a graph that saves the picture of a URL."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": url}},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "chaos"},
        },
    }


def planned(
    count: int, chance: random.Random, host: str, pace_s: float, longest_s: float
) -> list[Wanted]:
    """Return the jobs: of eight, three instant, two long, three that fetch; a few fail or are
    cancelled.
    """
    names = f"chaos-{chance.randrange(10**6):06d}"
    return [
        Wanted(
            f"{names}-{number}",
            _workflow(number, chance, host, longest_s),
            chance.uniform(0, count * pace_s),
            is_cancelled=number % 31 == 30,
        )
        for number in range(count)
    ]


def _workflow(number: int, chance: random.Random, host: str, longest_s: float) -> Graph:
    if number % 29 == 28:
        return fetching(f"{host}/missing/{number}.png")
    if number % 8 < 3:
        return stand.picture(16, number, "chaos")
    if number % 8 < 5:
        return long(number, chance.uniform(0.2, longest_s))
    return fetching(f"{host}/{number}.png")
