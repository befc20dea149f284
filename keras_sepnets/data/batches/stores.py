"""The decoded pictures of a source: kept in memory, kept on disk, or decoded again in every epoch."""

import contextlib
import hashlib
import io
import math
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

import filelock
import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.files import remove_unfinished, written_aside
from keras_sepnets.base.text import in_bytes
from keras_sepnets.data.batches.caches import (
    CACHE_VERSION,
    Cache,
    DiskCache,
    MemoryCache,
    describe_place,
    make_cache_folder,
)
from keras_sepnets.data.batches.examples import DecodedExamples, Examples, FileExamples, StreamedExamples
from keras_sepnets.data.batches.reading import PictureReader
from keras_sepnets.data.pictures.files import UnreadablePictureError, open_picture
from keras_sepnets.data.pictures.headers import Header, read_header
from keras_sepnets.data.pictures.preprocessing import hidden_share
from keras_sepnets.data.pictures.rules import PixelRules

if TYPE_CHECKING:
    from keras_sepnets.data.sources.files import FileSource
    from keras_sepnets.data.sources.tfds import TfdsSource

OnPicture: TypeAlias = Callable[[int], None]  # is told how many pictures are decoded so far
DECODED_AT_ONCE = (
    5_000  # up to this number, files are decoded before training; of more, each when it is first needed
)
SAMPLE = 64  # pictures that are measured to estimate the size of a large data set


def nobody(_number: int) -> None:
    """Do nothing: nobody wants to be told."""


class Store(Protocol):
    """The examples of a source, with their pictures decoded."""

    place: str  # where decoded pictures are kept, in words
    order: str  # in which training sees the examples, in words
    on_picture: OnPicture  # called where all pictures are decoded at once
    hidden: float  # share of a typical picture outside its central square; 0 if unknown

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split: bool, in the order of the index; None for all."""

    def naming_bad_pictures(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that turns TensorFlow's error about a picture into an UnreadablePictureError."""


class FileStore:
    """The picture files of a source, cached decoded where there is room."""

    def __init__(self, source: "FileSource", rules: PixelRules, cache_folder: Path | None, memory: int) -> None:
        """Read some headers to decide where decoded pictures are kept; see `Source.open_store`."""
        paths = np.concatenate([source.paths(split) for split in source.splits])
        few = len(paths) <= DECODED_AT_ONCE
        sample = paths if few else np.random.default_rng(0).choice(paths, SAMPLE, replace=False)
        headers = _read_headers(sample, rules)
        needed = round(len(paths) * _mean([_decoded_bytes(header, rules) for header in headers]))
        self.hidden = float(np.median([hidden_share(header.width, header.height) for header in headers] or [0]))
        in_memory = cache_folder is None and 2 * needed <= memory  # twice while they are copied
        cache: Cache | None = None
        if cache_folder is not None:
            cache = DiskCache(cache_folder, rules)
        elif in_memory and not few:
            cache = MemoryCache(memory)
        self.decodes_at_once = in_memory and few
        self.order = "by number"
        self.place = describe_place(needed, in_memory=in_memory, cache_folder=cache_folder)
        self.on_picture: OnPicture = nobody
        self._source = source
        self._memory = memory
        self._reader = PictureReader(paths, source.bad, rules, cache)

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split; see `Store`."""
        keep = slice(None) if chosen is None else chosen
        labels = self._source.index(split).labels[keep]
        examples = FileExamples(self._source.paths(split)[keep], labels, self._reader)
        if self.decodes_at_once:
            return decode_all(examples.with_gaps(), len(labels), self._memory, self.on_picture)
        return examples

    def naming_bad_pictures(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that names the picture that stopped a pipeline; see `PictureReader`."""
        return self._reader.naming_bad_pictures()


class RecordStore:
    """The records of a TFDS data set: decoded in memory if they fit, in a file, or as a stream."""

    hidden = 0.0  # not looked at: the splits of a TFDS data set are as its authors meant them

    def __init__(self, source: "TfdsSource", rules: PixelRules, cache_folder: Path | None, memory: int) -> None:
        """Decode some records to decide where decoded pictures are kept; see `Source.open_store`."""
        self.on_picture: OnPicture = nobody
        self._source = source
        self._rules = rules
        self._cache_folder = cache_folder
        self._memory = memory
        needed = _bytes_of_records(source, rules)
        self._in_memory = not cache_folder and 2 * needed <= memory  # twice while they are copied
        self.place = describe_place(needed, in_memory=self._in_memory, cache_folder=cache_folder)
        self.order = "by number" if self._in_memory or cache_folder else "by files and a buffer"

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split; see `Store`."""
        streamed = StreamedExamples(self._source, split, chosen, self._rules)
        if self._in_memory:
            return decode_all(streamed.in_order(), streamed.num_examples, self._memory, self.on_picture)
        if not self._cache_folder:
            return streamed
        selection = "all" if chosen is None else hashlib.sha256(chosen.tobytes()).hexdigest()
        name = f"{self._source.name} {split} {selection} {self._rules.key} {self._source.fingerprint}"
        return decode_into_file(streamed, name, self._cache_folder, self.on_picture)

    def naming_bad_pictures(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that does nothing: TFDS verified its pictures when it prepared them."""
        return contextlib.nullcontext()


