"""Every failure the gateway can name.

GatewayError
├── RequestRefused                      the caller can mend it
│   ├── InvalidJson                     400 invalid_json
│   ├── NoOutput                        400 no_output
│   ├── InputNotFetched                 400 input_not_fetched
│   ├── ModelNotFetched                 400 model_not_fetched
│   ├── ModelInvalid                    400 model_invalid
│   ├── UnknownModelType                400 unknown_model_type
│   ├── InvalidInput                    400 invalid_input
│   ├── Unauthorized                    401 unauthorized
│   ├── Forbidden                       403 forbidden
│   ├── CredentialsRefused              403 credentials_refused
│   ├── NotFound                        404 not_found
│   ├── JobNotFound                     404 job_not_found
│   ├── OutputNotFound                  404 output_not_found
│   ├── DeliveryNotFound                404 delivery_not_found
│   ├── CacheEntryNotFound              404 cache_entry_not_found
│   ├── WorkflowNotFound                404 workflow_not_found
│   ├── MethodNotAllowed                405 method_not_allowed
│   ├── NotAcceptable                   406 not_acceptable
│   ├── RequestTimeout                  408 request_timeout
│   ├── IdTaken                         409 id_taken
│   ├── JobRunning                      409 job_running
│   ├── CacheEntryInUse                 409 cache_entry_in_use
│   ├── LinkOccupied                    409 link_occupied
│   ├── BodyTooLarge                    413 body_too_large
│   ├── InputTooLarge                   413 input_too_large
│   ├── ModelTooLarge                   413 model_too_large
│   ├── TooManyPixels                   413 too_many_pixels
│   ├── RangeNotSatisfiable             416 range_not_satisfiable
│   ├── InvalidRequest                  422 invalid_request
│   ├── NotConvertible                  422 not_convertible
│   ├── UnknownModelFolder              422 unknown_model_folder
│   ├── DestinationNotConfigured        422 destination_not_configured
│   ├── InvalidGraph                    422 invalid_graph
│   ├── InvalidParameters               422 invalid_parameters
│   ├── UnknownPreset                   422 unknown_preset
│   ├── PresetRefused                   422 preset_refused
│   ├── UnknownLora                     422 unknown_lora
│   ├── LoraRefused                     422 lora_refused
│   ├── QueueFull                       429 queue_full
│   └── KeyQueueFull                    429 key_queue_full
├── JobFailed                           the job was accepted, and did not succeed
│   ├── ExecutionFailed                 500 execution_failed
│   │   └── OutOfMemory                 500 out_of_memory
│   ├── OutputMissing                   500 output_missing
│   ├── EngineCrashed                   500 engine_crashed
│   ├── CredentialsLost                 500 credentials_lost
│   ├── UploadFailed                    502 upload_failed
│   ├── JobCancelled                    409 cancelled
│   ├── ClientGone                      499 client_gone
│   └── JobTimeout                      504 timeout
├── Unavailable                         try again later
│   ├── NotReady                        503 not_ready
│   ├── Draining                        503 draining
│   ├── StoreBusy                       503 store_busy
│   ├── WorkflowBroken                  503 workflow_broken
│   └── StorageFull                     507 storage_full
├── InternalError                       500 internal
│   └── BuildFailed                     500 build_failed
└── Internal signals, never on the wire
    ├── SettingsInvalid                 the start is refused
    ├── StateRefused                    STATE_DIR is another gateway's, or of a newer version
    ├── InstallFailed                   what the manifest names could not be installed
    ├── ScriptMistake                   a workflow in Python is not what one must be
    ├── EngineLost                      ComfyUI died, or was restarted, under an attempt
    ├── GpuLost                         only another process of ComfyUI may get the GPU back
    ├── EngineRefused                   ComfyUI refused a graph at its own door
    └── LeaseLost                       another worker owns the job now
"""

from __future__ import annotations

from typing import Any, ClassVar


class GatewayError(Exception):
    """Something went wrong in the gateway."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        location: str | None = None,
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        """`details` go on the wire beside `error` and `code`; `retry_after` is in seconds."""
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        self.location = location
        self.retry_after = retry_after
        self.details = details
        super().__init__(self.message)

    def to_dict(self) -> dict[str, Any]:
        """Return what a job's record keeps of this failure: `jobs.md`, `error`."""
        found = {"code": self.code, "message": self.message, "status": self.status}
        optional = {"hint": self.hint, "location": self.location, **self.details}
        return found | {key: value for key, value in optional.items() if value is not None}


