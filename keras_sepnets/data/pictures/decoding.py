"""Picture files to pixels, by one rule each, the same in training, evaluation and prediction.

Grey becomes RGB; transparency is laid over white; of 16-bit samples the high byte counts; of an animation the
first frame; CMYK is converted as Pillow does; EXIF orientation is applied. A picture much larger than is needed
is decoded at a half, a quarter or an eighth of its size: that is quicker, and takes less memory.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line, printable

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a", b"RIFF")
# What keeps the decoding of a picture below 300 MB: a progressive JPEG takes up to 6 bytes a pixel, WebP 16, the
# others in Pillow 8.
MAXIMUM_PIXELS = {"JPEG": 49_000_000, "WEBP": 16_000_000}
MAXIMUM_PIXELS_OF_OTHERS = 25_000_000
MAXIMUM_BYTES = 100_000_000  # of a file
REDUCTIONS = (1, 2, 4, 8)  # what JPEG decoders offer
AT_ONCE = 512  # files whose first bytes are read by a task
LISTED = 10  # bad files that a sentence names
NO_PICTURE = "is not a JPEG, PNG, BMP, GIF or WebP picture"


class UnreadablePictureError(SepnetsError):
    """A file that is not a whole picture of a known format."""

    def __init__(self, path: os.PathLike | str, reason: str) -> None:
        """Keep the path and the reason, a half sentence that follows the path."""
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f'"{printable(path)}" {reason}; replace or remove it.')


class Header(NamedTuple):
    """What a picture file says of itself before anything is decoded."""

    format: str
    mode: str  # Pillow's: L, RGB, RGBA, P, I;16, CMYK, ...
    width: int  # px, as stored: before the EXIF orientation is applied
    height: int
    orientation: int  # EXIF, 1 to 8; 1 is upright, and stands for "not known yet" but for JPEG

    def reduction(self, shortest: int) -> int:
        """Return 1, 2, 4 or 8: by how much the picture may shrink while its shorter side keeps `shortest` px."""
        side = min(self.width, self.height)
        return max(reduction for reduction in REDUCTIONS if reduction == 1 or side >= shortest * reduction)

    @property
    def is_plain_jpeg(self) -> bool:
        """Tell whether TensorFlow's JPEG decoder alone gives the picture as it is to be seen."""
        return self.format == "JPEG" and self.mode in ("L", "RGB") and self.orientation == 1


def read_picture(path: os.PathLike | str, shortest: int) -> np.ndarray:
    """Return a picture file as RGB pixels.

    Args:
        path: A JPEG, PNG, BMP, GIF or WebP file.
        shortest: A picture whose shorter side is at least 2, 4 or 8 times as many px is reduced by that factor.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        UnreadablePictureError: The file is missing, no picture, damaged or too large: of more than 49 million
            pixels (JPEG), 16 million (WebP) or 25 million (others).
    """
    content = read_file(path)
    return decode_picture(path, content, read_header(path, io.BytesIO(content)), shortest)


@contextlib.contextmanager
def open_picture(path: os.PathLike | str) -> Iterator[BinaryIO]:
    """Open a picture file; raise UnreadablePictureError unless it is a regular file of at most 100 MB."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadablePictureError(path, "is no regular file")
            if status.st_size > MAXIMUM_BYTES:
                raise UnreadablePictureError(
                    path, f"is too large: files have at most {MAXIMUM_BYTES:,} bytes. Received: {status.st_size:,}"
                )
            yield file
    except FileNotFoundError:
        raise UnreadablePictureError(path, "does not exist") from None
    except IsADirectoryError:
        raise UnreadablePictureError(path, "is no regular file") from None
    except OSError as error:
        raise UnreadablePictureError(path, f"cannot be read ({error.strerror or error})") from None


def read_file(path: os.PathLike | str) -> bytes:
    """Return a picture file's content; raise UnreadablePictureError as `open_picture` does."""
    with open_picture(path) as file:
        return file.read(MAXIMUM_BYTES)


