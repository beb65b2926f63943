"""The wire contract as pydantic models: what a client may send; answers are in `api/answers.py`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gateway import errors

METADATA_BYTES = 4096

#: What the caller may name a job; also a path segment and the head of file names.
JOB_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}")

#: Fields that name where the outputs are uploaded to; a request has one of them at most.
UPLOADS = ("s3", "gcs", "azure_blob_upload", "hf_upload", "http_upload")

#: What JSON may hold in place of an object, as sentences name it.
_KINDS = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a boolean"}

#: Seconds that a presigned link may live at most: what S3's signature allows, a week.
PRESIGN_S = 604800


class Wire(BaseModel):
    """A part of a request; unknown keys are refused inside the known fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BearerAuth(Wire):
    """`Authorization: Bearer <token>`."""

    type: Literal["bearer"]
    token: str


class BasicAuth(Wire):
    """`Authorization: Basic <username:password>`."""

    type: Literal["basic"]
    username: str
    password: str


class HeaderAuth(Wire):
    """A header of the caller's choice."""

    type: Literal["header"]
    header_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    header_value: Annotated[str, Field(pattern=r"^[^\r\n\x00]*$")]


class QueryAuth(Wire):
    """A query parameter of the caller's choice."""

    type: Literal["query"]
    query_param: str
    query_value: str


class S3Auth(Wire):
    """Keys of an S3 bucket."""

    type: Literal["s3"]
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    region: str | None = None
    endpoint: str | None = None


Auth = Annotated[
    BearerAuth | BasicAuth | HeaderAuth | QueryAuth | S3Auth, Field(discriminator="type")
]


class Credential(Wire):
    """What to send to the URLs that match; `*` any but `/`, `**` any, `?` one."""

    url_pattern: str
    auth: Auth


class ConvertOutput(Wire):
    """What pictures are converted to; `options` as docs/reference/api.md lists them."""

    format: Literal["jpeg", "jpg", "webp", "png", "avif"]
    options: dict[str, Any] = {}


class Upload(Wire):
    """Where the outputs go instead of into the answer."""

    is_async: bool = Field(
        False, alias="async", strict=True, description="Answer 202 at once, as for a webhook."
    )


#: A name that stands between two slashes of a URL.
Segment = Annotated[str, Field(pattern=r"^[^/?#\s\x00-\x1f\x7f]+$", max_length=255)]
#: What stands before a file's name, joined as written.
Prefix = Annotated[str, Field(pattern=r"^[^?#\x00-\x1f\x7f]*$", max_length=900)]
PresignS = Annotated[
    int | None,
    Field(
        ge=1,
        le=PRESIGN_S,
        strict=True,
        description="Also answer with https links that live so many seconds.",
    ),
]


class S3Upload(Upload):
    """To `s3://<bucket>/<prefix><filename>`."""

    bucket: Segment
    prefix: Prefix
    presign_s: PresignS = None


class GcsUpload(Upload):
    """To `gs://<bucket>/<prefix><filename>`."""

    bucket: Segment
    prefix: Prefix
    presign_s: PresignS = None


class AzureBlobUpload(Upload):
    """To `<account URL>/<container>/<blob_prefix><filename>`."""

    container: Segment
    blob_prefix: Prefix = ""
    presign_s: PresignS = None


class HfUpload(Upload):
    """Into a repository of Hugging Face."""

    repo: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?$")]
    repo_type: Literal["model", "dataset"] = "model"
    revision: Annotated[str, Field(pattern=r"^[^\s?#\x00-\x1f\x7f]+$", max_length=255)] = "main"
    directory: Prefix = "/"

    @field_validator("directory")
    @classmethod
    def _directory(cls, value: str) -> str:
        if ".." in value.split("/"):
            raise ValueError("no .. in it")
        return value


class HttpUpload(Upload):
    """By PUT, to `<url_prefix less a trailing />/<filename>`."""

    url_prefix: Annotated[str, Field(pattern=r"^(?i:https?)://[^\s#\x00-\x1f\x7f]+$")]


_WEBHOOK = re.compile(r"(?i:https?)://[^\s/?#\x00-\x1f\x7f]+[^\s\x00-\x1f\x7f]*")


def _webhook(value: str) -> str:
    if not _WEBHOOK.fullmatch(value):
        raise ValueError("write an http or https URL, without blanks: https://host/path")
    if re.match(r"(?i:https?)://[^/?#]*@", value):
        raise ValueError("no user or password in it: it is stored, and shown with the job")
    return value


WebhookUrl = Annotated[
    str,
    Field(max_length=2048, json_schema_extra={"format": "uri"}),
    AfterValidator(_webhook),
]


#: What ComfyUI's own LoRA nodes take.
Strength = Annotated[float, Field(ge=-100, le=100, strict=True, allow_inf_nan=False)]


class LoraWish(Wire):
    """A LoRA to put into the graph: by its name in `GET /loras`, or by URL."""

    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    url: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    strength: Strength = 1.0
    strength_clip: Strength | None = Field(None, description="As `strength` when not given.")
    target: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Which model chain, where the graph has several: `high`, `low`, a node."
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> LoraWish:
        if (self.name is None) == (self.url is None):
            raise ValueError("a LoRA has either name or url")
        return self


def _metadata(value: Any) -> dict[str, Any] | Literal[False] | None:
    if value is None or value is False:
        return value
    if not isinstance(value, dict):
        raise ValueError("an object, or false for no sidecars")  # noqa: TRY004
    if len(orjson.dumps(value)) > METADATA_BYTES:
        raise ValueError("at most 4 KiB")
    return value


Metadata = Annotated[
    Any,
    AfterValidator(_metadata),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"const": False}, {"type": "null"}]}),
]


