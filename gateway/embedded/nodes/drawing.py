"""The picture that stands for a diffused one: waves of colour out of a seed, rising from noise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gateway.embedded.nodes.pixels import Pixels, from_pillow, to_pillow

# A latent is a picture of one eighth of the size.
SCALE = 8
WAVES = 6


def steps_towards(start: Pixels, seed: str, steps: int, denoise: float) -> Iterator[Pixels]:
    """One latent for each step, from noise to the picture of this seed."""
    random = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    noise = random.random(start.shape, dtype=np.float32)
    target = np.stack([_waves(random, *start.shape[1:3]) for _ in range(len(start))])
    goal = start + (target - start) * np.float32(denoise)
    for step in range(1, steps + 1):
        remaining = np.float32((1 - step / steps) * denoise)
        yield goal + (noise - goal) * remaining


def _waves(random: np.random.Generator, height: int, width: int) -> Pixels:
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    columns = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    total: Pixels = np.zeros((height, width, 3), dtype=np.float32)
    for _ in range(WAVES):
        down, right, phase = random.uniform(-2.0, 2.0, (3, 3)).astype(np.float32)
        total += np.sin(2 * np.pi * (rows * down + columns * right + phase))
    return (total / np.float32(WAVES) + np.float32(1)) / np.float32(2)


def decode(latent: Pixels) -> Pixels:
    _, height, width, _ = latent.shape
    size = (width * SCALE, height * SCALE)
    return np.stack([from_pillow(_enlarge(picture, size)) for picture in latent])


def _enlarge(picture: Pixels, size: tuple[int, int]) -> Image.Image:
    return to_pillow(picture).resize(size, Image.Resampling.BICUBIC)


def encode(images: Pixels) -> Pixels:
    """The mean colour of each 8x8 square; what does not fill a square is cut off evenly."""
    batch, height, width, _ = images.shape
    rows, columns = height // SCALE, width // SCALE
    top, left = (height % SCALE) // 2, (width % SCALE) // 2
    kept = images[:, top : top + rows * SCALE, left : left + columns * SCALE, :3]
    squares = kept.reshape(batch, rows, SCALE, columns, SCALE, 3)
    mean: Pixels = squares.mean(axis=(2, 4), dtype=np.float32)
    return mean
