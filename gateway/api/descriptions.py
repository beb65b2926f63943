"""What the OpenAPI document says of each address, beside its handler's docstring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gateway import errors, schemas
from gateway.api import answers, lora_schemas, model_schemas, workflow_schemas

#: Runs on both engines, with no model: a picture of one colour.
EXAMPLE = {
    "prompt": {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": 3368703},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "hello"},
        },
    }
}

#: The same, as the canvas saves it; what only the canvas reads is left out.
CANVAS_EXAMPLE = {
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "widgets_values": [256, 256, 1, 3368703],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "widgets_values": ["hello"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "version": 0.4,
}

_TEXT = "text/plain"
_BYTES = "application/octet-stream"
Answers = dict[int, "type[BaseModel] | str | None"]
Errors = Sequence[type[errors.GatewayError]]

_JOB_ERRORS = (
    errors.OutputNotFound,
    errors.NotAcceptable,
    errors.JobCancelled,
    errors.ExecutionFailed,
    errors.OutputMissing,
    errors.EngineCrashed,
    errors.CredentialsLost,
    errors.UploadFailed,
    errors.InternalError,
    errors.JobTimeout,
    errors.StorageFull,
)
_FETCH_ERRORS = (
    errors.ModelNotFetched,
    errors.ModelInvalid,
    errors.CredentialsRefused,
    errors.LinkOccupied,
    errors.ModelTooLarge,
)
_PROMPT_ERRORS = (
    errors.InvalidJson,
    errors.NoOutput,
    errors.InputNotFetched,
    *_FETCH_ERRORS,
    errors.InvalidInput,
    errors.RequestTimeout,
    errors.IdTaken,
    errors.BodyTooLarge,
    errors.InputTooLarge,
    errors.TooManyPixels,
    errors.InvalidRequest,
    errors.NotConvertible,
    errors.UnknownModelFolder,
    errors.DestinationNotConfigured,
    errors.InvalidGraph,
    errors.UnknownPreset,
    errors.PresetRefused,
    errors.UnknownLora,
    errors.LoraRefused,
    errors.QueueFull,
    errors.KeyQueueFull,
    errors.NotReady,
    errors.Draining,
    errors.StoreBusy,
    *_JOB_ERRORS,
)


@dataclass(frozen=True)
class Told:
    """What the document says of one address, beside its handler's docstring."""

    answers: Answers
    failures: Errors = ()
    body: type[BaseModel] | None = None
    example: dict[str, Any] | None = None
    #: Whether the body may be a form, too.
    is_form: bool = False
    #: Types of files that may be the whole body.
    files: Sequence[str] = ()
    #: (name, where, type, description)
    parameters: Sequence[tuple[str, str, str, str]] = ()
    description: str | None = None
    #: Types that a 200 may have by `Accept`, beside JSON.
    raw: Sequence[str] = ()
    tag: str = "jobs"


_HEALTH = answers.HealthAnswer
_UNKNOWN = (errors.JobNotFound,)
_PROMPT_PARAMETERS = (
    ("Prefer", "header", "string", "`respond-async`: 202 as soon as the job is on disk."),
    (
        "Idempotency-Key",
        "header",
        "string",
        "Joins the job that an earlier request with this key and the same body began.",
    ),
    (
        "format",
        "query",
        "string",
        "`png`, `jpeg`, `jpg`, `webp`, `avif`: the first picture itself, converted if need be.",
    ),
    (
        "dry_run",
        "query",
        "boolean",
        "Check the request and answer `{prompt, changes, warnings}`: nothing runs or is stored.",
    ),
)
_NAMED_ERRORS = (
    errors.WorkflowNotFound,
    errors.WorkflowBroken,
    errors.InvalidParameters,
    errors.BuildFailed,
    *_PROMPT_ERRORS,
)
_FILES = ("image/*", "audio/*", "video/*")
_CONVERT_ERRORS = (
    errors.InvalidJson,
    errors.InputNotFetched,
    errors.InvalidInput,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.InputTooLarge,
    errors.InvalidRequest,
    errors.NotConvertible,
    errors.InvalidGraph,
    errors.NotReady,
    errors.Draining,
    errors.StorageFull,
)
_RAW = ("image/*", "video/*", "audio/*", "multipart/mixed")
#: An operation of this shape stands for each named workflow, too.
NAMED = Told(
    {200: workflow_schemas.NamedAnswer, 202: workflow_schemas.NamedAcceptedAnswer},
    _NAMED_ERRORS,
    body=schemas.WorkflowRequest,
    example={"input": {"prompt": "a cat in the rain", "seed": "random"}},
    is_form=True,
    parameters=_PROMPT_PARAMETERS,
    raw=_RAW,
    description="`input` has values by the names of the workflow's parameters, beside every field "
    "of `/prompt` but `prompt`. As a form, each part is a parameter or a field, and files are "
    "media. Answers as `/prompt` does.",
    tag="workflows",
)

