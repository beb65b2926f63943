"""Small files that hold a workflow, one of each format, as ComfyUI and others write them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable

from gateway.media.containers import exif

Texts = dict[str, str]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))


def _png(name: bytes, held: Callable[[str], bytes], texts: Texts, *, late: bool = False) -> bytes:
    told = [
        _chunk(name, key.encode() + b"\0" + held(text))
        for key, text in {"Software": "x", **texts}.items()
    ]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    body = [pixels, *told] if late else [*told, pixels]
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(body) + _chunk(b"IEND", b"")


def png(texts: Texts) -> bytes:
    """As SaveImage writes it."""
    return _png(b"tEXt", str.encode, texts)


def png_late(texts: Texts) -> bytes:
    """The texts behind the pixels."""
    return _png(b"tEXt", str.encode, texts, late=True)


def png_packed(texts: Texts) -> bytes:
    """The texts compressed."""
    return _png(b"zTXt", lambda text: b"\0" + zlib.compress(text.encode()), texts)


def png_international(texts: Texts) -> bytes:
    """The texts with a language and a translated name."""
    return _png(b"iTXt", lambda text: b"\0\0en\0name\0" + text.encode(), texts)


def png_international_packed(texts: Texts) -> bytes:
    """The same, compressed."""
    return _png(b"iTXt", lambda text: b"\1\0\0\0" + zlib.compress(text.encode()), texts)


def png_exif(texts: Texts) -> bytes:
    """The texts in a PNG's own EXIF."""
    end = _chunk(b"IEND", b"")
    return png({}).removesuffix(end) + _chunk(b"eXIf", exif.written(texts)) + end


def apng(texts: Texts) -> bytes:
    """As SaveAnimatedPNG writes it."""
    return _png(b"comf", str.encode, texts, late=True)


def _tiff(entries: dict[int, bytes]) -> bytes:
    """Return an EXIF block of texts, little-endian."""
    at = 8 + 2 + 12 * len(entries) + 4
    table, tail = b"", b""
    for tag, text in sorted(entries.items()):
        table += struct.pack("<HHII", tag, 2, len(text), at + len(tail))
        tail += text
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + b"\0" * 4 + tail


def _comment_block(value: bytes) -> bytes:
    """Return a block whose second directory holds a user's comment."""
    inner = struct.pack("<HHHIII", 1, 0x9286, 7, len(value), 8 + 2 + 12 + 4 + 18, 0)
    outer = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8 + 2 + 12 + 4, 0)
    return b"II*\0\x08\0\0\0" + outer + inner + value


def _riff(block: bytes) -> bytes:
    chunks = b"VP8L" + struct.pack("<I", 5) + b"\x2f\0\0\0\0\0"
    chunks += b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def webp(texts: Texts) -> bytes:
    """As SaveAnimatedWEBP writes it, big-endian."""
    return _riff(exif.written(texts))


def webp_little_endian(texts: Texts) -> bytes:
    """The same in the other order, behind the prefix that a JPEG has."""
    tags = {"prompt": 0x0110, "workflow": 0x010F}
    told = {tags[key]: f"{key}:{text}".encode() + b"\0" for key, text in texts.items()}
    return _riff(b"Exif\0\0" + _tiff(told))


def webp_capitals(texts: Texts) -> bytes:
    """As some custom nodes write it."""
    tags = {"prompt": 0x010F, "workflow": 0x010E}
    told = {
        tags[key]: f"{key.capitalize()}: {text}".encode() + b"\0" for key, text in texts.items()
    }
    return _riff(_tiff(told))


def _jpeg(block: bytes) -> bytes:
    def segment(code: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, code, len(data) + 2) + data

    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    return b"\xff\xd8" + jfif + b"\xff" + segment(0xE1, b"Exif\0\0" + block) + segment(0xDA, b"")


def jpeg(texts: Texts) -> bytes:
    """As `convert_output` writes it."""
    return _jpeg(exif.written(texts))


def jpeg_comment(texts: Texts) -> bytes:
    """Both as one JSON in the comment of the user, in UTF-16."""
    return _jpeg(_comment_block(b"UNICODE\0" + both(texts).encode("utf-16-be")))


def jpeg_ascii_comment(texts: Texts) -> bytes:
    """The same in ASCII."""
    return _jpeg(_comment_block(b"ASCII\0\0\0" + both(texts).encode()))


def both(texts: Texts) -> str:
    """Return one JSON of both: the graph as a text in it, the canvas as it is."""
    told = {key: json.loads(text) if key == "workflow" else text for key, text in texts.items()}
    return json.dumps({**told, "CreationTime": "now"})


