"""What the client of a prompt is told while it runs, and what its history keeps of that."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.embedded import frames
from gateway.embedded.pending import Prompt
from gateway.embedded.progress import Progress, identity
from gateway.embedded.sockets import Sockets

if TYPE_CHECKING:
    from PIL.Image import Image

METADATA_FEATURE = "supports_preview_metadata"


class Reporter:
    """The frames of one prompt. Those without a client id go to everyone, or to no one."""

    def __init__(self, prompt: Prompt, sockets: Sockets, preview_size: int | None) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self._prompt_id = prompt.prompt_id
        self._client_id = prompt.client_id
        self._sockets = sockets
        self._preview_size = preview_size
        self._progress = Progress(prompt.prompt_id)

    def announce(self, event: str, to_all: bool = False, **data: Any) -> None:
        """Send a message and keep it for the history."""
        data = {"prompt_id": self._prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, data))
        if to_all:
            self._send_to_all(event, data)
        else:
            self._send(event, data)

    def started(self, node_id: str) -> None:
        self._send_to_all("progress_state", self._progress.start(node_id))

    def executing(self, node_id: str) -> None:
        if self._client_id is not None:
            self._sockets.node_id = node_id
        self._send("executing", self._about(node_id))
        self._sockets.send_nan_frames(self._client_id)

    def step(self, node_id: str, value: int, total: int, preview: Callable[[], Image]) -> None:
        self._send_to_all("progress_state", self._progress.update(node_id, value, total))
        data = {"value": value, "max": total, "prompt_id": self._prompt_id, "node": node_id}
        # The newer kind of preview comes before the numbers, the older one after them.
        if self._sockets.supports(self._client_id, METADATA_FEATURE):
            self._send_preview(preview, {"node_id": node_id, "prompt_id": self._prompt_id})
            self._send_to_all("progress", data)
        else:
            self._send_to_all("progress", data)
            self._send_preview(preview, None)

    def executed(self, node_id: str, ui: dict[str, list[Any]] | None) -> None:
        about = self._about(node_id)
        self._send("executed", {**about, "output": ui})

    def finished(self, node_id: str) -> None:
        self._send_to_all("progress_state", self._progress.finish(node_id))

    def flush(self) -> None:
        self._sockets.flush()

    def done(self) -> None:
        """The very last frame, after the history has its entry."""
        self._send("executing", {"node": None, "prompt_id": self._prompt_id})

    def _about(self, node_id: str) -> dict[str, Any]:
        return {"node": node_id, "display_node": node_id, "prompt_id": self._prompt_id}

    def _send_preview(self, preview: Callable[[], Image], metadata: dict[str, Any] | None) -> None:
        if self._preview_size is None:
            return
        if metadata is None:
            frame = frames.preview(preview(), self._preview_size)
        else:
            about = {**metadata, **identity(metadata["node_id"])}
            frame = frames.preview_with_metadata(preview(), self._preview_size, about)
        self._sockets.send(frame, self._client_id)

    def _send(self, event: str, data: dict[str, Any]) -> None:
        if self._client_id is not None:
            self._send_to_all(event, data)

    def _send_to_all(self, event: str, data: dict[str, Any]) -> None:
        """To the client of the prompt; to everyone when it has none."""
        self._sockets.send({"type": event, "data": data}, self._client_id)
