"""Picture files to pixels, by one rule each, the same in training, evaluation and prediction.

Grey becomes RGB; transparency is laid over white; of 16-bit samples the high byte counts; of an animation the
first frame; EXIF orientation is applied.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_sepnets.errors import SepnetsError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
MAXIMUM_PIXELS = 64_000_000  # a decoded picture of this size takes 192 MB


class UnreadablePictureError(SepnetsError):
    """A file that is not a whole picture of a known format."""


def read_picture(path: Path) -> np.ndarray:
    """Return a picture file as RGB pixels.

    Args:
        path: A JPEG, PNG, BMP, GIF or WebP file.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        UnreadablePictureError: The file is missing, no picture, damaged or larger than 64 million pixels.
    """
    return np.asarray(_decode(path, check_only=False))


def check_pictures(paths: Iterable[Path]) -> None:
    """Raise UnreadablePictureError for the first files whose header is not that of a picture."""
    with ThreadPoolExecutor() as pool:
        faults = [fault for fault in pool.map(_header_fault, paths) if fault]
    if faults:
        more = f" ({len(faults) - 1} more files cannot be read either)" if len(faults) > 1 else ""
        raise UnreadablePictureError(f"{faults[0]}{more}")


def is_picture_name(path: Path) -> bool:
    """Tell whether a file's name ends like a picture's and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _header_fault(path: Path) -> str | None:
    try:
        _decode(path, check_only=True)
    except UnreadablePictureError as error:
        return str(error)
    return None


def _decode(path: Path, *, check_only: bool) -> Image.Image:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAXIMUM_PIXELS:
                raise UnreadablePictureError(
                    f'"{path}" is too large: pictures have at most {MAXIMUM_PIXELS:,} pixels. '
                    f"Received: {picture.width}x{picture.height}"
                )
            return picture if check_only else _to_rgb(picture)
    except UnreadablePictureError:
        raise
    except UnidentifiedImageError:
        reason = "is not a JPEG, PNG, BMP, GIF or WebP picture"
    except FileNotFoundError:
        reason = "does not exist"
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        reason = f"cannot be read as a picture ({error})"
    raise UnreadablePictureError(f'"{path}" {reason}; replace or remove it.')


def _to_rgb(picture: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16-bit grey
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")