class RequestRefused(GatewayError):
    """The request was refused."""

    code = "invalid_request"
    status = 400


class InvalidJson(RequestRefused):
    """The body is not JSON."""

    code = "invalid_json"


class NoOutput(RequestRefused):
    """No node of the workflow produces an output; add one with a filename_prefix, as SaveImage."""

    code = "no_output"


class InputNotFetched(RequestRefused):
    """An input could not be fetched from its URL."""

    code = "input_not_fetched"


class ModelNotFetched(RequestRefused):
    """A model could not be fetched from its URL."""

    code = "model_not_fetched"


class ModelInvalid(RequestRefused):
    """What a URL holds is not the model it was said to be."""

    code = "model_invalid"


class UnknownModelType(RequestRefused):
    """ComfyUI has no such folder of models."""

    code = "unknown_model_type"


class InvalidInput(RequestRefused):
    """An input is not what its node can read."""

    code = "invalid_input"


class Unauthorized(RequestRefused):
    """A valid API key is needed: Authorization: Bearer <key>, or X-API-Key."""

    code = "unauthorized"
    status = 401


class Forbidden(RequestRefused):
    """This key may not do this."""

    code = "forbidden"
    status = 403


class CredentialsRefused(Forbidden):
    """This file was fetched with credentials; its source does not accept yours."""

    code = "credentials_refused"


class NotFound(RequestRefused):
    """There is nothing at this address; /docs lists what there is."""

    code = "not_found"
    status = 404


class JobNotFound(NotFound):
    """There is no job of this id."""

    code = "job_not_found"


class OutputNotFound(NotFound):
    """The job has no such output, or its time has run out."""

    code = "output_not_found"


class DeliveryNotFound(RequestRefused):
    """There is no such delivery."""

    code = "delivery_not_found"
    status = 404


class CacheEntryNotFound(NotFound):
    """The cache holds no file of this name."""

    code = "cache_entry_not_found"


class WorkflowNotFound(NotFound):
    """There is no workflow of this name; GET /workflows lists them."""

    code = "workflow_not_found"


class MethodNotAllowed(RequestRefused):
    """This address does not take this method."""

    code = "method_not_allowed"
    status = 405


class NotAcceptable(RequestRefused):
    """The job has no output of the type that Accept asks for."""

    code = "not_acceptable"
    status = 406


class RequestTimeout(RequestRefused):
    """The body did not arrive in time."""

    code = "request_timeout"
    status = 408
    retryable = True


class IdTaken(RequestRefused):
    """A different request has this id already; choose another."""

    code = "id_taken"
    status = 409


class JobRunning(RequestRefused):
    """The job is not over yet; cancel it first."""

    code = "job_running"
    status = 409


class CacheEntryInUse(RequestRefused):
    """A running job needs this file; delete it later."""

    code = "cache_entry_in_use"
    status = 409


class LinkOccupied(RequestRefused):
    """Something else has this name in the models folder; choose another."""

    code = "link_occupied"
    status = 409


class BodyTooLarge(RequestRefused):
    """The body is larger than MAX_BODY_SIZE_MB; send large inputs by URL."""

    code = "body_too_large"
    status = 413


class InputTooLarge(RequestRefused):
    """An input is larger than MAX_INPUT_MB."""

    code = "input_too_large"
    status = 413


class ModelTooLarge(RequestRefused):
    """A model does not fit into the cache (LRU_CACHE_SIZE_GB)."""

    code = "model_too_large"
    status = 413


class TooManyPixels(RequestRefused):
    """A picture has more pixels than MAX_PIXELS."""

    code = "too_many_pixels"
    status = 413


class RangeNotSatisfiable(RequestRefused):
    """The range lies outside the file."""

    code = "range_not_satisfiable"
    status = 416


class InvalidRequest(RequestRefused):
    """The request has the wrong shape."""

    status = 422


class NotConvertible(RequestRefused):
    """This workflow of the canvas cannot be brought into API format; `nodes` says why."""

    code = "not_convertible"
    status = 422


class UnknownModelFolder(RequestRefused):
    """Nothing says which folder of models this URL belongs to."""

    code = "unknown_model_folder"
    status = 422


class DestinationNotConfigured(RequestRefused):
    """There are no credentials, or no region, for this destination."""

    code = "destination_not_configured"
    status = 422


