"""Which files are pictures: by the suffix of their name, and by their first bytes."""

import contextlib
import importlib
import os
import re
from typing import IO

from PIL import Image, ImageFile, features

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
KINDS = "JPEG, PNG, BMP, GIF, WebP, TIFF, PNM, AVIF or HEIC"
START = 32  # bytes of a file that tell its format
_SIGNATURES = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"BM", "BMP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"II\*\0|MM\0\*", "TIFF"),
    (rb"P[1-6][\s#]", "PPM"),
    (rb"....ftyp(?:avi[fs]|mi[fa].{5,}avi[fs])", "AVIF"),
    (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIF"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _SIGNATURES)


def open_as(file_format: str, file: IO[bytes]) -> ImageFile.ImageFile:
    """Open a picture in a given format, with no limit on its pixels: `headers` has limits that depend on more."""
    factory, _ = Image.OPEN[file_format]
    return factory(file, "")


def _readable() -> tuple[str, ...]:
    """Return the formats that Pillow reads here; HEIC only if pillow-heif is installed."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    missing = set() if features.check("avif") else {"AVIF"}
    return tuple(name for name in SUFFIXES if name not in missing and (name != "HEIF" or name in Image.OPEN))


FORMATS = _readable()  # as Pillow names them


def find_format(start: bytes) -> str | None:
    """Return the format that the first bytes of a file tell, as Pillow names it; None if it is not a picture."""
    return next((name for pattern, name in _PATTERNS if pattern.match(start)), None)


def fault_of(start: bytes) -> str | None:
    """Return why a file that starts like this cannot be read, as a verb phrase; None if it may be a picture."""
    found = find_format(start)
    if found in FORMATS:
        return None
    return {
        "HEIF": "is a HEIC picture, which is read only where pillow-heif is installed",
        "AVIF": "is an AVIF picture, which this build of Pillow cannot read",
    }.get(found or "", f"is not a {KINDS} picture")


def has_suffix(name: str, *formats: str) -> bool:
    """Return whether a file name has the suffix of one of these formats."""
    return name.lower().endswith(tuple(suffix for format_ in formats for suffix in SUFFIXES[format_]))


def is_picture(path: os.PathLike | str) -> bool:
    """Return whether a file has the suffix of a picture; without a suffix, whether it starts like one.

    Hidden files are not pictures.
    """
    name = os.path.basename(path)  # noqa: PTH119  pathlib takes ten times as long
    if name.startswith("."):
        return False
    if os.path.splitext(name)[1]:  # noqa: PTH122
        return has_suffix(name, *SUFFIXES)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return find_format(file.read(START)) is not None
    except OSError:
        return False


def is_deep(mode: str) -> bool:
    """Return whether samples of a Pillow mode have more than 8 bits."""
    return mode.startswith(("I", "F"))