OPERATIONS: dict[tuple[str, str], Told] = {
    ("POST", "/prompt"): Told(
        {200: answers.PromptAnswer, 202: answers.AcceptedAnswer},
        _PROMPT_ERRORS,
        body=schemas.PromptRequest,
        example=EXAMPLE,
        is_form=True,
        files=_FILES,
        parameters=_PROMPT_PARAMETERS,
        raw=_RAW,
        description="A workflow as the canvas saves it, alone or in the file of a picture that "
        "ComfyUI made, is as good as one in API format. 202 as soon as the job is on disk: with a "
        "webhook, and for an upload with `async: true` too.",
    ),
    ("POST", "/convert"): Told(
        {200: answers.ConvertedAnswer},
        _CONVERT_ERRORS,
        body=schemas.ConvertRequest,
        example={"prompt": CANVAS_EXAMPLE},
        is_form=True,
        files=_FILES,
        description="The workflow itself may be the body, too, or a file that has it embedded.",
    ),
    ("GET", "/workflows"): Told({200: workflow_schemas.WorkflowList}, tag="workflows"),
    ("GET", "/workflow/{name}"): Told(
        {200: workflow_schemas.OneWorkflowAnswer}, (errors.WorkflowNotFound,), tag="workflows"
    ),
    ("POST", "/workflow/{name}"): NAMED,
    ("POST", "/generate"): Told(
        {202: workflow_schemas.TaskBegun},
        _NAMED_ERRORS,
        body=schemas.GenerateRequest,
        example={"workflow_id": "sdxl_text_to_image", "params": {"prompt": "a cat in the rain"}},
        parameters=_PROMPT_PARAMETERS[1:2],
        description="`id`, where one is given, is the task's id. `Location` names where to ask.",
        tag="workflows",
    ),
    ("GET", "/tasks/{id}"): Told({200: workflow_schemas.TaskAnswer}, _UNKNOWN, tag="workflows"),
    ("POST", "/interrupt"): Told(
        {200: answers.InterruptAnswer, 404: answers.InterruptAnswer},
        (errors.InvalidJson, errors.InvalidRequest, errors.BodyTooLarge),
        body=schemas.InterruptRequest,
    ),
    ("GET", "/jobs"): Told(
        {200: answers.JobList},
        (errors.InvalidRequest,),
        parameters=[
            ("state", "query", "string", "Only jobs in this state."),
            ("limit", "query", "integer", "At most so many, 1 to 200; 50 when not given."),
            ("cursor", "query", "string", "`next_cursor` of the page before."),
        ],
    ),
    ("GET", "/jobs/{id}"): Told({200: answers.JobAnswer}, _UNKNOWN),
    ("DELETE", "/jobs/{id}"): Told({204: None}, (*_UNKNOWN, errors.JobRunning)),
    ("POST", "/jobs/{id}/cancel"): Told(
        {200: answers.CancelAnswer, 202: answers.CancelAnswer},
        _UNKNOWN,
        description="202 when the job is asked to end; 200 when it was over already.",
    ),
    ("POST", "/jobs/{id}/reproduce"): Told(
        {200: answers.PromptAnswer, 202: answers.AcceptedAnswer},
        (errors.JobNotFound, errors.InvalidParameters, *_PROMPT_ERRORS),
        body=schemas.ReproduceRequest,
        example={"overrides": {"seed": 7, "3.inputs.steps": 30}},
        parameters=_PROMPT_PARAMETERS,
        raw=_RAW,
        description="The body may be empty. `overrides` name an input as `NODE.INPUT`, a parameter "
        "of the named workflow, or a sampler's setting; its uploads and webhooks are not repeated.",
    ),
    ("GET", "/jobs/{id}/events"): Told(
        {200: "text/event-stream", 204: None},
        (*_UNKNOWN, errors.InvalidRequest),
        parameters=[
            ("previews", "query", "boolean", "Pictures of the progress too, at most two a second."),
            ("Last-Event-ID", "header", "string", "The last `id` heard: go on from there."),
            ("last_event_id", "query", "string", "The same, where no header can be sent."),
        ],
        description="`state`, `progress`, `preview`, `output` and `log`; the terminal `state` is "
        "the last, then the stream ends. 204 to a reader that has heard that already.",
    ),
    ("GET", "/jobs/{id}/outputs/{name}"): Told(
        {200: _BYTES, 206: _BYTES},
        (*_UNKNOWN, errors.OutputNotFound, errors.RangeNotSatisfiable),
        parameters=[("Range", "header", "string", "A part of the file: `bytes=0-1023`.")],
        description="`name` is the output's `index`; `0-name.png` means the same as `0`.",
    ),
    ("GET", "/jobs/{id}/outputs/{name}/metadata"): Told(
        {200: answers.Sidecar},
        (*_UNKNOWN, errors.OutputNotFound),
        description="What stands in `<file>.json` beside the output, also when both are gone.",
    ),
    ("GET", "/generations"): Told(
        {200: answers.GenerationList},
        (errors.InvalidRequest,),
        parameters=[
            ("prompt", "query", "string", 'Words, all of them in the prompt; "a phrase"; begin*.'),
            ("negative_prompt", "query", "string", "The same, of the negative prompt."),
            ("seed", "query", "integer", "Exactly this seed."),
            ("seed_min", "query", "integer", "No seed below."),
            ("seed_max", "query", "integer", "No seed above."),
            ("workflow", "query", "string", "Made by this named workflow."),
            ("lora", "query", "string", "With this LoRA: folder and extension may be left out."),
            ("model", "query", "string", "With this model, likewise."),
            ("sampler", "query", "string", "By this sampler."),
            ("preset", "query", "string", "With this preset."),
            ("job_id", "query", "string", "By this job."),
            ("min_score", "query", "number", "Validated with this score or a higher one."),
            ("after", "query", "string", "Later than this: ISO 8601, or seconds since 1970."),
            ("before", "query", "string", "Earlier than this."),
            ("limit", "query", "integer", "At most so many, 1 to 200; 50 when not given."),
            ("cursor", "query", "string", "`next_cursor` of the page before."),
        ],
        description="Kept for GENERATION_TTL_S, longer than the jobs themselves.",
    ),
    ("GET", "/models"): Told({200: model_schemas.ModelList}, (errors.NotReady,), tag="models"),
    ("GET", "/loras"): Told({200: lora_schemas.LoraList}, (errors.NotReady,), tag="models"),
    ("GET", "/presets"): Told({200: lora_schemas.PresetList}, tag="models"),
    ("POST", "/download"): Told(
        {200: model_schemas.DownloadAnswer, 202: model_schemas.DownloadAnswer},
        (
            errors.InvalidJson,
            errors.InvalidRequest,
            errors.InvalidInput,
            errors.UnknownModelType,
            errors.BodyTooLarge,
            errors.Draining,
            errors.StorageFull,
            *_FETCH_ERRORS,
        ),
        body=model_schemas.DownloadRequest,
        example={
            "url": "https://huggingface.co/owner/name/resolve/main/model.safetensors",
            "model_type": "loras",
            "wait": True,
        },
        description="202 at once, or with `wait` 200 when the file is there. A download of the "
        "same URL that runs already is joined; `GET /downloads` shows how far it is.",
        tag="models",
    ),
    ("GET", "/downloads"): Told({200: model_schemas.DownloadList}, tag="models"),
    ("GET", "/cache"): Told({200: model_schemas.CacheList}, tag="models"),
    ("DELETE", "/cache/{name}"): Told(
        {204: None}, (errors.CacheEntryNotFound, errors.CacheEntryInUse), tag="models"
    ),
    ("GET", "/webhooks/deliveries"): Told(
        {200: answers.DeliveryList},
        (errors.InvalidRequest,),
        parameters=[
            ("state", "query", "string", "Only `pending`, `delivered` or `dead` ones."),
            ("job_id", "query", "string", "Only those about this job."),
            ("limit", "query", "integer", "At most so many, 1 to 200; 50 when not given."),
            ("cursor", "query", "string", "`next_cursor` of the page before."),
        ],
        tag="webhooks",
    ),
    ("POST", "/webhooks/deliveries/{id}/replay"): Told(
        {202: answers.DeliveryAnswer},
        (errors.DeliveryNotFound,),
        description="Whatever became of it: a dead letter or a delivered one is owed again, with "
        "all its attempts, and one that is pending is tried now.",
        tag="webhooks",
    ),
    ("GET", "/health"): Told({200: _HEALTH, 500: _HEALTH}, tag="operations"),
    ("GET", "/ready"): Told({200: _HEALTH, 503: _HEALTH}, tag="operations"),
    ("GET", "/live"): Told({200: _HEALTH}, tag="operations"),
    ("GET", "/metrics"): Told({200: _TEXT}, tag="operations"),
    ("GET", "/logs"): Told(
        {200: answers.LogAnswer},
        (errors.InvalidRequest,),
        parameters=[
            ("tail", "query", "integer", "How many of the last lines; 100 when not given."),
            ("source", "query", "string", "`comfyui` or `gateway` for the lines of one."),
        ],
        tag="operations",
    ),
    ("GET", "/openapi.json"): Told({200: "application/json"}, tag="documentation"),
    ("GET", "/docs"): Told({200: "text/html"}, tag="documentation"),
    ("GET", "/docs/{asset}"): Told({200: _BYTES}, (errors.NotFound,), tag="documentation"),
}
