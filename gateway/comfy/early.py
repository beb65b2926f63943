"""Frames of a prompt whose name is not known yet: an old core's answer may come after them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

from gateway.comfy.events import Frame

_MOST = 1000


class Early:
    """Keeps frames of unknown names while prompts are being sent."""

    def __init__(self) -> None:
        self._sending = 0
        self._frames: deque[Frame] = deque(maxlen=_MOST)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Keep frames until left."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            if not self._sending:
                self._frames.clear()

    def keep(self, frame: Frame) -> None:
        """Keep a frame, if a prompt is being sent."""
        if self._sending:
            self._frames.append(frame)

    def of(self, prompt_id: str) -> list[Frame]:
        """Return the frames of a prompt that came so far."""
        return [frame for frame in self._frames if frame.prompt_id == prompt_id]
