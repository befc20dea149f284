"""What a picture file declares before it is decoded, and the limits that spare time and memory."""

import contextlib
import io
import os
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from keras_sepnets.base.text import in_bytes, one_line
from keras_sepnets.data.pictures.files import CostlyPictureError, UnreadablePictureError
from keras_sepnets.data.pictures.formats import START, fault_of, find_format, is_deep, open_as
from keras_sepnets.data.pictures.gif import check_blocks
from keras_sepnets.data.pictures.jpeg import END, read_outline
from keras_sepnets.data.pictures.png import read_png_header
from keras_sepnets.data.pictures.rules import LARGEST_DECODING, PixelRules

REDUCTIONS = (1, 2, 4, 8)  # JPEG decoders offer these
MAXIMUM_PIXELS = 50_000_000
MAXIMUM_PIXELS_OF_JPEG = 250_000_000  # most are decoded at a reduced size, row by row
MAXIMUM_PIXELS_IN_PYTHON = 4_000_000  # of what Pillow decodes in Python: a second per million
DECODED_IN_PYTHON = ("ppm", "ppm_plain", "bmp_rle")  # Pillow's decoders
HEAD = 65_536  # bytes of a JPEG that usually reach to its first scan
TAIL = 1024  # bytes of a JPEG that usually have its last marker
EXIF_ORIENTATION = 0x0112  # EXIF 2.3, tag 274
BITS_PER_SAMPLE = 258  # TIFF 6.0
COLOURS = {  # Pillow's mode -> in words
    "1": "grey",
    "L": "grey",
    "LA": "grey",
    "P": "palette",
    "PA": "palette",
    "RGBA": "transparent",
    "RGBa": "transparent",
}
# Bytes per pixel that a decoder takes, as measured: of a format, otherwise of Pillow's mode.
BYTES_OF_FORMAT = {"WEBP": 16, "AVIF": 16, "HEIF": 16}
BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2}
BYTES_OF_OTHER_MODES = 4
CHANNELS = {"RGB": 3, "RGBA": 4, "LA": 2}


class Header(NamedTuple):
    """What a picture file declares before it is decoded."""

    format: str
    mode: str  # Pillow's: L, RGB, RGBA, P, I;16, CMYK, ...
    width: int  # px, as stored: before the EXIF orientation is applied
    height: int
    orientation: int = 1  # EXIF, 1 (upright) to 8; for other formats than JPEG always 1, as it is not known yet
    bits: int = 8  # of a sample, at most
    kept: float = 0.0  # bytes per pixel that a JPEG decoder keeps until the last scan; see `jpeg`
    begin: int = 0  # where the data of a JPEG's first scan begin
    is_whole: bool = True  # whether the last bytes of a JPEG have its last marker
    in_python: bool = False  # whether Pillow decodes it in Python
    file_size: int = 0  # bytes

    def reduction(self, shortest: int) -> int:
        """Return 1, 2, 4 or 8: the largest reduction that leaves the shorter side at least `shortest` px."""
        side = min(self.width, self.height)
        return max(reduction for reduction in REDUCTIONS if reduction == 1 or side >= shortest * reduction)

    @property
    def is_plain_jpeg(self) -> bool:
        """Whether TensorFlow's decoder alone gives the right pixels: no CMYK, nothing to rotate or to mend."""
        return self.is_rgb_jpeg and self.orientation == 1 and self.is_whole

    @property
    def is_rgb_jpeg(self) -> bool:
        """Whether it is a JPEG that TensorFlow's decoder knows."""
        return self.format == "JPEG" and self.mode in ("L", "RGB")

    @property
    def colour(self) -> str:
        """RGB, grey, palette, transparent, 16-bit or CMYK."""
        return "16-bit" if self.bits > 8 else COLOURS.get(self.mode, self.mode)

    def decoding_bytes(self, shortest: int) -> float:
        """Return about how many bytes decoding takes at most, together with the file."""
        pixels = self.width * self.height
        reduced = pixels / self.reduction(shortest) ** 2
        if self.format == "JPEG":
            copies = 3 if self.is_plain_jpeg else 6 if self.is_rgb_jpeg and self.is_whole else 10
            return self.file_size + self.kept * pixels + copies * reduced
        if self.format == "PNG" and self.bits == 16:
            per_pixel = 2 * CHANNELS.get(self.mode, 1)
        elif self.format in BYTES_OF_FORMAT:
            per_pixel = BYTES_OF_FORMAT[self.format]
        else:
            per_pixel = BYTES_OF_MODE.get(self.mode, BYTES_OF_OTHER_MODES)
            per_pixel *= 2 if self.format == "TIFF" else 1  # a strip may hold the whole picture
        return self.file_size + per_pixel * pixels + 3 * reduced


