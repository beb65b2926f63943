"""Reading the header of a safetensors file, which is enough to know that the file is whole."""

from __future__ import annotations

import json
import math
import os
import struct
from typing import Any

from gateway.embedded.nodes.definition import NodeFailure

MAX_HEADER_BYTES = 100_000_000
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
    "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8,
    "F4": 4,
}  # fmt: skip


class WeightsFailure(NodeFailure):
    """The file is not what its name says."""

    exception_type = "safetensors._safetensors_rust.SafetensorError"


def read_header(path: str) -> dict[str, Any]:
    """The header of a file of weights; {} for formats that hold pickles, which are never opened."""
    if not path.lower().endswith((".safetensors", ".sft")):
        return {}
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise WeightsFailure("Error while deserializing header: header too small")
        (length,) = struct.unpack("<Q", prefix)
        if length > MAX_HEADER_BYTES:
            raise WeightsFailure("Error while deserializing header: header too large")
        if 8 + length > size:
            raise WeightsFailure("Error while deserializing header: invalid header length")
        header = _decode(file.read(length))
    _check_extent(header, size - 8 - length)
    return header


def _decode(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as failure:
        raise WeightsFailure(
            f"Error while deserializing header: invalid JSON in header: {failure}"
        ) from failure
    if not isinstance(header, dict):
        raise WeightsFailure("Error while deserializing header: invalid JSON in header: no object")
    return header


def _check_extent(header: dict[str, Any], size: int) -> None:
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in tensors.items():
        start, end = entry["data_offsets"]
        bits = BITS.get(entry["dtype"])
        if bits is not None and math.prod(entry["shape"]) * bits != (end - start) * 8:
            raise WeightsFailure(
                "Error while deserializing header: "
                f"invalid shape, data type, or offset for tensor {name!r}"
            )
    if max((entry["data_offsets"][1] for entry in tensors.values()), default=0) != size:
        raise WeightsFailure(
            "Error while deserializing header: incomplete metadata, file not fully covered"
        )