def _box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


def _data(text: str) -> bytes:
    return _box(b"data", b"\0\0\0\1\0\0\0\0", text.encode())


def _keyed(texts: Texts) -> bytes:
    keys = b"".join(_box(b"mdta", key.encode()) for key in texts)
    items = b"".join(
        _box(struct.pack(">I", number), _data(text))
        for number, text in enumerate(texts.values(), 1)
    )
    counted = struct.pack(">II", 0, len(texts))
    return _box(b"hdlr", b"\0" * 24) + _box(b"keys", counted, keys) + _box(b"ilst", items)


_FTYP = _box(b"ftyp", b"isom\0\0\2\0isomiso2")


def mp4_with(meta: bytes, *, before: bytes = _box(b"mdat", b"\0" * 40)) -> bytes:
    """Return a film that holds the content of a `meta`, behind its frames."""
    return _FTYP + before + _box(b"moov", _box(b"mvhd", b"\0" * 100), _box(b"udta", meta))


def mp4(texts: Texts) -> bytes:
    """As SaveVideo writes it."""
    return mp4_with(_box(b"meta", b"\0\0\0\0", _keyed({"encoder": "Lavf", **texts})))


def mp4_comment(texts: Texts) -> bytes:
    """Both in the comment, as video nodes write it by ffmpeg."""
    item = _box(b"\xa9cmt", _data(both(texts)))
    return mp4_with(_box(b"meta", b"\0\0\0\0", _box(b"hdlr", b"\0" * 24), _box(b"ilst", item)))


def mp4_wide(texts: Texts) -> bytes:
    """Frames of a size in 64 bits, and a last box without a size."""
    mdat = struct.pack(">I4sQ", 1, b"mdat", 56) + b"\0" * 40
    film = mp4_with(_box(b"meta", b"\0\0\0\0", _keyed(texts)), before=mdat)
    at = len(_FTYP) + len(mdat)
    return film[:at] + b"\0\0\0\0" + film[at + 4 :]


def mov(texts: Texts) -> bytes:
    """QuickTime: `meta` in `moov`, with no version in front."""
    return _box(b"ftyp", b"qt  \0\0\2\0qt  ") + _box(b"moov", _box(b"meta", _keyed(texts)))


def mov_comment(texts: Texts) -> bytes:
    """QuickTime: the comment in `udta` itself."""
    told = both(texts).encode()
    comment = _box(b"\xa9cmt", struct.pack(">HH", len(told), 0x55C4), told)
    return _box(b"moov", _box(b"udta", comment))


def avif(texts: Texts) -> bytes:
    """As `convert_output` writes it: EXIF as an item."""
    block = struct.pack(">I", 6) + b"Exif\0\0" + exif.written(texts)
    ftyp = _box(b"ftyp", b"avif\0\0\0\0avifmif1")
    infe = _box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", 2, 0, b"Exif"), b"\0")
    iinf = _box(b"iinf", b"\0\0\0\0\0\1", infe)

    def meta(at: int) -> bytes:
        place = struct.pack(">HHHHII", 2, 0, 0, 1, at, len(block))
        iloc = _box(b"iloc", b"\1\0\0\0\x44\0\0\1", place)
        return _box(b"meta", b"\0\0\0\0", _box(b"hdlr", b"\0" * 24), iinf, iloc)

    at = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(at) + _box(b"mdat", block)


def comments(texts: Texts) -> bytes:
    """Return a block of Vorbis' comments."""
    told = [f"{key}={text}".encode() for key, text in {"encoder": "x=y", **texts}.items()]
    packed = b"".join(struct.pack("<I", len(each)) + each for each in told)
    return struct.pack("<I", 4) + b"Lavf" + struct.pack("<I", len(told)) + packed


def flac(texts: Texts) -> bytes:
    """As SaveAudio writes it."""
    block = comments(texts)
    head = struct.pack(">I", 34) + b"\0" * 34
    return b"fLaC" + head + struct.pack(">I", 0x84000000 | len(block)) + block + b"\xff\xf8"


