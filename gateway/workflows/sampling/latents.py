"""Where the latent of a sampler comes from: its size, and the sampler before it; pure."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.workflows.sampling.links import Place, Wires

#: Inputs that carry what is sampled, the likeliest first.
LATENTS = (
    "latent_image",
    "latent",
    "samples",
    "latents",
    "samples_to",
    "samples1",
    "pixels",
    "image_embeds",
)
IMAGES = ("image", "images")
_RESIZES = re.compile(r"scale|resize|crop|pad|rotate|stitch", re.IGNORECASE)


@dataclass(frozen=True)
class Origin:
    """Where a latent comes from."""

    #: The node that gives it its width and height.
    sized_by: str | None = None
    #: The sampler that made it.
    before: str | None = None
    #: Whether it has the size that the sampler before it made.
    same_size: bool = True


def origin(wires: Wires, sampler: str, others: AbstractSet[str]) -> Origin:
    """Return where the latent of a sampler comes from."""
    current, sized_by, same_size = sampler, None, True
    seen: set[str] = set()
    while current not in seen and wires.spend():
        seen.add(current)
        resizes = bool(_RESIZES.search(wires.class_of(current)))
        if {"width", "height"} <= wires.inputs(current).keys() and same_size:
            sized_by, same_size = current, False
        elif resizes:
            same_size = False
        # A picture that a node only looks at is not what is sampled.
        looked_at = sized_by == current and not resizes
        source = wires.source(current, *LATENTS, *(() if looked_at else IMAGES))
        if source is None:
            break
        current = source[0]
        if current in others and current != sampler:
            return Origin(sized_by, current, same_size)
    return Origin(sized_by, None, same_size)


def size_places(found: Origin) -> dict[str, Place]:
    """Return the inputs that hold the width and the height."""
    if found.sized_by is None:
        return {}
    return {name: Place(found.sized_by, name) for name in ("width", "height")}
