"""Picture files before they are decoded: opening them, and errors that name the file."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.pictures.formats import START, fault_of

MAXIMUM_BYTES = 100_000_000  # of a file
CHUNK = 512  # files whose signatures are checked by one task
LISTED = 10  # bad files that an error names
MISSING = "does not exist"


class UnreadablePictureError(SepnetsError):
    """A file that is missing, damaged, too large or not a picture of a known format."""

    def __init__(self, path: os.PathLike | str, reason: str) -> None:
        """Keep the path and the reason; the reason is a verb phrase that follows the path."""
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f'"{printable(path)}" {reason}; replace or remove it.')


class CostlyPictureError(ValueError):
    """A file whose parts are so many that reading them would take minutes; the message says which parts."""


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


def _signature_fault(path: str) -> UnreadablePictureError | None:
    try:
        with open_picture(path) as file:
            fault = fault_of(os.read(file.fileno(), START))
    except UnreadablePictureError as error:
        return error
    return UnreadablePictureError(path, fault) if fault else None