def read_header(path: os.PathLike | str, file: BinaryIO, rules: PixelRules) -> Header:
    """Return the header of an open picture file.

    Args:
        path: Names the file in errors.
        file: Its content.
        rules: Has the limits.

    Raises:
        UnreadablePictureError: The file is not a picture, its header is damaged, or decoding it would take too
            much time or memory: it has more than 250 million pixels (JPEG) or 50 million (other formats), takes
            more than 300 MB, or has more pixels than `rules` allow in place of these limits; or too many scans.
    """
    start = file.read(START)
    if fault := fault_of(start):
        raise UnreadablePictureError(path, fault)
    try:
        header = _read(file, start)
    except CostlyPictureError as error:
        raise UnreadablePictureError(path, f"would take very long to decode: {error}; it has more") from None
    except Exception as error:  # Pillow's readers raise almost any exception on damaged files
        raise UnreadablePictureError(path, f"cannot be read as a picture ({one_line(error)})") from error
    header = header._replace(file_size=file.seek(0, os.SEEK_END))
    _check_limits(path, header, rules)
    return header


def header_of(path: os.PathLike | str, content: bytes, rules: PixelRules) -> Header:
    """Return the header in the content of a picture file; see `read_header`."""
    return read_header(path, io.BytesIO(content), rules)


def orientation_of(picture: Image.Image) -> int:
    """Return the EXIF orientation of an open picture, 1 to 8; 1 if it is missing or damaged."""
    with contextlib.suppress(Exception):  # damaged metadata raise almost any
        return _valid(picture.getexif().get(EXIF_ORIENTATION))
    return 1


def orientation_in(exif: bytes) -> int:
    """Return the orientation in EXIF data, 1 to 8; 1 if it is missing or damaged."""
    with contextlib.suppress(Exception):
        found = Image.Exif()
        found.load(exif)
        return _valid(found.get(EXIF_ORIENTATION))
    return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _read(file: BinaryIO, start: bytes) -> Header:
    file_format = find_format(start) or ""
    if file_format == "PNG":
        png = read_png_header(start)
        return Header("PNG", png.mode, png.width, png.height, bits=png.bits)
    file.seek(0)
    if file_format == "GIF":
        check_blocks(file)
    markers = _look_at_markers(file) if file_format == "JPEG" else {}
    file.seek(0)
    with open_as(file_format, file) as picture:
        is_turned = file_format == "JPEG" and "exif" in picture.info
        orientation = orientation_of(picture) if is_turned else 1
        bits = 16 if is_deep(picture.mode) else 8
        if file_format == "TIFF" and bits == 8 and max(picture.tag_v2.get(BITS_PER_SAMPLE, (8,))) > 8:  # type: ignore[attr-defined]
            raise ValueError("Pillow keeps only the high bytes of a TIFF's 16-bit colours; save it as PNG")
        in_python = any(tile[0] in DECODED_IN_PYTHON for tile in getattr(picture, "tile", ()))
        header = Header(file_format, picture.mode, *picture.size, orientation, bits, in_python=in_python)
    return header._replace(**markers)


def _look_at_markers(file: BinaryIO) -> dict[str, Any]:
    """Return fields of the header of a JPEG."""
    content = file.read(HEAD)
    outline = read_outline(content)
    if outline is None or outline.kept:
        content += file.read()
        outline = read_outline(content)
    if outline is None:
        raise ValueError("it is damaged or truncated")
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    return {"kept": outline.kept, "begin": outline.begin, "is_whole": END in file.read()}


def _check_limits(path: os.PathLike | str, header: Header, rules: PixelRules) -> None:
    usual = MAXIMUM_PIXELS_OF_JPEG if header.format == "JPEG" else MAXIMUM_PIXELS
    usual = MAXIMUM_PIXELS_IN_PYTHON if header.in_python else usual
    most = round(1e6 * rules.max_megapixels) if rules.max_megapixels else usual
    if header.width * header.height > most:
        raise UnreadablePictureError(
            path,
            f"is too large: a {header.format} picture has at most {most:,} pixels, unless data.max_megapixels "
            f"says otherwise. Received: {header.width}x{header.height}",
        )
    needed = header.decoding_bytes(rules.shortest)
    if needed > LARGEST_DECODING and not rules.max_megapixels:
        raise UnreadablePictureError(
            path,
            f"is too large: it would take {in_bytes(round(needed))} to decode, more than "
            f"{in_bytes(LARGEST_DECODING)}, unless data.max_megapixels says otherwise. "
            f"Received: {header.width}x{header.height} {header.mode} as {header.format}",
        )
