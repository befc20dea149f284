"""Picture files before they are decoded: opening, headers, limits, and errors that name the file."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line, printable

SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",), "WEBP": (".webp",)}
FORMATS = tuple(SUFFIXES)  # as Pillow names them
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a", b"RIFF")
COLOURS = {  # Pillow's mode -> in words
    "1": "grey",
    "L": "grey",
    "LA": "grey",
    "P": "palette",
    "PA": "palette",
    "RGBA": "transparent",
    "RGBa": "transparent",
}
# Decoding takes up to 6 bytes per pixel for a progressive JPEG, 16 for WebP and 8 for other formats: these limits
# keep it below 300 MB.
MAXIMUM_PIXELS = {"JPEG": 49_000_000, "WEBP": 16_000_000}
MAXIMUM_PIXELS_OF_OTHERS = 25_000_000
LARGEST_DECODING = 300_000_000  # bytes
MAXIMUM_BYTES = 100_000_000  # of a file
REDUCTIONS = (1, 2, 4, 8)  # JPEG decoders offer these
CHUNK = 512  # files whose signatures are checked by one task
LISTED = 10  # bad files that an error names
MISSING = "does not exist"
NO_PICTURE = "is not a JPEG, PNG, BMP, GIF or WebP picture"
EXIF_ORIENTATION = 0x0112  # EXIF 2.3, tag 274


class UnreadablePictureError(SepnetsError):
    """A file that is missing, damaged, too large or not a picture of a known format."""

    def __init__(self, path: os.PathLike | str, reason: str) -> None:
        """Keep the path and the reason; the reason is a verb phrase that follows the path."""
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f'"{printable(path)}" {reason}; replace or remove it.')


class BadPictures(dict[str, str]):
    """The unreadable files found so far: path -> reason."""

    def __init__(self, *, skip: bool = False) -> None:
        """Start empty; `skip` means that unreadable files are left out instead of stopping the program."""
        super().__init__()
        self.skip = skip

    def note(self, error: UnreadablePictureError) -> None:
        """Remember an unreadable file; raise its error unless such files are skipped."""
        self[error.path] = error.reason
        if not self.skip:
            raise error


class Header(NamedTuple):
    """What a picture file declares before it is decoded."""

    format: str
    mode: str  # Pillow's: L, RGB, RGBA, P, I;16, CMYK, ...
    width: int  # px, as stored: before the EXIF orientation is applied
    height: int
    orientation: int  # EXIF, 1 (upright) to 8; for formats other than JPEG always 1, as theirs is not known yet

    def reduction(self, shortest: int) -> int:
        """Return 1, 2, 4 or 8: the largest reduction that leaves the shorter side at least `shortest` px."""
        side = min(self.width, self.height)
        return max(reduction for reduction in REDUCTIONS if reduction == 1 or side >= shortest * reduction)

    @property
    def is_plain_jpeg(self) -> bool:
        """Whether TensorFlow's JPEG decoder alone gives the right pixels: no CMYK, nothing to rotate."""
        return self.format == "JPEG" and self.mode in ("L", "RGB") and self.orientation == 1

    @property
    def colour(self) -> str:
        """RGB, grey, palette, transparent, 16-bit or CMYK."""
        return "16-bit" if self.mode.startswith("I") else COLOURS.get(self.mode, self.mode)


@contextlib.contextmanager
def open_picture(path: os.PathLike | str) -> Iterator[BinaryIO]:
    """Open a picture file; raise UnreadablePictureError unless it is a regular file of at most 100 MB."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadablePictureError(path, "is not a regular file")
            if status.st_size > MAXIMUM_BYTES:
                raise UnreadablePictureError(
                    path, f"is too large: files have at most {MAXIMUM_BYTES:,} bytes. Received: {status.st_size:,}"
                )
            yield file
    except FileNotFoundError:
        raise UnreadablePictureError(path, MISSING) from None
    except IsADirectoryError:
        raise UnreadablePictureError(path, "is not a regular file") from None
    except OSError as error:
        raise UnreadablePictureError(path, f"cannot be read ({error.strerror or error})") from None


def read_file(path: os.PathLike | str) -> bytes:
    """Return the content of a picture file; raise UnreadablePictureError as `open_picture` does."""
    with open_picture(path) as file:
        return file.read(MAXIMUM_BYTES)


def read_header(path: os.PathLike | str, file: BinaryIO) -> Header:
    """Return the header of an open picture file.

    Args:
        path: Names the file in errors.
        file: Its content.

    Raises:
        UnreadablePictureError: The file is not a picture, its header is damaged, or the picture has more than 49
            million pixels (JPEG), 16 million (WebP) or 25 million (other formats).
    """
    orientation = 1
    try:
        with Image.open(file, formats=FORMATS) as picture:
            # Pillow calls a JPEG that holds several pictures MPO; the first picture is an ordinary JPEG.
            file_format = "JPEG" if picture.format == "MPO" else picture.format or ""
            if file_format == "JPEG" and "exif" in picture.info:
                orientation = exif_orientation(picture)
            header = Header(file_format, picture.mode, *picture.size, orientation)
    except UnidentifiedImageError:
        raise UnreadablePictureError(path, NO_PICTURE) from None
    except Image.DecompressionBombError:
        raise UnreadablePictureError(path, "is far too large") from None
    except Exception as error:  # Pillow's readers raise almost any exception on damaged files
        raise UnreadablePictureError(path, f"cannot be read as a picture ({one_line(error)})") from error
    most = MAXIMUM_PIXELS.get(header.format, MAXIMUM_PIXELS_OF_OTHERS)
    if header.width * header.height > most:
        raise UnreadablePictureError(
            path,
            f"is too large: a {header.format} picture has at most {most:,} pixels. "
            f"Received: {header.width}x{header.height}",
        )
    return header


def exif_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation of an open picture, 1 to 8; 1 if it is missing or invalid."""
    value = picture.getexif().get(EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def check_signatures(paths: Iterable[str]) -> Iterator[UnreadablePictureError]:
    """Yield an error for every file that does not start like a picture; decode nothing."""
    paths = list(paths)
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor() as pool:  # one task per file would take longer than reading it
        for faults in pool.map(
            lambda chunk: [fault for path in chunk if (fault := _signature_fault(path))], chunks
        ):
            yield from faults


def list_faults(faults: list[UnreadablePictureError]) -> str:
    """Return a sentence that names the first unreadable files and counts the rest."""
    if len(faults) == 1:
        return str(faults[0])
    named = "; ".join(f'"{printable(fault.path)}" {fault.reason}' for fault in faults[:LISTED])
    more = f"; and {len(faults) - LISTED:,} more" if len(faults) > LISTED else ""
    return f"{len(faults):,} files cannot be used; replace or remove them: {named}{more}."


def is_picture_name(name: str) -> bool:
    """Return whether a file name has the suffix of a picture and is not hidden."""
    return has_suffix(name, *FORMATS) and not name.startswith(".")


def has_suffix(name: str, *formats: str) -> bool:
    """Return whether a file name has the suffix of one of these formats."""
    return name.lower().endswith(tuple(suffix for format_ in formats for suffix in SUFFIXES[format_]))


def _signature_fault(path: str) -> UnreadablePictureError | None:
    try:
        with open_picture(path) as file:
            start = os.read(file.fileno(), 8)
    except UnreadablePictureError as error:
        return error
    return None if start.startswith(SIGNATURES) else UnreadablePictureError(path, NO_PICTURE)
