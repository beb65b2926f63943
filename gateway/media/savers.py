"""Options of `convert_output` as libvips names them; pure."""

from __future__ import annotations

from typing import Any

from gateway.media.options import AvifOptions, JpegOptions, Options, PngOptions, WebpOptions


def saver(options: Options) -> tuple[str, dict[str, Any]]:
    """Return the libvips operation that writes a file so, and its arguments."""
    match options:
        case JpegOptions():
            return "jpegsave", _jpeg(options)
        case WebpOptions():
            return "webpsave", _webp(options)
        case PngOptions():
            return "pngsave", _png(options)
        case AvifOptions():
            return "heifsave", _avif(options)


def _jpeg(options: JpegOptions) -> dict[str, Any]:
    moz = options.mozjpeg
    scans = moz or options.optimize_scans
    return {
        "Q": options.quality,
        "interlace": options.progressive or scans,
        "subsample_mode": _subsampling(options.chroma_subsampling),
        "optimize_coding": options.optimize_coding,
        "trellis_quant": moz or options.trellis_quantisation,
        "overshoot_deringing": moz or options.overshoot_deringing,
        "optimize_scans": scans,
        "quant_table": 3 if moz else options.quantisation_table,
    }


def _webp(options: WebpOptions) -> dict[str, Any]:
    return {
        "Q": options.quality,
        "alpha_q": options.alpha_quality,
        "lossless": options.lossless,
        "near_lossless": options.near_lossless,
        "smart_subsample": options.smart_subsample,
        "preset": options.preset,
        "effort": options.effort,
    }


def _png(options: PngOptions) -> dict[str, Any]:
    plain = {"compression": options.compression_level, "interlace": options.progressive}
    if not options.palette:
        return plain
    return plain | {
        "palette": True,
        "Q": options.quality,
        "effort": options.effort,
        "dither": options.dither,
    }


def _avif(options: AvifOptions) -> dict[str, Any]:
    return {
        "compression": "av1",
        "Q": options.quality,
        "lossless": options.lossless,
        "effort": options.effort,
        "subsample_mode": _subsampling(options.chroma_subsampling),
    }


def _subsampling(wish: str) -> str:
    return "on" if wish == "4:2:0" else "off"
