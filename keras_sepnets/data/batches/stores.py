"""Where the decoded pictures of a data set are kept: in memory, on disk, or nowhere."""

import hashlib
import io
import math
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import filelock
import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.files import written_aside
from keras_sepnets.base.text import in_bytes
from keras_sepnets.data.batches.examples import DecodedExamples, Examples, FileExamples, StreamedExamples
from keras_sepnets.data.batches.reading import (
    CACHE_VERSION,
    PictureReader,
    describe_place,
    make_cache_folder,
)
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.records import TfdsSource

SAMPLE = 64  # records that are decoded to estimate how much memory a set would take


class FileStore:
    """The picture files of a source; decoded ones are kept where there is room."""

    def __init__(self, source: FileSource, shortest: int, cache_folder: Path | None, memory: int) -> None:
        """Read a few headers to decide where decoded pictures are kept; see `PictureReader`."""
        self._source = source
        self._memory = memory
        self._reader = PictureReader(source, shortest, cache_folder, memory)
        self.order = "by number"
        self.place = self._reader.place

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split (a boolean array in the order of the index, None for all)."""
        keep = slice(None) if chosen is None else chosen
        labels = self._source.index(split).labels[keep]
        examples = FileExamples(
            self._source.paths(split)[keep], labels, self._reader, skip_bad=self._source.skip_bad
        )
        if self._reader.decodes_at_once:
            return decode_all(examples.with_gaps(), len(labels), self._memory)
        return examples

    def failure(self) -> SepnetsError | None:
        """Return the error of the picture that stopped a pipeline, if it was one."""
        return self._reader.failure()


class RecordStore:
    """The records of a TFDS data set: decoded in memory if they fit, or in a folder, or as a stream."""

    def __init__(self, source: TfdsSource, shortest: int, cache_folder: Path | None, memory: int) -> None:
        """Decide where decoded pictures are kept."""
        self._source = source
        self._shortest = shortest
        self._cache_folder = cache_folder
        self._memory = memory
        needed = decoded_bytes(source, shortest)
        self._in_memory = not cache_folder and 2 * needed <= memory  # twice, while they are read
        self.place = describe_place(needed, in_memory=self._in_memory, cache_folder=cache_folder)
        self.order = "by number" if self._in_memory or cache_folder else "by files and a buffer"

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split (a boolean array in the order of the index, None for all)."""
        streamed = StreamedExamples(self._source, split, chosen, self._shortest)
        if self._in_memory:
            return decode_all(streamed.in_order(), streamed.num_examples, self._memory)
        if not self._cache_folder:
            return streamed
        selection = "all" if chosen is None else hashlib.sha256(chosen.tobytes()).hexdigest()
        name = f"{self._source.name} {split} {selection} {self._shortest} {self._source.fingerprint}"
        return decode_into_file(streamed, name, self._cache_folder)

    def failure(self) -> None:
        """Return nothing: TFDS verified its pictures when it prepared them."""
        return None


def decode_all(pictures: tf.data.Dataset, count: int, memory: int) -> DecodedExamples:
    """Return all (picture, label) of a data set decoded in memory.

    Raises:
        FailedRunError: There are not `count` pictures, or they take more than `memory` bytes.
    """
    with io.BytesIO() as buffer:
        shapes, labels = _write_pixels(pictures, count, buffer, memory)
        return DecodedExamples(np.frombuffer(buffer.getvalue(), np.uint8), shapes, labels)


def decode_into_file(streamed: StreamedExamples, name: str, folder: Path) -> DecodedExamples:
    """Decode a stream once, into a file that later runs find again.

    Args:
        streamed: The records.
        name: Says what they are, for the file's name; what has another name or version gets another file.
        folder: Where the file lies.

    Raises:
        FailedRunError: The data set does not hold what it promises, or the file cannot be written.
    """
    digest = hashlib.sha256(f"{CACHE_VERSION}/{name}".encode()).hexdigest()[:16]
    file = make_cache_folder(folder) / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)[:40]}-{digest}.pixels"
    index = file.with_suffix(".npz")
    try:
        with filelock.FileLock(file.with_suffix(".lock")):  # of runs that begin together one decodes
            found = _open_pixels(file, index)
            if found is not None:
                return found
            with written_aside(file) as aside, aside.open("wb") as pixels:
                shapes, labels = _write_pixels(streamed.in_order(), streamed.num_examples, pixels)
            with written_aside(index) as aside, aside.open("wb") as rest:
                np.savez(rest, shapes=shapes, labels=labels)
    except OSError as error:
        raise FailedRunError(f"The cache of decoded pictures cannot be written: {error}") from error
    return DecodedExamples(np.memmap(file, np.uint8, "r"), shapes, labels)


def _open_pixels(file: Path, index: Path) -> DecodedExamples | None:
    """Return the pictures that an earlier run decoded, or None if they are not there or not whole."""
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
    pictures: tf.data.Dataset, count: int, file: BinaryIO, most: float = math.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Write the pixels of every example one behind the other, at most so many bytes; return shapes and labels."""
    shapes, labels = [], []
    for picture, label in pictures.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        shapes.append(picture.shape[:2])
        labels.append(label)
        file.write(picture.tobytes())
        if file.tell() > most:
            raise FailedRunError(
                f"The decoded pictures take more than {in_bytes(int(most))}, a quarter of the memory, although "
                "the first of them did not look so; keep them on disk with --cache DIR."
            )
    if len(labels) != count:
        raise FailedRunError(f"The data set promises {count} examples and gives {len(labels)}; prepare it anew.")
    return np.array(shapes, np.int32), np.array(labels, np.int32)


def decoded_bytes(source: TfdsSource, shortest: int) -> int:
    """Return about how many bytes all pictures of a data set take when they are decoded."""
    count = sum(source.num_examples(split) for split in source.splits)
    if source.picture_size and source.picture_size < 2 * shortest:
        return 3 * count * source.picture_size**2
    first = source.read("train").take(SAMPLE).map(lambda _key, _label, encoded: source.decode(encoded, shortest))
    return round(count * float(np.mean([picture.nbytes for picture in first.as_numpy_iterator()])))