class JobRequest(BaseModel):
    """What every request for a job may say, whatever names its graph."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | None = Field(None, description="The caller's name for the job; a UUID otherwise.")
    webhook_v2: WebhookUrl | None = Field(
        None, description="One signed call when all is done; the answer is a 202."
    )
    webhook: WebhookUrl | None = Field(
        None, description="Legacy: one unsigned call for each output; the answer is a 202."
    )
    convert_output: ConvertOutput | None = None
    # Each is tried on each URL of the request.
    credentials: list[Credential] = Field([], max_length=100)
    s3: S3Upload | None = None
    gcs: GcsUpload | None = None
    azure_blob_upload: AzureBlobUpload | None = None
    hf_upload: HfUpload | None = None
    http_upload: HttpUpload | None = None
    extra_data: dict[str, Any] = Field(
        {}, description="Passed to ComfyUI; never stored, logged or echoed."
    )
    priority: int = Field(0, ge=-100, le=100, strict=True, description="Higher first.")
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, strict=True, description="Seconds from acceptance."
    )
    metadata: Metadata = Field(
        None,
        description="At most 4 KiB; echoed in every answer about the job. `false`: no sidecars.",
    )
    preset: str | None = Field(
        None, max_length=200, description="Settings for the graph's samplers, by name."
    )
    loras: list[LoraWish] = Field(
        [], max_length=64, description="Put into the graph, in this order."
    )
    lora_preset: str | None = Field(
        None, max_length=200, description="LoRAs by the name of their list; before `loras`."
    )

    @property
    def is_async(self) -> bool:
        """Whether the answer is not to wait for the job's end."""
        if self.webhook_v2 is not None or self.webhook is not None:
            return True
        given = (getattr(self, name) for name in UPLOADS)
        return any(upload is not None and upload.is_async for upload in given)

    @field_validator("id")
    @classmethod
    def _id(cls, value: str | None) -> str | None:
        if value is not None and not JOB_ID.fullmatch(value):
            raise ValueError("1 to 128 of A-Z a-z 0-9 . _ : - and not . or ..")
        return value


def _workflow(value: Any) -> Any:
    if not isinstance(value, dict | str):
        raise ValueError(  # noqa: TRY004 - the only kind that pydantic words as it is
            "a workflow is an object, or a string that stands for a file: a URL, or base64; "
            f"this is {_KINDS.get(type(value), 'null')}"
        )
    return value


AnyWorkflow = Annotated[
    Any,
    AfterValidator(_workflow),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}]}),
    Field(
        description="API format (node id -> {inputs, class_type, _meta?}), or as the canvas saves "
        "it (nodes, links); or the URL, data URL or base64 of either as a JSON file, or of a PNG, "
        "WebP, JPEG, FLAC or MP4 that ComfyUI made."
    ),
]


class PromptRequest(JobRequest):
    """`POST /prompt`."""

    prompt: AnyWorkflow


class ConvertRequest(BaseModel):
    """`POST /convert`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: AnyWorkflow
    credentials: list[Credential] = Field(
        [], max_length=100, description="For a `prompt` that is a URL."
    )


class WorkflowRequest(JobRequest):
    """`POST /workflow/{name}`: values by the names of the workflow's parameters."""

    input: dict[str, Any] = {}


class GenerateRequest(JobRequest):
    """`POST /generate`."""

    workflow_id: str
    params: dict[str, Any] = {}


class ReproduceRequest(JobRequest):
    """`POST /jobs/{id}/reproduce`: values by `NODE.INPUT`, or by what a sampler calls them."""

    overrides: dict[str, Any] = {}


class InterruptRequest(BaseModel):
    """`POST /interrupt`."""

    id: str


_Kind = TypeVar("_Kind", bound=BaseModel)


def parse(kind: type[_Kind], body: Any, *, strict: bool) -> tuple[_Kind, list[str]]:
    """Return the request and its warnings.

    Raises InvalidRequest that tells every wrong field at once.
    """
    if not isinstance(body, dict):
        given = "null" if body is None else _KINDS.get(type(body), type(body).__name__)
        own = kind.model_fields.keys() - JobRequest.model_fields.keys()
        fields = ", ".join(f'"{name}": ...' for name in sorted(own))
        raise errors.InvalidRequest(
            f"The body is {given}, not an object.", hint=f"Send {{{fields}}}; /docs has an example."
        )
    unknown = sorted(body.keys() - kind.model_fields.keys())
    if unknown and strict:
        raise errors.InvalidRequest(f"Unknown fields: {', '.join(unknown)}.", location=unknown[0])
    try:
        request = kind.model_validate(body)
    except ValidationError as failure:
        raise invalid_request(failure) from None
    if isinstance(request, JobRequest):
        _check_one_upload(request)
    return request, [f"Unknown field {name[:100]!r} was ignored." for name in unknown[:20]]


def _check_one_upload(request: JobRequest) -> None:
    given = [name for name in UPLOADS if getattr(request, name) is not None]
    if len(given) > 1:
        raise errors.InvalidRequest(
            f"The outputs can go to one destination; {', '.join(given)} are given.",
            location=given[1],
            hint="Give one of them.",
        )


def invalid_request(failure: ValidationError, prefix: str = "") -> errors.InvalidRequest:
    """Translate pydantic's report into one sentence for each wrong field."""
    found = failure.errors(include_url=False, include_context=False, include_input=False)
    places = [prefix + ".".join(str(part) for part in error["loc"]) for error in found]
    sentences = [
        f"{place}: {error['msg'].removeprefix('Value error, ')}"
        if place
        else "The body is not an object."
        for place, error in zip(places, found, strict=True)
    ]
    return errors.InvalidRequest("; ".join(sentences), location=places[0] or None)
