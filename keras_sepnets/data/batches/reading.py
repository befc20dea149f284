"""Reading picture files inside a tf.data pipeline: guarded, reduced, and kept decoded where there is room."""

import hashlib
import itertools
import os
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.machine import memory_limit
from keras_sepnets.base.text import in_bytes, printable
from keras_sepnets.data.pictures.decoding import (
    REDUCTIONS,
    UnreadablePictureError,
    decode_jpeg,
    open_picture,
    read_header,
    read_picture,
)
from keras_sepnets.data.sources.files import FileSource

MEMORY_SHARE = 0.25  # of the machine's memory that decoded pictures may take
DECODED_AT_ONCE = 5_000  # of so many files all are decoded before the training; of more each when it comes up
DISK_RESERVE = 1_000_000_000  # bytes that a cache on disk leaves free
SAMPLE = 64  # headers that are read to estimate how much memory a set would take
GUARDED = len(REDUCTIONS)  # the way to decode that is none of a plain JPEG's: in Python, which catches errors
REMEMBERED = 8192  # files inspected last, among which one that stopped the pipeline is looked for first
CACHE_VERSION = 1  # of the rules that turn a file into pixels; a new one makes old caches useless
EMPTY = np.zeros((0, 0, 3), np.uint8)  # stands for a picture that cannot be read


class Cache(Protocol):
    """Decoded pictures by a key."""

    def key(self, path: str) -> str | None:
        """Return what a file's pixels are kept under, as the file is now; None if it cannot be had."""

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept."""

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture if there is room."""


class MemoryCache:
    """Decoded pictures in memory, by path."""

    def __init__(self, room: int) -> None:
        """Begin empty, with room for so many bytes."""
        self._pictures: dict[str, np.ndarray] = {}
        self._room = room
        self._lock = threading.Lock()

    def key(self, path: str) -> str:
        """Return the path."""
        return path

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept."""
        return self._pictures.get(key)

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep the pixels of a picture if there is room."""
        with self._lock:
            if pixels.nbytes <= self._room and key not in self._pictures:
                self._room -= pixels.nbytes
                self._pictures[key] = pixels


class DiskCache:
    """Decoded pictures as .npy files below a folder, found by path, size, time, reduction and version."""

    def __init__(self, folder: Path, shortest: int) -> None:
        """Use a folder, which several runs may share; raise SepnetsError if it cannot be made."""
        self._folder = make_cache_folder(folder)
        self._shortest = shortest

    def key(self, path: str) -> str | None:
        """Return the name of the .npy file of a picture file as it is now."""
        try:
            status = Path(path).stat()
        except OSError:
            return None
        rules = f"{CACHE_VERSION}/{self._shortest}/{status.st_size}/{status.st_mtime_ns}/"
        digest = hashlib.sha256(rules.encode() + os.fsencode(path)).hexdigest()
        return f"{digest[:2]}/{digest[2:32]}.npy"

    def get(self, key: str) -> np.ndarray | None:
        """Return the pixels of a picture if they are kept and whole."""
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
            return  # a cache that cannot be written costs time, not the run


def free_bytes(folder: Path) -> int:
    """Return how many bytes a cache in a folder may still take; it leaves 1 GB of the disk free."""
    return shutil.disk_usage(folder).free - DISK_RESERVE


