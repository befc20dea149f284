"""Where decoded pictures are kept, and how much room there is.

There are two formats on disk because pictures arrive in two ways. Picture files are needed in any order, change
one by one and serve several runs: each becomes one .npy file (`DiskCache`), with the state of the original in its
name. The records of a TFDS data set never change and can only be read in sequence: together they become one file,
which is written once and then memory-mapped (`stores.decode_into_file`). As .npy files, a million small records
would cost several system calls each in every epoch; as one file, pictures could not be added one by one.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.machine import memory_limit
from keras_sepnets.base.text import in_bytes, printable
from keras_sepnets.data.pictures.rules import PixelRules

MEMORY_SHARE = 0.25  # of the machine's memory that decoded pictures may take
DISK_RESERVE = 1_000_000_000  # bytes that a cache leaves free on the disk
CACHE_VERSION = 2  # of the rules that turn a file into pixels; a new version ignores old caches


class Cache(Protocol):
    """Decoded picture files by a key."""

    def key(self, path: str) -> str | None:
        """Return the key of a file as it is now; None if it does not exist."""

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture, if they are kept."""

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture, if there is room."""


class MemoryCache:
    """Decoded pictures in memory, by path."""

    def __init__(self, room: int) -> None:
        """Start empty, with room for this number of bytes."""
        self._pictures: dict[str, np.ndarray] = {}
        self._room = room
        self._lock = threading.Lock()

    def key(self, path: str) -> str:
        """Return the path."""
        return path

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture, if they are kept."""
        return self._pictures.get(key)

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture, if there is room."""
        with self._lock:
            if pixels.nbytes <= self._room and key not in self._pictures:
                self._room -= pixels.nbytes
                self._pictures[key] = pixels


class DiskCache:
    """Decoded pictures as .npy files in a folder; the key hashes path, size, time, rules and version."""

    def __init__(self, folder: Path, rules: PixelRules) -> None:
        """Use a folder, which several runs may share; raise SepnetsError if it cannot be made."""
        self._folder = make_cache_folder(folder)
        self._rules = rules

    def key(self, path: str) -> str | None:
        """Return the name of the .npy file of a picture file as it is now; None if it does not exist."""
        try:
            status = Path(path).stat()
        except OSError:
            return None
        rules = f"{CACHE_VERSION}/{self._rules.key}/{status.st_size}/{status.st_mtime_ns}/"
        digest = hashlib.sha256(rules.encode() + os.fsencode(path)).hexdigest()
        return f"{digest[:2]}/{digest[2:32]}.npy"

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture, if they are kept and intact."""
        try:
            return np.load(self._folder / key)
        except (OSError, ValueError, EOFError):
            return None

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture while the disk has more than 1 GB left."""
        file = self._folder / key
        try:
            if free_bytes(self._folder) <= 0:
                return
            file.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".writing-", delete=False) as aside:
                try:
                    np.save(aside, pixels)
                    Path(aside.name).replace(file)
                except BaseException:
                    Path(aside.name).unlink()
                    raise
        except OSError:
            return  # without a cache the run is slower, not wrong


def memory_budget() -> int:
    """Return how many bytes decoded pictures may take: a quarter of the memory of this machine or container."""
    return int(MEMORY_SHARE * memory_limit())


def free_bytes(folder: Path) -> int:
    """Return how many bytes a cache in a folder may still take; it leaves 1 GB of the disk free."""
    return shutil.disk_usage(folder).free - DISK_RESERVE


def make_cache_folder(folder: Path) -> Path:
    """Make a folder for decoded pictures and return its absolute path; raise SepnetsError if that fails."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SepnetsError(f"The cache folder cannot be made: {error}. Received: {str(folder)!r}") from None
    return folder.resolve()


def describe_place(needed: int, *, in_memory: bool, cache_folder: Path | None = None) -> str:
    """Return in words where `needed` bytes of decoded pictures are kept."""
    if cache_folder:
        free = max(0, free_bytes(make_cache_folder(cache_folder)))
        room = f"; only {in_bytes(free)} are free there" if free < needed else ""
        return f"kept decoded in {printable(cache_folder)} (about {in_bytes(needed)}{room})"
    if in_memory:
        return f"kept decoded in memory (about {in_bytes(needed)})"
    return (
        f"decoded anew in every epoch (about {in_bytes(needed)} decoded, too much for memory; --cache DIR keeps "
        "them on disk)"
    )
