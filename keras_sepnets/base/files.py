"""Writing files: aside, synced and renamed, so that a reader sees the old content or the new, never a part."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError


def write_file(path: Path, content: bytes) -> None:
    """Write a file at once, or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes the file `path` when the block has ended well."""
    aside = path.with_name(f".writing-{path.name}")
    try:
        yield aside
        sync_file(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def to_json_bytes(content: Any) -> bytes:
    """Return JSON as every file of ours holds it."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def to_csv_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return CSV as every file of ours holds it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def check_writable(file: Path) -> None:
    """Raise SepnetsError unless a file can be written or replaced at this path."""
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise SepnetsError(
            f"The file cannot be written; name one in a folder that exists. Received: {str(file)!r}"
        )


def sync_file(path: Path) -> None:
    """Return when a file's content is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
