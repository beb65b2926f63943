"""Which exceptions of nodes stand for full memory, and which for a GPU that is gone."""

from __future__ import annotations

import pytest

from gateway.comfy.troubles import Trouble, trouble

MEMORY, GPU = Trouble.OUT_OF_MEMORY, Trouble.GPU_LOST

CASES: list[tuple[str, str, Trouble | None]] = [
    ("torch.OutOfMemoryError", "Allocation on device \nThis error means you ran out", MEMORY),
    ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB.", MEMORY),
    ("RuntimeError", "CUDA out of memory. Tried to allocate 2.00 GiB.", MEMORY),
    ("RuntimeError", "MPS backend out of memory (MPS allocated: 8.99 GB)", MEMORY),
    ("torch.OutOfMemoryError", "HIP out of memory. Tried to allocate 2.00 GiB.", MEMORY),
    ("RuntimeError", "CUDA error: out of memory\nCUDA kernel errors might be", MEMORY),
    ("torch.AcceleratorError", "CUDA error: out of memory", MEMORY),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`", MEMORY),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", MEMORY),
    ("MemoryError", "", MEMORY),
    ("numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 7.45 GiB", MEMORY),
    (
        "RuntimeError",
        "[enforce fail] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        MEMORY,
    ),
    ("OSError", "[Errno 12] Cannot allocate memory", MEMORY),
    ("RuntimeError", "UR error: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", MEMORY),
    ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered", GPU),
    ("torch.AcceleratorError", "", GPU),
    ("RuntimeError", "CUDA error: device-side assert triggered", GPU),
    ("RuntimeError", "CUDA error: unspecified launch failure", GPU),
    ("RuntimeError", "CUDA error: no CUDA-capable device is detected", GPU),
    ("RuntimeError", "No CUDA GPUs are available", GPU),
    ("RuntimeError", "CUDA driver error: unknown error", GPU),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `x`", GPU),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", GPU),
    ("onnxruntime.capi.RuntimeException", "CUDA failure 700: ... ; cudaErrorIllegalAddress", GPU),
    ("RuntimeError", "HIP error: invalid device ordinal", GPU),
    ("RuntimeError", "CUDA error: uncorrectable ECC error encountered", GPU),
    # What no other process would do better.
    ("RuntimeError", "CUDA error: no kernel image is available for execution on the device", None),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear", None),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `x`", None),
    # The node itself.
    ("ValueError", "width is out of range", None),
    ("RuntimeError", "The size of tensor a (4) must match the size of tensor b (3)", None),
    ("AssertionError", "Torch not compiled with CUDA enabled", None),
    ("ValueError", "the memory of this sampler is out", None),
    ("Exception", "", None),
]


@pytest.mark.parametrize(("kind", "message", "expected"), CASES)
def test_trouble(kind: str, message: str, expected: Trouble | None) -> None:
    assert trouble(kind, message) is expected
