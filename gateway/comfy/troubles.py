"""Which failures of a node are the machine's and may pass: memory that is full, a GPU that is gone.

Pure: a table of types and phrases, as torch and its neighbours write them.
"""

from __future__ import annotations

from enum import StrEnum

from gateway import errors


class Trouble(StrEnum):
    """What ails the machine; the values are labels of metrics."""

    OUT_OF_MEMORY = "out_of_memory"
    GPU_LOST = "gpu_lost"


#: Last parts of the names of exceptions: numpy's is numpy._core._exceptions._ArrayMemoryError.
_MEMORY_TYPES = ("OutOfMemoryError", "MemoryError", "OutOfMemoryException")

#: An accelerator and a CPU each say it in their own words, mostly in a RuntimeError.
_MEMORY_PHRASES = (
    "cuda out of memory",
    "hip out of memory",
    "xpu out of memory",
    "mps backend out of memory",
    "cuda error: out of memory",
    "hip error: out of memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "ur_result_error_out_of_device_memory",
    "ur_result_error_out_of_host_memory",
    "allocation on device",
    "not enough gpu video memory",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
    "cannot allocate memory",
)

_GPU_TYPES = ("torch.AcceleratorError",)

_GPU_PHRASES = (
    "cuda error:",
    "cuda driver error",
    "cuda failure",
    "hip error:",
    "cudaerror",
    "cublas_status_",
    "cudnn_status_",
    "cusolver_status_",
    "cufft_internal_error",
    "device-side assert",
    "illegal memory access",
    "unspecified launch failure",
    "uncorrectable ecc error",
    "gpu is lost",
    "no cuda-capable device",
    "no cuda gpus are available",
    "ur_result_error_device_lost",
)

#: The graph or the installation is to blame: no other process of ComfyUI would do better.
_LASTING = (
    "no kernel image is available",
    "invalid device function",
    "_status_not_supported",
    "_status_bad_param",
    "_status_invalid_value",
    "_status_arch_mismatch",
    "driver version is insufficient",
)


def told_by(failure: errors.ExecutionFailed) -> Trouble | None:
    """Return what ails the machine, as the exception of a node tells it; None: the node itself."""
    kind = str(failure.details.get("exception_type") or "")
    return trouble(kind, str(failure.details.get("exception_message") or ""))


def trouble(exception_type: str, message: str) -> Trouble | None:
    """Return what an exception of this type and message stands for."""
    # Memory first: "CUDA error: out of memory" leaves the GPU in good health.
    text = message.lower()
    if exception_type.endswith(_MEMORY_TYPES) or _any_of(_MEMORY_PHRASES, text):
        return Trouble.OUT_OF_MEMORY
    if _any_of(_LASTING, text):
        return None
    if exception_type in _GPU_TYPES or _any_of(_GPU_PHRASES, text):
        return Trouble.GPU_LOST
    return None


def _any_of(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)