class InvalidGraph(RequestRefused):
    """ComfyUI would refuse this workflow."""

    code = "invalid_graph"
    status = 422


class InvalidParameters(RequestRefused):
    """Parameters of the workflow are wrong; `errors` has each of them."""

    code = "invalid_parameters"
    status = 422


class UnknownPreset(RequestRefused):
    """There is no preset of this name."""

    code = "unknown_preset"
    status = 422


class PresetRefused(RequestRefused):
    """A preset sets a sampler, and this workflow has none that it could set."""

    code = "preset_refused"
    status = 422


class UnknownLora(RequestRefused):
    """There is no LoRA of this name; GET /loras lists them."""

    code = "unknown_lora"
    status = 422


class LoraRefused(RequestRefused):
    """There is no place for this LoRA in the workflow."""

    code = "lora_refused"
    status = 422


class QueueFull(RequestRefused):
    """The queue is full; try again later."""

    code = "queue_full"
    status = 429
    retryable = True


class KeyQueueFull(QueueFull):
    """This key has as many queued jobs as it may have; try again later."""

    code = "key_queue_full"


class JobFailed(GatewayError):
    """The job failed."""


class ExecutionFailed(JobFailed):
    """A node raised while the workflow ran."""

    code = "execution_failed"


class OutOfMemory(ExecutionFailed):
    """The graph needs more memory than there is, also after ComfyUI had freed its own."""

    code = "out_of_memory"


class OutputMissing(JobFailed):
    """ComfyUI reported a file that is not in the folder the gateway reads."""

    code = "output_missing"


class EngineCrashed(JobFailed):
    """ComfyUI died while it ran this job, as often as MAX_ATTEMPTS allows."""

    code = "engine_crashed"


class CredentialsLost(JobFailed):
    """The gateway restarted, and this job's credentials were in memory only; send it again."""

    code = "credentials_lost"


class UploadFailed(JobFailed):
    """The job has run, and its outputs could not be uploaded; they can be fetched from here."""

    code = "upload_failed"
    status = 502
    retryable = True


class JobCancelled(JobFailed):
    """The job was cancelled."""

    code = "cancelled"
    status = 409


class ClientGone(JobFailed):
    """The job was cancelled, since the client that waited for it hung up."""

    code = "client_gone"
    status = 499


class JobTimeout(JobFailed):
    """The job did not finish within its timeout."""

    code = "timeout"
    status = 504
    retryable = True


class Unavailable(GatewayError):
    """The gateway cannot take this now."""

    status = 503
    retryable = True


class NotReady(Unavailable):
    """ComfyUI is not ready yet."""

    code = "not_ready"


class Draining(Unavailable):
    """The gateway is shutting down; ask again when it is back, or ask another."""

    code = "draining"


class StoreBusy(Unavailable):
    """Another process holds the job store; try again later."""

    code = "store_busy"


class WorkflowBroken(Unavailable):
    """The files of this workflow have mistakes; GET /workflows names them."""

    code = "workflow_broken"


class StorageFull(Unavailable):
    """The disk is full."""

    code = "storage_full"
    status = 507


class InternalError(GatewayError):
    """Something went wrong in the gateway; its log says what, under this request's id."""


class BuildFailed(InternalError):
    """The code of this workflow failed; the gateway's log has its traceback."""

    code = "build_failed"


class SettingsInvalid(GatewayError):
    """The settings do not allow a start."""


class StateRefused(GatewayError):
    """STATE_DIR is another gateway's, was written by a newer version, or is damaged."""


class InstallFailed(GatewayError):
    """What the manifest names could not be installed."""

    def __init__(
        self, message: str | None = None, *, hint: str | None = None, last_lines: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.last_lines = last_lines


class ScriptMistake(GatewayError):
    """A workflow in Python is not what one must be; lines and columns count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class EngineLost(GatewayError):
    """ComfyUI died, or was restarted, under this attempt."""

    def __init__(self, message: str | None = None, *, started: bool, last_lines: str = "") -> None:
        super().__init__(message)
        self.started = started
        self.last_lines = last_lines


class GpuLost(GatewayError):
    """The GPU failed an attempt twice in a row; `failure` is what the node raised."""

    def __init__(self, failure: ExecutionFailed) -> None:
        super().__init__(failure.message)
        self.failure = failure


class EngineRefused(GatewayError):
    """ComfyUI refused this workflow."""


class LeaseLost(GatewayError):
    """Another worker owns this job now."""