def read_header(path: os.PathLike | str, file: BinaryIO) -> Header:
    """Return the header of an open picture file; raise UnreadablePictureError if it has none, or is too large."""
    orientation = 1
    try:
        with Image.open(file, formats=FORMATS) as picture:
            # Cameras that store several pictures in a JPEG make Pillow call it MPO; the first is an ordinary JPEG.
            file_format = "JPEG" if picture.format == "MPO" else picture.format or ""
            if file_format == "JPEG" and "exif" in picture.info:
                orientation = _orientation(picture)
            header = Header(file_format, picture.mode, *picture.size, orientation)
    except UnidentifiedImageError:
        raise UnreadablePictureError(path, NO_PICTURE) from None
    except Image.DecompressionBombError:
        raise UnreadablePictureError(path, "is far too large") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UnreadablePictureError(path, f"cannot be read as a picture ({one_line(error)})") from error
    most = MAXIMUM_PIXELS.get(header.format, MAXIMUM_PIXELS_OF_OTHERS)
    if header.width * header.height > most:
        raise UnreadablePictureError(
            path,
            f"is too large: a {header.format} picture has at most {most:,} pixels. "
            f"Received: {header.width}x{header.height}",
        )
    return header


def decode_picture(path: os.PathLike | str, content: bytes, header: Header, shortest: int) -> np.ndarray:
    """Return a picture file's content as RGB pixels: uint8 (height, width, 3); see `read_picture`."""
    reduction = header.reduction(shortest)
    try:
        if header.format == "JPEG" and header.mode in ("L", "RGB"):
            with tf.device("CPU"):
                pixels = decode_jpeg(content, reduction).numpy()
            return _upright(pixels, header.orientation)
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            picture.load()
            # A PNG's EXIF may stand behind its pixels, so that only now it can be asked without decoding twice.
            orientation = header.orientation if header.format == "JPEG" else _orientation(picture)
            return _upright(np.asarray(_to_rgb(picture, reduction)), orientation)
    except tf.errors.OpError:
        reason = "is damaged or truncated"
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        reason = f"is damaged or truncated ({one_line(error)})"
    raise UnreadablePictureError(path, reason)


def decode_jpeg(content: bytes | tf.Tensor, reduction: int) -> tf.Tensor:
    """Return the pixels of a grey or RGB JPEG, exactly those that Pillow gives: uint8 (height, width, 3)."""
    return tf.io.decode_jpeg(content, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE")


def check_signatures(paths: Iterable[str]) -> Iterator[UnreadablePictureError]:
    """Give an error for every file that is empty, or does not begin like a picture: quick, nothing is decoded."""
    paths = list(paths)
    chunks = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # a task a file would take longer than the reading
        for faults in pool.map(
            lambda chunk: [fault for path in chunk if (fault := _signature_fault(path))], chunks
        ):
            yield from faults


def list_faults(faults: list[UnreadablePictureError]) -> str:
    """Return a sentence that names the first files that cannot be read, and counts the rest."""
    if len(faults) == 1:
        return str(faults[0])
    named = "; ".join(f'"{printable(fault.path)}" {fault.reason}' for fault in faults[:LISTED])
    more = f"; and {len(faults) - LISTED:,} more" if len(faults) > LISTED else ""
    return f"{len(faults):,} files cannot be used, replace or remove them: {named}{more}."


def is_picture_name(name: str) -> bool:
    """Tell whether a file's name ends like a picture's and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _signature_fault(path: str) -> UnreadablePictureError | None:
    try:
        with open_picture(path) as file:
            start = os.read(file.fileno(), 8)
    except UnreadablePictureError as error:
        return error
    return None if start.startswith(SIGNATURES) else UnreadablePictureError(path, NO_PICTURE)


def _orientation(picture: Image.Image) -> int:
    value = picture.getexif().get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _to_rgb(picture: Image.Image, reduction: int) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    transparent = picture.has_transparency_data
    if picture.mode not in ("L", "RGB", "RGBA") or (transparent and picture.mode != "RGBA"):
        picture = picture.convert("RGBA" if transparent else "RGB")
    if reduction > 1:
        picture = picture.reduce(reduction)
    if transparent:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