def make_cache_folder(folder: Path) -> Path:
    """Make a folder for decoded pictures and return its absolute path; raise SepnetsError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SepnetsError(f"The cache folder cannot be made: {error}. Received: {str(folder)!r}") from None
    return folder.resolve()


def describe_place(needed: int, *, in_memory: bool, cache_folder: Path | None = None) -> str:
    """Return where so many bytes of decoded pictures are, in words."""
    if cache_folder:
        free = max(0, free_bytes(make_cache_folder(cache_folder)))
        room = f", as far as they fit the {in_bytes(free)} free there" if free < needed else ""
        return f"kept decoded in {printable(cache_folder)} (about {in_bytes(needed)}{room})"
    if in_memory:
        return f"kept decoded in memory (about {in_bytes(needed)})"
    return (
        f"decoded anew in every epoch (about {in_bytes(needed)} decoded, more than memory should hold; "
        "--cache DIR keeps them on disk)"
    )


def memory_budget() -> int:
    """Return how many bytes decoded pictures may take: a quarter of the memory of this machine or container."""
    return int(MEMORY_SHARE * memory_limit())


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
        self._inspected: deque[str] = deque(maxlen=REMEMBERED)
        self._cache: Cache | None = None
        paths = np.concatenate([source.paths(split) for split in source.splits])
        few = len(paths) <= DECODED_AT_ONCE
        sample = paths if few else np.random.default_rng(0).choice(paths, SAMPLE, replace=False)
        sizes = self._decoded_sizes(sample)
        needed = round(len(paths) * float(np.mean(sizes))) if sizes else 0
        fits = cache_folder is None and 2 * needed <= memory  # twice, while they are read
        self.decodes_at_once = fits and few
        if cache_folder is not None:
            self._cache = DiskCache(cache_folder, shortest)
        elif fits and not few:
            self._cache = MemoryCache(memory)
        self._decodes_in_graph = self._cache is None and not source.skip_bad
        self.place = describe_place(needed, in_memory=fits, cache_folder=cache_folder)

    def inspect(self, paths: tf.Tensor) -> tf.Tensor:
        """Return for many paths, string (n,), the way that `read` should decode each: int32 (n,).

        Python looks at the headers of many files at once: to be asked for each picture alone costs the pipeline a
        quarter of its speed. Without this, and so with a cache, TensorFlow's own decoder is not used.
        """
        if not self._decodes_in_graph:
            return tf.fill(tf.shape(paths), GUARDED)
        return tf.ensure_shape(tf.numpy_function(self._inspect, [paths], tf.int32, stateful=False), paths.shape)

    def read(self, path: tf.Tensor, way: tf.Tensor | int = GUARDED) -> tf.Tensor:
        """Return the picture at a path: uint8 (height, width, 3), of height 0 where it could not be read."""

        def guarded() -> tf.Tensor:
            return tf.numpy_function(self._read_guarded, [path], tf.uint8, stateful=False)

        if self._decodes_in_graph:
            branches = [lambda r=reduction: decode_jpeg(tf.io.read_file(path), r) for reduction in REDUCTIONS]
            pixels = tf.switch_case(way, [*branches, guarded])
        else:
            pixels = guarded()
        return tf.ensure_shape(pixels, (None, None, 3))

    def failure(self) -> UnreadablePictureError | None:
        """Return the error of the picture that stopped a pipeline, if it was one.

        TensorFlow's JPEG decoder does not know the path, so that files are decoded again: those inspected last,
        then all.
        """
        if self._source.bad and not self._source.skip_bad:
            return UnreadablePictureError(*list(self._source.bad.items())[-1])
        last = tuple(self._inspected)  # other threads go on
        rest = (os.fsdecode(path) for split in self._source.splits for path in self._source.paths(split))
        for path in itertools.chain(reversed(last), rest):
            try:
                read_picture(path, self._shortest)
            except UnreadablePictureError as error:
                return error
        return None

    def _read_guarded(self, path: bytes) -> np.ndarray:
        name = os.fsdecode(path)
        try:
            key = self._cache.key(name) if self._cache else None
            pixels = self._cache.get(key) if self._cache and key else None
            if pixels is None:
                pixels = read_picture(name, self._shortest)
                if self._cache and key:
                    self._cache.put(key, pixels)
        except UnreadablePictureError as error:
            self._source.note_bad(error)
            return EMPTY
        return pixels

    def _inspect(self, paths: np.ndarray) -> np.ndarray:
        ways = np.full(len(paths), GUARDED, np.int32)
        for number, path in enumerate(map(os.fsdecode, paths)):
            self._inspected.append(path)
            try:
                with open_picture(path) as file:
                    header = read_header(path, file)
            except UnreadablePictureError as error:
                self._source.note_bad(error)
                raise
            if header.is_plain_jpeg:
                ways[number] = REDUCTIONS.index(header.reduction(self._shortest))
        return ways

    def _decoded_sizes(self, paths: np.ndarray) -> list[int]:
        """Return how many bytes pictures take when they are decoded, from their headers."""
        sizes = []
        for path in map(os.fsdecode, paths):
            try:
                with open_picture(path) as file:
                    header = read_header(path, file)
            except UnreadablePictureError:
                continue  # it is met again where it is read
            reduction = header.reduction(self._shortest)
            sizes.append(3 * -(-header.width // reduction) * -(-header.height // reduction))
        return sizes
