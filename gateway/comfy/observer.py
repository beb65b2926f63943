"""What an attempt tells while it runs, and who hears of it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.comfy.events import Frame, Preview

_LATELY = 16


@dataclass(frozen=True)
class FileRef:
    """A file as ComfyUI reports it."""

    node_id: str
    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Progress:
    """How far an attempt is; `value` is 0 to 1 of the whole and never goes back."""

    value: float
    node: str | None
    class_type: str | None
    nodes_done: int
    nodes_total: int
    step: float | None = None
    steps: float | None = None


class Observer:
    """Hears of one attempt; this one does not listen. Nothing here may wait or raise."""

    @property
    def wants_previews(self) -> bool:
        """Whether pictures of the progress are of use now."""
        return False

    def on_run(self) -> None:
        """Hear that it begins; more than once when it is tried again."""

    def on_frame(self, frame: Frame) -> None:
        """Hear of a frame, as ComfyUI sent it."""

    def on_progress(self, progress: Progress) -> None:
        """Hear how far it is."""

    def on_files(self, files: list[FileRef], settled: int) -> None:
        """Hear of all files so far; the place of the first `settled` ones is final."""

    def on_preview(self, preview: Preview) -> None:
        """Hear what the picture looks like so far."""

    def on_line(self, line: str) -> None:
        """Hear what ComfyUI wrote into its log meanwhile."""


class Lately:
    """Who heard of the prompts that were settled last: their very last frames are yet to come."""

    def __init__(self) -> None:
        self._observers: dict[str, Observer] = {}

    def add(self, prompt_id: str, observer: Observer) -> None:
        """Keep an observer for a while."""
        self._observers[prompt_id] = observer
        if len(self._observers) > _LATELY:
            del self._observers[next(iter(self._observers))]

    def on_frame(self, prompt_id: str, frame: Frame) -> None:
        """Hand on a frame, if someone is there to hear it."""
        if prompt_id in self._observers:
            self._observers[prompt_id].on_frame(frame)
