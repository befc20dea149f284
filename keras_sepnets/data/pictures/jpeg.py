"""The markers of a JPEG file: they tell how much time and memory its decoding takes (ITU-T T.81, annex B)."""

import re
from typing import NamedTuple

from keras_sepnets.data.pictures.files import CostlyPictureError

MOST_SCANS = 50  # of a progressive picture; encoders write about 10, and each costs a pass over all its pixels
MOST_SEGMENTS = 10_000  # Pillow reads those before the first scan in Python
END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # of all that stand alone, only the last one
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SCAN = 0xDA


class Outline(NamedTuple):
    """What a JPEG's markers say."""

    begin: int  # where the data of the first scan begin
    kept: float  # bytes per pixel that a decoder keeps until the last scan; 0: it gives rows as it reads them


def read_outline(content: bytes) -> Outline | None:
    """Return what the markers of a JPEG say; None if its first scan, or the scans that follow it, are not there.

    Args:
        content: The file, or its beginning.

    Raises:
        CostlyPictureError: There are more scans or other segments than any encoder writes.
    """
    components, kept, progressive = 0, 0.0, False
    segments, scans, begin, at = 0, 0, 0, 2
    while found := _MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        if marker == END[1]:
            return Outline(begin, kept)
        segments += 1
        if segments > MOST_SEGMENTS:
            raise CostlyPictureError(f"a JPEG has at most {MOST_SEGMENTS:,} segments")
        length = int.from_bytes(content[at : at + 2])
        segment = content[at + 2 : at + length]
        at += max(2, length)
        if marker in _FRAMES and len(segment) >= 6:
            components, kept = segment[5], _bytes_per_pixel(segment[6:])
            progressive = marker in _PROGRESSIVE
        elif marker == _SCAN:
            scans, begin = scans + 1, begin or at
            if segment[:1] == bytes([components]) and not progressive:
                return Outline(begin, 0.0)  # a single pass, whatever follows
            if scans > MOST_SCANS:
                raise CostlyPictureError(f"a JPEG has at most {MOST_SCANS} scans")
    return Outline(begin, kept) if scans else None


def _bytes_per_pixel(components: bytes) -> float:
    """Return the bytes of the coefficients per pixel, 2 each, by the sampling factors of a frame."""
    factors = [(byte >> 4, byte & 15) for byte in components[1::3]]
    largest = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return 2 * sum(across * down for across, down in factors) / max(1, largest)
