"""Writing files: to a temporary name, synced, then renamed, so that readers see old or new content, never half."""

import contextlib
import csv
import hashlib
import io
import json
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from keras_sepnets.base.errors import SepnetsError

UNFINISHED = ".writing-"  # begins the name of a file that is still being written
MOST_LINKS = 40  # in a row, as Linux follows them


def whole_path(path: str | os.PathLike) -> Path:
    """Return an absolute path without links; ~ is the home folder, or stays where there is none."""
    return Path(os.path.expanduser(path)).resolve()  # noqa: PTH111  pathlib's raises without a home folder


def user_folder(name: str) -> Path:
    """Return the user's folder of this name: in the home folder, or in the temporary one.

    Users of containers often have no home folder, or none that they can write to.
    """
    home = os.path.expanduser("~")  # noqa: PTH111  pathlib's raises without a home folder
    own = os.path.join(home, name)  # noqa: PTH118
    if os.path.isdir(own) or (os.path.isabs(home) and os.access(home, os.W_OK)):  # noqa: PTH112, PTH117
        return Path(own)
    return Path(tempfile.gettempdir(), name)


def write_file(path: Path, content: bytes) -> None:
    """Write to a path that a user names: an ordinary file atomically, with links followed.

    Only ordinary files are replaced; /dev/stdout, /dev/null and pipes are written into.
    """
    if is_ordinary(path):
        replace_file(Path(os.path.realpath(path)), content)
        return
    with _open_stream(path) as stream:
        stream.write(content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically in place of whatever has this name, such as a link."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path; it is renamed to `path` if the block succeeds, and deleted otherwise."""
    # Several processes may write the same file; short, as the file's name may be as long as names can be.
    aside = path.with_name(f"{_unfinished(path)}{secrets.token_hex(4)}{path.suffix[:16]}")
    try:
        yield aside
        sync_file(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_unfinished(path: Path, *, older_than: float = 0.0) -> None:
    """Remove what killed processes were writing to a file, or to any file of a folder.

    Args:
        path: The file or folder.
        older_than: Seconds for which nothing was written, if another process may be writing now.
    """
    begun = path.glob(f"{UNFINISHED}*") if path.is_dir() else path.parent.glob(f"{_unfinished(path)}*")
    for left in begun:
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime >= older_than:
                left.unlink()


def _unfinished(path: Path) -> str:
    """Return how the temporary names of a file begin."""
    return f"{UNFINISHED}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"


def read_regular_file(path: Path, most: int) -> bytes:
    """Return the content of a file that a user names.

    Raises:
        OSError: It is not a regular file, whose reading might never end, has more than `most` bytes, or cannot be
            read.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        if status.st_size > most:
            raise OSError(f"it has more than {most:,} bytes")
        return file.read(most)


def is_ordinary(path: Path) -> bool:
    """Return whether a path is, or would become, an ordinary file rather than a device, a pipe or a descriptor."""
    return _descriptor(path) is None and (path.is_file() or not path.exists())


def _descriptor(path: Path) -> Path | None:
    """Return the open descriptor that a path leads to, as /dev/stdout does; None if it leads elsewhere.

    A descriptor may be of an ordinary file, but then the shell has opened it, and others may write to it too.
    """
    for _ in range(MOST_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if path.is_relative_to("/proc") or path.parent == Path("/dev/fd"):
            return path
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _open_stream(path: Path) -> IO[bytes]:
    """Open what is not an ordinary file; a descriptor of this process is written to where it stands."""
    descriptor = _descriptor(path)
    if descriptor and descriptor.parent in (Path("/dev/fd"), Path(f"/proc/{os.getpid()}/fd")):
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fdopen(os.dup(int(descriptor.name)), "wb")
    return path.open("ab")


def to_json_bytes(content: Any) -> bytes:
    """Return JSON as the package writes it to files."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def to_csv_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return CSV as the package writes it to files."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def check_writable(file: Path) -> None:
    """Raise SepnetsError unless `write_file` can write to this path."""
    if is_ordinary(file):
        folder = Path(os.path.realpath(file)).parent
        is_writable = folder.is_dir() and os.access(folder, os.W_OK)
    else:
        is_writable = not file.is_dir() and os.access(file, os.W_OK)
    if not is_writable:
        raise SepnetsError(
            f"The file cannot be written; name a file in a folder that exists. Received: {str(file)!r}"
        )


def sync_file(path: Path) -> None:
    """Wait until a file's content is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
