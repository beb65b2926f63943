"""What an attempt tells while it runs, and who hears of it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.comfy.events import Frame, Preview


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
