"""The wire contract as pydantic models: what a client gets back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class UnknownNode(BaseModel):
    """A node of the canvas of which something cannot be known."""

    id: str
    title: str | None = None
    class_type: str | None = None
    message: str
    custom_node: str | None = Field(None, description="What the file says that it came from.")


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: str
    code: str
    location: str | None = None
    hint: str | None = None
    node_errors: dict[str, Any] | None = None
    nodes: list[UnknownNode] | None = Field(None, description="Of `not_convertible`.")
    warnings: list[str] | None = Field(
        None, description="What is worth knowing of how the graph came about that was refused."
    )


class Output(BaseModel):
    """A file that a job produced."""

    index: int
    node_id: str
    filename: str
    type: str
    content_type: str
    size: int = Field(description="Bytes.")
    width: int | None = None
    height: int | None = None
    url: str | None = None
    uploaded_to: str | None = Field(None, description="Where it was uploaded to.")


class UsedLora(BaseModel):
    """A LoRA as it was applied."""

    name: str
    strength: float | None = None
    strength_clip: float | None = None


class UsedModel(BaseModel):
    """A model that an output was made with."""

    folder: str
    name: str
    sha256: str | None = Field(None, description="Of its file; null while it was not reckoned.")


class Sidecar(BaseModel):
    """What made an output, told from the graph that ran; null is what the graph does not tell."""

    timestamp: str | None = Field(description="When ComfyUI was done with it, ISO 8601.")
    job_id: str
    workflow: str | None = Field(description="Name of the workflow that the request named.")
    prompt: str | None
    negative_prompt: str | None
    seed: int | None
    steps: int | None
    cfg: float | None
    sampler: str | None
    scheduler: str | None
    denoise: float | None
    loras: list[UsedLora] = Field(description="In the order they were applied.")
    preset: str | None
    validation_score: float | None
    url: str = Field(description="Where it was uploaded to, else its address here.")
    filename: str
    node_id: str
    index: int
    width: int | None
    height: int | None
    models: list[UsedModel]
    duration: float | None = Field(description="Seconds that ComfyUI took for the whole graph.")
    gateway_version: str | None
    comfyui_version: str | None


class GenerationList(BaseModel):
    """Newest first."""

    generations: list[Sidecar]
    next_cursor: str | None = None


class Text(BaseModel):
    """A text that a job produced."""

    node_id: str
    text: str


class ComfyExecution(BaseModel):
    """Times as ComfyUI's frames tell them, milliseconds since 1970 and milliseconds."""

    start: float
    end: float
    duration: float
    nodes: dict[str, dict[str, float]]


class Stats(BaseModel):
    """Where the time went, milliseconds."""

    comfy_execution: ComfyExecution
    queue_time: float
    preprocess_time: float
    comfy_round_trip_time: float
    postprocess_time: float
    upload_time: float
    total_time: float


class Node(BaseModel):
    """A node of an API-format workflow."""

    model_config = ConfigDict(extra="allow")

    class_type: str
    inputs: dict[str, Any] = {}


class PromptAnswer(BaseModel):
    """200 of `POST /prompt`: the request's fields, and what came of it."""

    model_config = ConfigDict(extra="allow")

    id: str
    status: Literal["ok"]
    prompt: dict[str, Node] = Field(description="As it was run.")
    images: list[str] = Field(
        description="base64 of every file, or the URLs they were uploaded to, as in `outputs`."
    )
    presigned_urls: list[str] | None = Field(
        None, description="Links beside `images` that live for presign_s."
    )
    filenames: list[str]
    outputs: list[Output]
    texts: list[Text]
    execution_cached: list[str]
    stats: Stats
    warnings: list[str]
    node_errors: dict[str, Any] | None = None


class ConvertedAnswer(BaseModel):
    """`POST /convert`: the workflow in API format."""

    prompt: dict[str, Node]
    warnings: list[str] = Field(description="What became of it; the first says if it was as it is.")


class AcceptedAnswer(BaseModel):
    """202 of `POST /prompt`: the job is on disk."""

    model_config = ConfigDict(extra="allow")

    id: str
    status: Literal["ok"]
    warnings: list[str] | None = None


class Progress(BaseModel):
    """How far a job is; `value` never goes back."""

    value: float = Field(ge=0, le=1)
    node: str | None = None
    class_type: str | None = None
    nodes_done: int
    nodes_total: int
    step: float | None = None
    steps: float | None = None


class JobError(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    hint: str | None = None
    node_id: str | None = None
    class_type: str | None = None
    exception_type: str | None = None
    traceback: list[str] | None = None


JobState = Literal["queued", "running", "delivering", "succeeded", "failed", "cancelled"]


class Estimate(BaseModel):
    """What a queued job may expect, from what jobs of its shape took lately; seconds."""

    wait: float = Field(description="Until it starts.")
    duration: float = Field(description="That it keeps ComfyUI then.")


class JobAnswer(BaseModel):
    """`GET /jobs/{id}`."""

    id: str
    state: JobState
    phase: Literal["preparing"] | None = None
    attempt: int
    position: int | None = None
    estimate: Estimate | None = Field(None, description="While it is queued, once known.")
    priority: int
    metadata: dict[str, Any] | Literal[False] | None = None
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    prompt_id: str | None = None
    progress: Progress
    outputs: list[Output]
    texts: list[Text]
    presigned_urls: list[str] | None = None
    stats: Stats | None = None
    warnings: list[str]
    node_errors: dict[str, Any] | None = None
    error: JobError | None = None


class JobList(BaseModel):
    """`GET /jobs`."""

    jobs: list[JobAnswer]
    next_cursor: str | None = None


class InterruptAnswer(BaseModel):
    """Answer of `POST /interrupt`."""

    id: str
    interrupted: Literal["success", "failed"]


class CancelAnswer(BaseModel):
    """Answer of `POST /jobs/{id}/cancel`."""

    id: str
    state: JobState


class Attempt(BaseModel):
    """One call of a webhook."""

    at: str
    status: int | None = Field(None, description="What the receiver answered.")
    error: str | None = Field(None, description="Why there is no answer, or it is not enough.")
    duration: float = Field(description="Seconds.")


class DeliveryAnswer(BaseModel):
    """A call of a webhook that is owed, arrived, or is a dead letter."""

    id: str
    job_id: str
    kind: Literal["webhook_v2", "webhook"]
    url: str = Field(description="Without its query.")
    state: Literal["pending", "delivered", "dead"]
    attempts: list[Attempt] = Field(description="Oldest first; the newest 50.")
    next_at: str | None = Field(None, description="When it is tried next, while it is pending.")


class DeliveryList(BaseModel):
    """`GET /webhooks/deliveries`."""

    deliveries: list[DeliveryAnswer]
    next_cursor: str | None = None


class HealthAnswer(BaseModel):
    """`GET /health`, `/ready`, `/live`."""

    status: str
    version: str | None = None
    reason: Literal["starting", "warming", "comfyui_down", "queue_full", "draining"] | None = None
    detail: str | None = None
    log: list[str] | None = Field(None, description="ComfyUI's last lines, in a crash loop.")


class LogAnswer(BaseModel):
    """`GET /logs`."""

    lines: list[dict[str, Any]]
