"""The chunks of a PNG file: those that make its pixels are kept, whatever the others hold (W3C PNG, section 5)."""

import contextlib
import struct
import zlib
from typing import NamedTuple

from keras_sepnets.data.pictures.files import CostlyPictureError

MOST_CHUNKS = 50_000  # a file of 100 MB has 12,000 of the usual size
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # colour type -> Pillow's mode
_START = 8  # bytes of the signature
_EXIF = (b"eXIf", b"tEXt", b"zTXt")  # the latter two as ImageMagick writes it
_MOST_EXIF = 1_000_000  # bytes; only the orientation is read


class PngHeader(NamedTuple):
    """The IHDR chunk."""

    width: int
    height: int
    mode: str  # Pillow's
    bits: int  # of a sample


def read_png_header(start: bytes) -> PngHeader:
    """Return the header in the first bytes of a PNG; raise ValueError if it is damaged."""
    if start[12:16] != b"IHDR" or len(start) < 26:
        raise ValueError("its first chunk is not a header")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if colour not in _MODES or not width or not height:
        raise ValueError("its header is damaged")
    mode = {1: "1", 16: "I;16"}.get(bits, "L") if colour == 0 else _MODES[colour]
    return PngHeader(width, height, mode, bits)


def without_metadata(content: bytes) -> tuple[bytes, bytes]:
    """Return a PNG of the chunks that make the pixels of its first picture, and its EXIF data.

    Raises:
        CostlyPictureError: It has more chunks than any encoder writes.
    """
    parts, exif = [content[:_START]], b""
    kept = at = _START  # `kept`: where the chunks begin that are not yet among the parts
    for _ in range(MOST_CHUNKS):
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        end = at + 12 + length
        if kind not in _PIXELS:
            parts.append(content[kept:at])
            kept = end
            if kind in _EXIF:
                exif = _read_exif(kind, content[at + 8 : end - 4]) or exif
        at = end
        if kind == b"IEND" or at >= len(content):
            return b"".join([*parts, content[kept:at]]), exif
    raise CostlyPictureError(f"a PNG has at most {MOST_CHUNKS:,} chunks")


def _read_exif(kind: bytes, data: bytes) -> bytes:
    """Return the EXIF data in a chunk; none if it holds something else, or is damaged."""
    if kind == b"eXIf":
        return data
    keyword, _, text = data[:_MOST_EXIF].partition(b"\0")
    if keyword == b"Raw profile type exif":
        with contextlib.suppress(ValueError, zlib.error):
            text = zlib.decompressobj().decompress(text[1:], _MOST_EXIF) if kind == b"zTXt" else text
            return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    return b""
