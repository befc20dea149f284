"""Reading picture files inside a tf.data pipeline: guarded, reduced, and kept decoded where there is room."""

import hashlib
import os
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import tensorflow as tf

from keras_sepnets.data.files import FileSource
from keras_sepnets.data.pictures import (
    UnreadablePictureError,
    decode_jpeg,
    decode_picture,
    read_file,
    read_header,
    read_picture,
)
from keras_sepnets.errors import SepnetsError

MEMORY_SHARE = 0.25  # of the machine's memory that decoded pictures may take
DECODED_AT_ONCE = 5_000  # of so many files all are decoded before the training; of more each when it comes up
DISK_RESERVE = 1_000_000_000  # bytes that a cache on disk leaves free
SAMPLE = 64  # headers that are read to estimate how much memory a set would take
REDUCTIONS = (1, 2, 4, 8)
REMEMBERED = 1024  # files opened last, among which one that stopped the pipeline is looked for
CACHE_VERSION = 1  # of the rules that turn a file into pixels; a new one makes old caches useless
EMPTY = np.zeros((0, 0, 3), np.uint8)  # stands for a picture that cannot be read


class Cache(Protocol):
    """Decoded pictures by path."""

    def get(self, path: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept."""

    def put(self, path: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture if there is room."""


class MemoryCache:
    """Decoded pictures in memory."""

    def __init__(self, room: int) -> None:
        """Begin empty, with room for so many bytes."""
        self._pictures: dict[str, np.ndarray] = {}
        self._room = room
        self._lock = threading.Lock()

    def get(self, path: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept."""
        return self._pictures.get(path)

    def put(self, path: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture if there is room."""
        with self._lock:
            if pixels.nbytes <= self._room and path not in self._pictures:
                self._room -= pixels.nbytes
                self._pictures[path] = pixels


class DiskCache:
    """Decoded pictures as .npy files below a folder, found by path, size, time, reduction and version."""

    def __init__(self, folder: Path, shortest: int) -> None:
        """Use a folder, which several runs may share; raise SepnetsError if it cannot be made."""
        self._folder = make_cache_folder(folder)
        self._shortest = shortest

    def get(self, path: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept and whole."""
        try:
            return np.load(self._file(path))
        except (OSError, ValueError, EOFError):
            return None

    def put(self, path: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture while the disk has more than 1 GB left."""
        try:
            file = self._file(path)
            if shutil.disk_usage(self._folder).free < DISK_RESERVE:
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
            return  # a cache that cannot be written costs time, not the run

    def _file(self, path: str) -> Path:
        status = Path(path).stat()
        key = f"{CACHE_VERSION}/{self._shortest}/{status.st_size}/{status.st_mtime_ns}/".encode() + os.fsencode(
            path
        )
        digest = hashlib.sha256(key).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:32]}.npy"


def make_cache_folder(folder: Path) -> Path:
    """Make a folder for decoded pictures and return its absolute path; raise SepnetsError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SepnetsError(f"The cache folder cannot be made: {error}. Received: {str(folder)!r}") from None
    return folder.resolve()


def in_bytes(amount: int) -> str:
    """Return a number of bytes for people, such as 1.4 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount} bytes"


def describe_place(needed: int, *, in_memory: bool) -> str:
    """Return where so many bytes of decoded pictures are, in words."""
    if in_memory:
        return f"kept decoded in memory (about {in_bytes(needed)})"
    return (
        f"decoded anew in every epoch (about {in_bytes(needed)} decoded, more than memory should hold; "
        "--cache DIR keeps them on disk)"
    )


def memory_budget() -> int:
    """Return how many bytes decoded pictures may take: a quarter of this machine's memory."""
    return int(MEMORY_SHARE * psutil.virtual_memory().total)


