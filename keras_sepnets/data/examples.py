"""The examples of one role (train, validation, test): picture files, decoded records, or a stream of records."""

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import tensorflow as tf

from keras_sepnets.data.files import FileSource
from keras_sepnets.data.reading import CACHE_VERSION, PictureReader, describe_place, make_cache_folder
from keras_sepnets.data.tfds_source import TfdsSource
from keras_sepnets.errors import FailedRunError, SepnetsError

LOOKED_UP_AT_ONCE = 64
SHUFFLE_BUFFER = 10_000  # examples, for sets that can only be read in the order of their files
NOTHING_READ = "Not one picture of the split could be read; sepnets data check names them."
SAMPLE = 64  # pictures that are decoded to estimate how much memory a set would take


class Examples(Protocol):
    """RGB pictures, uint8 (height, width, 3), with their labels."""

    num_examples: int

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""

    def shuffled(
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Return (position, picture, label) without end: `per_epoch` different examples, then the next epoch.

        Of several workers each gets every n-th position.
        """


class _IndexedExamples:
    """Examples that can be had by number: the order of any epoch follows from (seed, epoch) alone.

    What they need to be loaded is looked up for many at once, since each operation costs more than its work.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.num_examples = len(labels)
        with tf.device("CPU"):  # where tf.data runs; on a GPU they would take its memory and travel back
            self._labels = tf.constant(labels)

    def shuffled(
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Return (position, picture, label) without end; the order of an epoch follows from (seed, epoch)."""

        def order(epoch: tf.Tensor) -> tf.data.Dataset:
            # Not tf.random.experimental.index_shuffle: over many epochs it puts examples at some places far more
            # often than at others (chi-squared 15 times its degrees of freedom for 10, 50 and 1293 examples).
            numbers = tf.range(tf.constant(self.num_examples, tf.int64))
            permutation = tf.random.experimental.stateless_shuffle(numbers, [tf.constant(seed, tf.int64), epoch])
            return tf.data.Dataset.from_tensor_slices(permutation[:per_epoch])

        indices = tf.data.Dataset.counter().flat_map(order)
        places = tf.data.Dataset.zip(tf.data.Dataset.counter(), indices)
        if worker:
            places = places.shard(worker.num_input_pipelines, worker.input_pipeline_id)
        return self._load_all(places, self._load_for_training)

    def _load_all(
        self, places: tf.data.Dataset, load: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    ) -> tf.data.Dataset:
        """Turn (position, index) into (position, picture, label)."""
        return (
            places.batch(LOOKED_UP_AT_ONCE)
            .map(lambda position, index: (position, *self._look_up(index)), num_parallel_calls=tf.data.AUTOTUNE)
            .unbatch()
            .map(
                lambda position, *found: (position, *load(*found)),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def _in_order(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        examples = self._load_all(tf.data.Dataset.zip(indices, indices), self._load)
        return examples.map(lambda _position, picture, label: (picture, label))

    def _look_up(self, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return what `_load` needs of many examples."""
        raise NotImplementedError

    def _load(self, *found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the picture and label of one."""
        raise NotImplementedError

    def _load_for_training(self, *found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._load(*found)


class FileExamples(_IndexedExamples):
    """Picture files, read when they are needed."""

    def __init__(self, paths: np.ndarray, labels: np.ndarray, reader: PictureReader, *, skip_bad: bool) -> None:
        """Keep paths and labels.

        Where pictures that cannot be read are skipped, evaluation leaves them out and training takes the next
        picture in the order of the index, mostly one of the same class: so the k-th example of an epoch stays the
        k-th, however often a run is interrupted.
        """
        super().__init__(labels)
        with tf.device("CPU"):
            self._paths = tf.constant(paths)
        self._reader = reader
        self._skip_bad = skip_bad

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example that can be read once, always in the same order."""
        pictures = self.with_gaps()
        return pictures.filter(lambda picture, _: _is_read(picture)) if self._skip_bad else pictures

    def with_gaps(self) -> tf.data.Dataset:
        """Return (picture, label) of every example, with pictures of height 0 where files cannot be read."""
        return self._in_order(tf.data.Dataset.range(self.num_examples))

    def _look_up(self, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        paths = tf.gather(self._paths, indices)
        return indices, paths, self._reader.inspect(paths), tf.gather(self._labels, indices)

    def _load(
        self, index: tf.Tensor, path: tf.Tensor, way: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self._reader.read(path, way), label

    def _load_for_training(
        self, index: tf.Tensor, path: tf.Tensor, way: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        picture, label = self._load(index, path, way, label)
        if not self._skip_bad:
            return picture, label

        def load_next(index: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index = (index + 1) % self.num_examples
            return index, self._reader.read(self._paths[index])

        index, picture = tf.while_loop(
            lambda _, picture: tf.logical_not(_is_read(picture)),
            load_next,
            (index, picture),
            shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, None, 3))),
            maximum_iterations=self.num_examples - 1,
        )
        return picture, self._labels[index]


class DecodedExamples(_IndexedExamples):
    """Decoded pictures one behind the other: in memory, or in a file."""

    def __init__(self, buffer: np.ndarray, shapes: np.ndarray, labels: np.ndarray) -> None:
        """Keep pictures.

        Args:
            buffer: uint8 (bytes,); an np.memmap stays on disk.
            shapes: int32 (examples, 2), heights and widths; heights of 0 where a file could not be read.
            labels: int32 (examples,).

        Raises:
            FailedRunError: Not one of the pictures could be read.
        """
        super().__init__(labels)
        readable = np.flatnonzero(shapes[:, 0])
        if not len(readable):
            raise FailedRunError(NOTHING_READ)
        self._readable = readable
        following = np.searchsorted(readable, np.arange(len(labels))) % len(readable)
        lengths = 3 * shapes.astype(np.int64).prod(axis=1)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self._buffer = buffer
        with tf.device("CPU"):
            if not isinstance(buffer, np.memmap):
                self._buffer = tf.constant(buffer)
            # In the place of one that cannot be read stands the next that can.
            self._stand_ins = tf.constant(readable[following])
            shapes = np.pad(shapes, [(0, 0), (0, 1)], constant_values=3)
            self._starts, self._lengths, self._shapes = map(tf.constant, (starts, lengths, shapes))

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example that could be read once, always in the same order."""
        return self._in_order(tf.data.Dataset.from_tensor_slices(self._readable))

    def _look_up(self, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        indices = tf.gather(self._stand_ins, indices)
        columns = (self._starts, self._lengths, self._shapes, self._labels)
        return tuple(tf.gather(column, indices) for column in columns)

    def _load(
        self, start: tf.Tensor, length: tf.Tensor, shape: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if isinstance(self._buffer, np.memmap):
            pixels = tf.numpy_function(self._copy, [start, length], tf.uint8, stateful=False)
        else:
            pixels = tf.slice(self._buffer, start[None], length[None])
        return tf.ensure_shape(tf.reshape(pixels, shape), (None, None, 3)), label

    def _copy(self, start: int, length: int) -> np.ndarray:
        return np.array(self._buffer[start : start + length])


class StreamedExamples:
    """Records too many for memory, which can only be read in the order of their files."""

    def __init__(self, source: TfdsSource, split: str, chosen: np.ndarray | None) -> None:
        """Read the chosen examples (a boolean array in file order, None for all) anew in every epoch."""
        self.num_examples = source.num_examples(split) if chosen is None else int(chosen.sum())
        self._source = source
        self._split = split
        self._chosen_keys = None
        if chosen is not None:
            with tf.device("CPU"):
                table = tf.lookup.KeyValueTensorInitializer(
                    [os.fsencode(key) for key in source.index(split).keys], chosen, tf.string, tf.bool
                )
                self._chosen_keys = tf.lookup.StaticHashTable(table, default_value=False)

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""
        return self._decoded(self._read())

    def shuffled(
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Return (position, picture, label) without end: files and a buffer of 10,000 examples are shuffled."""
        number, count = (worker.input_pipeline_id, worker.num_input_pipelines) if worker else (0, 1)
        epoch = self._read(shuffle_seed=seed, worker=worker)
        epoch = epoch.shuffle(SHUFFLE_BUFFER, seed=seed).take(per_epoch // count)
        positions = tf.data.Dataset.counter(number, count)
        return tf.data.Dataset.zip(positions, self._decoded(epoch.repeat())).map(
            lambda position, example: (position, *example)
        )

    def _read(
        self, shuffle_seed: int | None = None, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        examples = self._source.read(self._split, shuffle_seed=shuffle_seed, worker=worker)
        if self._chosen_keys is not None:
            examples = examples.filter(lambda key, _label, _picture: self._chosen_keys.lookup(key))
        return examples

    def _decoded(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        return examples.map(
            lambda _key, label, encoded: (self._source.decode(encoded), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


class FileStore:
    """The picture files of a source; decoded ones are kept where there is room."""

    def __init__(self, source: FileSource, shortest: int, cache_folder: Path | None, memory: int) -> None:
        """Read a few headers to decide where decoded pictures are kept; see `PictureReader`."""
        self._source = source
        self._reader = PictureReader(source, shortest, cache_folder, memory)
        self.place = self._reader.place

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split (a boolean array in the order of the index, None for all)."""
        keep = slice(None) if chosen is None else chosen
        labels = self._source.index(split).labels[keep]
        examples = FileExamples(
            self._source.paths(split)[keep], labels, self._reader, skip_bad=self._source.skip_bad
        )
        return _decode(examples.with_gaps(), len(labels)) if self._reader.decodes_at_once else examples

    def failure(self) -> SepnetsError | None:
        """Return the error of the picture that stopped a pipeline, if it was one."""
        return self._reader.failure()


class RecordStore:
    """The records of a TFDS data set: decoded in memory if they fit, or in a folder, or as a stream."""

    def __init__(self, source: TfdsSource, cache_folder: Path | None, memory: int) -> None:
        """Decide where decoded pictures are kept."""
        self._source = source
        self._cache_folder = cache_folder
        needed = decoded_bytes(source)
        self._in_memory = not cache_folder and 2 * needed <= memory  # twice, while they are read
        if cache_folder:
            self.place = f"kept decoded in {cache_folder}"
        else:
            self.place = describe_place(needed, in_memory=self._in_memory)

    def examples(self, split: str, chosen: np.ndarray | None) -> Examples:
        """Return the chosen examples of a split (a boolean array in the order of the index, None for all)."""
        streamed = StreamedExamples(self._source, split, chosen)
        if not (self._in_memory or self._cache_folder):
            return streamed
        selection = "all" if chosen is None else hashlib.sha256(chosen.tobytes()).hexdigest()
        return decode_stream(streamed, f"{self._source.name} {split} {selection}", self._cache_folder)

    def failure(self) -> None:
        """Return nothing: TFDS verified its pictures when it prepared them."""
        return None


def decode_stream(streamed: StreamedExamples, name: str, cache_folder: Path | None = None) -> DecodedExamples:
    """Decode a stream once, into memory or, given a folder, into a file there that later runs find again.

    Args:
        streamed: The records.
        name: Says what they are, for the file's name; sets of other names or versions get other files.
        cache_folder: Where the file lies.

    Raises:
        FailedRunError: The data set does not hold what it promises, or the file cannot be written.
    """
    if cache_folder is None:
        return _decode(streamed.in_order(), streamed.num_examples)
    digest = hashlib.sha256(f"{CACHE_VERSION}/{name}".encode()).hexdigest()[:16]
    file = make_cache_folder(cache_folder) / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)[:60]}-{digest}.pixels"
    index = file.with_suffix(".npz")  # written last: where it is, the pixels are whole
    if not index.is_file():
        aside = file.with_suffix(f".writing-{os.getpid()}")
        try:
            with aside.open("wb") as pixels:
                shapes, labels = _write_pixels(streamed.in_order(), streamed.num_examples, pixels)
                pixels.flush()
                os.fsync(pixels.fileno())
            aside.replace(file)
            with aside.open("wb") as rest:
                np.savez(rest, shapes=shapes, labels=labels)
            aside.replace(index)
        except OSError as error:
            raise FailedRunError(f"The cache of decoded pictures cannot be written: {error}") from error
        finally:
            aside.unlink(missing_ok=True)
    with np.load(index) as rest:
        return DecodedExamples(np.memmap(file, np.uint8, "r"), rest["shapes"], rest["labels"])


def _decode(pictures: tf.data.Dataset, count: int) -> DecodedExamples:
    """Return all pictures of a data set decoded in memory."""
    with io.BytesIO() as memory:
        shapes, labels = _write_pixels(pictures, count, memory)
        return DecodedExamples(np.frombuffer(memory.getvalue(), np.uint8), shapes, labels)


def _write_pixels(pictures: tf.data.Dataset, count: int, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    """Write the pixels of every example one behind the other and return the shapes and labels."""
    shapes, labels = [], []
    for picture, label in pictures.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        shapes.append(picture.shape[:2])
        labels.append(label)
        file.write(picture.tobytes())
    if len(labels) != count:
        raise FailedRunError(f"The data set promises {count} examples and gives {len(labels)}; prepare it anew.")
    return np.array(shapes, np.int32), np.array(labels, np.int32)


def decoded_bytes(source: TfdsSource) -> int:
    """Return about how many bytes all pictures of a data set take when they are decoded."""
    count = sum(source.num_examples(split) for split in source.splits)
    if source.picture_size:
        return 3 * count * source.picture_size**2
    first = source.read("train").take(SAMPLE).map(lambda _key, _label, encoded: source.decode(encoded))
    return round(count * float(np.mean([picture.nbytes for picture in first.as_numpy_iterator()])))


def _is_read(picture: tf.Tensor) -> tf.Tensor:
    return tf.shape(picture)[0] > 0
