"""Workflows of the canvas become graphs: how many as the frontend sends them, and how fast.

Run it with: python -m bench.convert [--more FOLDER ...]

Each FOLDER holds JSON files {"ui", "api"}: what the official frontend sends for templates that were
not recorded in ../shared/data. Those with classes that the recorded ComfyUI lacks (`missing`), and
those that the frontend could not send (`error`), are counted apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway import errors
from gateway.comfy.nodes import Catalog
from gateway.workflows.convert import convert
from tests.unit.workflows.canvas import classes
from tests.unit.workflows.canvas.sending import exact, plain

DATA = Path(__file__).parents[2] / "shared/data"
ROUNDS = 20
NODES = 300
BAR_MS = 20.0
LARGE_MB = 10

Case = Mapping[str, Any]


def definitions(object_info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return classes as the gateway keeps them."""
    catalog = Catalog()
    catalog.replace(object_info)
    return catalog.definitions


def is_equal(case: Case, known: Mapping[str, Any]) -> bool:
    """Whether the same is sent as by the frontend: ids, classes and inputs."""
    try:
        made = convert(case["ui"], known).graph
    except errors.NotConvertible:
        return False
    return bool(exact(plain(made)) == exact(plain(case["api"])))


def compared(name: str, cases: Mapping[str, Case], known: Mapping[str, Any]) -> tuple[int, int]:
    """Print, and return, how many are equal, and of how many."""
    missing = {name for name, case in cases.items() if case.get("missing")}
    failed = {name for name, case in cases.items() if "api" not in case} - missing
    counted = [name for name in cases if name not in missing and name not in failed]
    other = [name for name in counted if not is_equal(cases[name], known)]
    equal = len(counted) - len(other)
    print(f"{name}: {equal} of {len(counted)} equal ({equal / max(1, len(counted)):.1%})")
    if missing or failed:
        print(f"  left out: {len(missing)} with classes of others, {len(failed)} not sent at all")
    for one in other:
        print(f"  otherwise: {one}")
    return equal, len(counted)


def others(folders: Iterable[Path], recorded: Mapping[str, Case], known: Mapping[str, Any]) -> None:
    """Print how many of the templates in folders are equal, each file once."""
    seen = {json.dumps(case["ui"], sort_keys=True) for case in recorded.values()}
    equal = total = 0
    for folder in folders:
        cases = {}
        for file in sorted(folder.glob("*.json")):
            case = json.loads(file.read_bytes())
            saved = json.dumps(case["ui"], sort_keys=True)
            if saved not in seen:
                cases[file.stem] = case
            seen.add(saved)
        same, count = compared(folder.name, cases, known)
        equal, total = equal + same, total + count
    if total:
        print(
            f"templates that were not recorded: {equal} of {total}, {equal / total:.2%} (bar: 98%)"
        )


def picture(nodes: int) -> dict[str, Any]:
    """Return a file of groups of nine nodes: words, a sampler, and what is made of its picture."""
    made, wires = [classes.node(0, "Loader", ["a.ckpt"])], []
    link = classes.link
    for first in range(1, nodes - 8, 9):
        good, bad, latent, sampler, decode, bend, invert, save, number = range(first, first + 9)
        made += [
            classes.node(good, "CLIPTextEncode", ["a {red|blue} lighthouse"]),
            classes.node(bad, "CLIPTextEncode", ["fog"]),
            classes.node(latent, "Latent", [512, 512, 1]),
            classes.node(sampler, "KSampler", [7, "fixed", 20, 8.0, "euler", "normal", 1.0]),
            classes.node(decode, "Decode"),
            classes.reroute(bend),
            classes.node(invert, "Invert", mode=classes.BYPASSED),
            classes.node(save, "SaveImage", ["%date:yyyy%/picture"]),
            classes.primitive(number, [20, "fixed"]),
        ]
        wires += [
            *(link(0, 0, sampler, "model"), link(0, 1, good, "clip"), link(0, 1, bad, "clip")),
            *(link(good, 0, sampler, "positive"), link(bad, 0, sampler, "negative")),
            *(link(latent, 0, sampler, "latent_image"), link(number, 0, sampler, "steps")),
            *(link(sampler, 0, decode, "samples"), link(0, 2, decode, "vae")),
            *(link(decode, 0, bend, 0), link(bend, 0, invert, "image")),
            link(invert, 0, save, "images"),
        ]
    made += [classes.node(f"n{one}", "Number", [one, "fixed"]) for one in range(nodes - len(made))]
    return classes.canvas(*made, wires=wires)


def large() -> tuple[dict[str, Any], int]:
    """Return a file of some 10 MB, and its size in bytes."""
    count = NODES
    while True:
        saved = picture(count)
        size = len(json.dumps(saved))
        if size >= LARGE_MB * 1_000_000:
            return saved, size
        count = int(count * max(1.01, LARGE_MB * 1_000_000 / size))


def measured(call: Callable[[], Any], rounds: int) -> list[float]:
    """Return how many milliseconds each of some calls took."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def told(name: str, took: list[float], bar: str = "") -> None:
    """Print the best; how far the others are from it is the noise."""
    middle = took[len(took) // 2]
    print(f"{name}: best {took[0]:.1f} ms, median {middle:.1f}, worst {took[-1]:.1f}{bar}")


def main(folders: Iterable[Path]) -> None:
    """Print all figures."""
    if (DATA / "ui-to-api.json").exists():
        known = definitions(json.loads((DATA / "object_info.json").read_bytes())["object_info"])
        recorded = json.loads((DATA / "ui-to-api.json").read_bytes())["cases"]
        compared("recorded templates", recorded, known)
        others(folders, recorded, known)
    else:
        print(f"{DATA} is not there: nothing to compare with")
    known = definitions(classes.CLASSES)
    saved = picture(NODES)
    assert len(saved["nodes"]) == NODES
    told(
        f"a graph of {NODES} nodes, {ROUNDS} times",
        measured(lambda: convert(saved, known), ROUNDS),
        f" (bar: <= {BAR_MS:g})",
    )
    huge, size = large()
    name = f"a file of {size / 1e6:.1f} MB with {len(huge['nodes'])} nodes, 3 times"
    told(name, measured(lambda: answered(huge, known), 3))


def answered(saved: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Convert a file, or refuse it."""
    try:
        convert(saved, known)
    except errors.GatewayError as refusal:
        print(f"  refused: {refusal.message[:100]}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m bench.convert")
    arguments.add_argument("--more", action="append", type=Path, default=[], metavar="FOLDER")
    main(arguments.parse_args().more)