class PictureReader:
    """The picture files of a source as tensors; a run has one, so that all its roles share the cache."""

    def __init__(
        self, source: FileSource, shortest: int, cache_folder: Path | None = None, memory: int = 0
    ) -> None:
        """Decide where decoded pictures are kept.

        Args:
            source: The files, and whether those that cannot be read may be skipped.
            shortest: Much larger pictures are reduced, but not below so many px of the shorter side.
            cache_folder: Where decoded pictures are kept; None for memory, if they are likely to fit it.
            memory: Bytes that decoded pictures may take.
        """
        self._source = source
        self._shortest = shortest
        self._opened: deque[str] = deque(maxlen=REMEMBERED)
        self._cache: Cache | None = None
        self.decodes_at_once = False
        if cache_folder is not None:
            self._cache = DiskCache(cache_folder, shortest)
            self.place = f"kept decoded in {cache_folder}"
            return
        needed = self._estimate()
        fits = 2 * needed <= memory  # twice, while they are read
        count = sum(map(source.num_examples, source.splits))
        self.decodes_at_once = fits and count <= DECODED_AT_ONCE
        if fits and not self.decodes_at_once:
            self._cache = MemoryCache(memory)
        self.place = describe_place(needed, in_memory=fits)

    def read(self, path: tf.Tensor) -> tf.Tensor:
        """Return the picture at a path: uint8 (height, width, 3), of height 0 where it could not be read."""
        if self._cache is not None or self._source.skip_bad:
            pixels = tf.numpy_function(self._read_guarded, [path], tf.uint8, stateful=False)
        else:
            # TensorFlow's own decoder, without a way through Python, is a fifth quicker for the whole pipeline.
            encoded, branch, decoded = tf.numpy_function(
                self._open, [path], (tf.string, tf.int32, tf.uint8), stateful=False
            )
            encoded.set_shape(())
            branches = [lambda r=reduction: decode_jpeg(encoded, r) for reduction in REDUCTIONS]
            pixels = tf.switch_case(branch, [*branches, lambda: decoded])
        return tf.ensure_shape(pixels, (None, None, 3))

    def failure(self) -> UnreadablePictureError | None:
        """Return the error of the picture that stopped a pipeline, if it was one.

        TensorFlow passes on only a text, and its JPEG decoder does not know the path, so that those which were
        opened last are decoded again.
        """
        if self._source.bad and not self._source.skip_bad:
            return UnreadablePictureError(*list(self._source.bad.items())[-1])
        for path in reversed(tuple(self._opened)):  # other threads go on opening files
            try:
                read_picture(path, self._shortest)
            except UnreadablePictureError as error:
                return error
        return None

    def _read_guarded(self, path: bytes) -> np.ndarray:
        name = os.fsdecode(path)
        try:
            pixels = self._cache.get(name) if self._cache else None
            if pixels is None:
                pixels = read_picture(name, self._shortest)
                if self._cache:
                    self._cache.put(name, pixels)
        except UnreadablePictureError as error:
            self._source.note_bad(error)
            return EMPTY
        return pixels

    def _open(self, path: bytes) -> tuple[bytes, np.int32, np.ndarray]:
        """Return a plain JPEG's content with the place of its reduction, or any other picture's pixels."""
        name = os.fsdecode(path)
        self._opened.append(name)
        try:
            content = read_file(name)
            header = read_header(name, content)
            if header.is_plain_jpeg:
                return content, np.int32(REDUCTIONS.index(header.reduction(self._shortest))), EMPTY
            return b"", np.int32(len(REDUCTIONS)), decode_picture(name, content, header, self._shortest)
        except UnreadablePictureError as error:
            self._source.note_bad(error)
            raise

    def _estimate(self) -> int:
        """Return about how many bytes all pictures take when they are decoded, from the headers of a few."""
        paths = np.concatenate([self._source.paths(split) for split in self._source.splits])
        sizes = []
        for path in paths[:: max(1, len(paths) // SAMPLE)]:
            name = os.fsdecode(path)
            try:
                header = read_header(name, read_file(name))
            except UnreadablePictureError:
                continue  # it is met again where it is read
            reduction = header.reduction(self._shortest)
            sizes.append(3 * header.width * header.height // reduction**2)
        return round(len(paths) * float(np.mean(sizes))) if sizes else 0