def decode_all(
    pictures: tf.data.Dataset, count: int, memory: int, on_picture: OnPicture = nobody
) -> DecodedExamples:
    """Decode all (picture, label) of a data set into memory.

    Raises:
        FailedRunError: There are not `count` pictures, or they take more than `memory` bytes.
    """
    with io.BytesIO() as buffer:
        shapes, labels = _write_pixels(pictures, count, buffer, memory, on_picture)
        return DecodedExamples(np.frombuffer(buffer.getvalue(), np.uint8), shapes, labels)


def decode_into_file(
    streamed: StreamedExamples, name: str, folder: Path, on_picture: OnPicture = nobody
) -> DecodedExamples:
    """Decode a stream once into a file, or find the file that an earlier run wrote; see `caches`.

    Args:
        streamed: The records.
        name: Identifies the records and how they are decoded; every name has its own file.
        folder: The folder of the file.
        on_picture: Called with the number of pictures so far.

    Raises:
        FailedRunError: The data set has another number of examples than it should, or the file cannot be written.
    """
    digest = hashlib.sha256(f"{CACHE_VERSION}/{name}".encode()).hexdigest()[:16]
    file = make_cache_folder(folder) / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)[:40]}-{digest}.pixels"
    index = file.with_suffix(".npz")
    if found := _open_pixels(file, index):  # before the lock: the folder may be read-only
        return found
    try:
        with filelock.FileLock(file.with_suffix(".lock")):  # if several runs start together, one decodes
            if found := _open_pixels(file, index):
                return found
            remove_unfinished(file)
            with written_aside(file) as aside, aside.open("wb") as pixels:
                shapes, labels = _write_pixels(
                    streamed.in_order(), streamed.num_examples, pixels, on_picture=on_picture
                )
            with written_aside(index) as aside, aside.open("wb") as rest:
                np.savez(rest, shapes=shapes, labels=labels)
    except OSError as error:
        raise FailedRunError(f"The cache of decoded pictures cannot be written: {error}") from error
    return DecodedExamples(np.memmap(file, np.uint8, "r"), shapes, labels)


def _open_pixels(file: Path, index: Path) -> DecodedExamples | None:
    """Return the pictures that an earlier run decoded; None if the files are missing or damaged."""
    try:
        with np.load(index) as rest:
            shapes, labels = rest["shapes"], rest["labels"]
        if file.stat().st_size != 3 * shapes.astype(np.int64).prod(axis=1).sum():
            return None
        buffer = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return DecodedExamples(buffer, shapes, labels)


def _write_pixels(
    pictures: tf.data.Dataset,
    count: int,
    file: BinaryIO,
    most: float = math.inf,
    on_picture: OnPicture = nobody,
) -> tuple[np.ndarray, np.ndarray]:
    """Write the pixels of all examples one after the other, at most `most` bytes; return shapes and labels."""
    shapes, labels = [], []
    for picture, label in pictures.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        shapes.append(picture.shape[:2])
        labels.append(label)
        file.write(picture.tobytes())
        on_picture(len(labels))
        if file.tell() > most:
            raise FailedRunError(
                f"The decoded pictures take more than {in_bytes(int(most))}, a quarter of the memory, although a "
                "sample suggested less; keep them on disk with --cache DIR."
            )
    if len(labels) != count:
        raise FailedRunError(f"The data set should have {count} examples but has {len(labels)}; prepare it again.")
    return np.array(shapes, np.int32), np.array(labels, np.int32)


def _read_headers(sample: np.ndarray, rules: PixelRules) -> list[Header]:
    headers = []
    for path in map(os.fsdecode, sample):
        with contextlib.suppress(UnreadablePictureError), open_picture(path) as file:  # reported when it is read
            headers.append(read_header(path, file, rules))
    return headers


def _decoded_bytes(header: Header, rules: PixelRules) -> int:
    reduction = header.reduction(rules.shortest)
    return 3 * -(-header.width // reduction) * -(-header.height // reduction)


def _mean(sizes: list[int]) -> float:
    return float(np.mean(sizes)) if sizes else 0.0


def _bytes_of_records(source: "TfdsSource", rules: PixelRules) -> int:
    """Estimate how many bytes all pictures of a data set take decoded."""
    count = sum(source.num_examples(split) for split in source.splits)
    if source.picture_size and source.picture_size < 2 * rules.shortest:
        return 3 * count * source.picture_size**2
    first = source.read("train").take(SAMPLE).map(lambda _key, _label, encoded: source.decode(encoded, rules))
    return round(count * float(np.mean([picture.nbytes for picture in first.as_numpy_iterator()])))