def _pages(*packets: bytes) -> bytes:
    """Return each packet on pages of its own, cut where a page is full."""
    found = b""
    for packet in packets:
        lengths = [255] * (len(packet) // 255) + [len(packet) % 255]
        for start in range(0, len(lengths), 200):
            some = lengths[start : start + 200]
            granule = 0 if start + 200 >= len(lengths) else 2**64 - 1
            head = struct.pack("<4sHQIIIB", b"OggS", 0, granule, 7, 0, 0, len(some))
            at = start * 255
            found += head + bytes(some) + packet[at : at + sum(some)]
    return found


def opus(texts: Texts) -> bytes:
    """As SaveAudioOpus writes it."""
    return _pages(b"OpusHead" + b"\0" * 11, b"OpusTags" + comments(texts), b"sound")


def ogg_vorbis(texts: Texts) -> bytes:
    """An Ogg of Vorbis."""
    return _pages(b"\x01vorbis" + b"\0" * 23, b"\x03vorbis" + comments(texts) + b"\1")


def ogg_flac(texts: Texts) -> bytes:
    """An Ogg of FLAC."""
    block = comments(texts)
    return _pages(b"\x7fFLAC\1\0\0\1fLaC", struct.pack(">I", 0x84000000 | len(block)) + block)


def _sevens(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def mp3(texts: Texts) -> bytes:
    """As SaveAudioMP3 writes it: ID3 of the fourth version."""
    frames = b""
    for key, text in {"TSSE": "x", **texts}.items():
        value = b"\3" + f"{key}\0{text}\0".encode()
        frames += b"TXXX" + _sevens(len(value)) + b"\0\0" + value
    return b"ID3\4\0\0" + _sevens(len(frames) + 10) + frames + b"\0" * 10 + b"\xff\xfb\x90\x64"


def mp3_third(texts: Texts) -> bytes:
    """ID3 of the third version, with the comment in UTF-16."""
    value = b"\1eng" + "\0".encode("utf-16") + both(texts).encode("utf-16")
    frame = b"COMM" + struct.pack(">I", len(value)) + b"\0\0" + value
    return b"ID3\3\0\0" + _sevens(len(frame)) + frame + b"\xff\xfb\x90\x64"


def _element(name: int, *content: bytes) -> bytes:
    data = b"".join(content)
    width = (name.bit_length() + 7) // 8
    return name.to_bytes(width, "big") + (len(data) | 1 << 56).to_bytes(8, "big") + data


def _tags(texts: Texts) -> bytes:
    simple = [
        _element(0x67C8, _element(0x45A3, key.encode()), _element(0x4487, text.encode()))
        for key, text in texts.items()
    ]
    return _element(0x1254C367, _element(0x7373, _element(0x63C0), *simple))


_EBML = _element(0x1A45DFA3, _element(0x4282, b"webm"))
_UNKNOWN = b"\x01\xff\xff\xff\xff\xff\xff\xff"


def webm(texts: Texts) -> bytes:
    """As SaveWEBM writes it: the names in capitals."""
    told = _tags({key.upper(): text for key, text in texts.items()})
    return _EBML + _element(0x18538067, _element(0x1549A966), told, _element(0x1F43B675, b"\0" * 9))


def webm_live(texts: Texts) -> bytes:
    """Segment and cluster without a size, and the texts behind them."""
    cluster = b"\x1f\x43\xb6\x75" + _UNKNOWN + _element(0xE7, b"\0") + _element(0xA3, b"\0" * 20)
    return _EBML + b"\x18\x53\x80\x67" + _UNKNOWN + cluster + _tags({"COMMENT": both(texts)})


def glb(texts: Texts) -> bytes:
    """As SaveGLB writes it."""
    told = json.dumps({"asset": {"version": "2.0", "extras": texts}}).encode()
    return b"glTF\2\0\0\0\0\0\0\0" + struct.pack("<I4s", len(told), b"JSON") + told


def svg(texts: Texts) -> bytes:
    """As SaveSVGNode writes it."""
    told = json.dumps({key: json.loads(text) for key, text in texts.items()}, indent=2)
    held = f"  <metadata>\n        <![CDATA[\n    {told}\n        ]]>\n    </metadata>"
    return f'<?xml version="1.0"?><svg width="4">\n{held}<rect/></svg>'.encode()


FORMATS: dict[str, Callable[[Texts], bytes]] = {
    each.__name__: each
    for each in (
        *(png, png_late, png_packed, png_international, png_international_packed, png_exif, apng),
        *(webp, webp_little_endian, webp_capitals, jpeg, jpeg_comment, jpeg_ascii_comment, avif),
        *(mp4, mp4_comment, mp4_wide, mov, mov_comment, webm, webm_live),
        *(flac, opus, ogg_vorbis, ogg_flac, mp3, mp3_third, glb, svg),
    )
}
