"""Every option of convert_output reaches libvips."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.media import options, savers


@pytest.mark.parametrize(
    ("form", "given", "expected"),
    [
        (
            "jpeg",
            {},
            {
                "Q": 80,
                "interlace": False,
                "subsample_mode": "on",
                "optimize_coding": True,
                "trellis_quant": False,
                "overshoot_deringing": False,
                "optimize_scans": False,
                "quant_table": 0,
            },
        ),
        ("jpg", {"quality": 5, "chromaSubsampling": "4:4:4"}, {"Q": 5, "subsample_mode": "off"}),
        ("jpg", {"progressive": True, "optimizeCoding": False}, {"optimize_coding": False}),
        ("jpg", {"trellisQuantisation": True}, {"trellis_quant": True}),
        ("jpg", {"overshootDeringing": True}, {"overshoot_deringing": True}),
        ("jpg", {"optimizeScans": True}, {"optimize_scans": True, "interlace": True}),
        ("jpg", {"quantisationTable": 8}, {"quant_table": 8}),
        (
            "jpg",
            {"mozjpeg": True},
            {
                "quant_table": 3,
                "trellis_quant": True,
                "overshoot_deringing": True,
                "optimize_scans": True,
                "interlace": True,
            },
        ),
        (
            "webp",
            {},
            {
                "Q": 80,
                "alpha_q": 100,
                "lossless": False,
                "near_lossless": False,
                "smart_subsample": False,
                "preset": "default",
                "effort": 4,
            },
        ),
        ("webp", {"alphaQuality": 1, "nearLossless": True}, {"alpha_q": 1, "near_lossless": True}),
        ("webp", {"smartSubsample": True, "preset": "text"}, {"preset": "text"}),
        ("png", {}, {"compression": 6, "interlace": False}),
        ("png", {"palette": True, "dither": 0.5}, {"palette": True, "dither": 0.5}),
        ("avif", {}, {"Q": 50, "compression": "av1", "subsample_mode": "off"}),
    ],
)
def test_options_become_arguments(
    form: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    _, arguments = savers.saver(options.parse(form, given))

    assert expected.items() <= arguments.items()


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ("jpeg", {"quality": 0}),
        ("jpeg", {"quality": 101}),
        ("jpeg", {"Quality": 5}),
        ("jpeg", {"lossless": True}),
        ("jpeg", {"chromaSubsampling": "4:1:1"}),
        ("jpeg", {"quantisationTable": 9}),
        ("webp", {"effort": 7}),
        ("webp", {"preset": "cat"}),
        ("png", {"compressionLevel": 10}),
        ("avif", {"effort": 10}),
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused(form: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options.parse(form, given)
