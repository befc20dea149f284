"""Labelled pictures as tf.data sets: picture files, decoded pictures, or a stream of records."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.data.batches.reading import PictureReader
from keras_sepnets.data.pictures.rules import PixelRules

if TYPE_CHECKING:
    from keras_sepnets.data.sources.tfds import TfdsSource

LOOKED_UP_AT_ONCE = 64  # examples
SHUFFLE_BUFFER = 10_000  # examples, for data sets that can only be read in the order of their files
NOTHING_READ = "No picture of the split could be read; sepnets data check names the files."


class Examples(Protocol):
    """RGB pictures, uint8 (height, width, 3), with their labels."""

    num_examples: int

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""

    def shuffled(
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None, first: int = 0
    ) -> tf.data.Dataset:
        """Return endless (position, picture, label): `per_epoch` different examples, then the next epoch.

        Positions start at `first`; each of n workers gets every n-th one.
        """


class _IndexedExamples:
    """Examples that can be read by number: the order of an epoch follows from (seed, epoch) alone.

    Paths, places and labels are looked up for many examples at once, because an operation costs more than its
    arithmetic.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.num_examples = len(labels)
        with tf.device("CPU"):  # where tf.data runs; on a GPU they would take its memory and be copied back
            self._labels = tf.constant(labels)

    def shuffled(
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None, first: int = 0
    ) -> tf.data.Dataset:
        """Return endless (position, picture, label); the order of an epoch follows from (seed, epoch)."""

        def order(epoch: tf.Tensor) -> tf.data.Dataset:
            # Not tf.random.experimental.index_shuffle: over many epochs it is far from uniform (chi-squared 15
            # times its degrees of freedom for 10, 50 and 1293 examples).
            numbers = tf.range(tf.constant(self.num_examples, tf.int64))
            permutation = tf.random.experimental.stateless_shuffle(numbers, [tf.constant(seed, tf.int64), epoch])
            seen = tf.where(epoch == first // per_epoch, first % per_epoch, 0)
            return tf.data.Dataset.from_tensor_slices(permutation[seen:per_epoch])

        indices = tf.data.Dataset.counter(first // per_epoch).flat_map(order)
        places = tf.data.Dataset.zip(tf.data.Dataset.counter(first), indices)
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
        """Return the arguments of `_load` for many examples."""
        raise NotImplementedError

    def _load(self, *found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the picture and label of one example."""
        raise NotImplementedError

    def _load_for_training(self, *found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._load(*found)


class FileExamples(_IndexedExamples):
    """Picture files, read when they are needed."""

    def __init__(self, paths: np.ndarray, labels: np.ndarray, reader: PictureReader) -> None:
        """Keep paths (bytes) and labels (int32).

        Where the reader skips bad pictures, evaluation leaves them out, and training takes the next picture in the
        order of the index, usually of the same class. So the k-th example of an epoch stays the k-th, however
        often a run is interrupted.
        """
        super().__init__(labels)
        with tf.device("CPU"):
            self._paths = tf.constant(paths)
        self._reader = reader
        self._skip_bad = reader.bad.skip

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every readable example once, always in the same order."""
        pictures = self.with_gaps()
        return pictures.filter(lambda picture, _: _is_read(picture)) if self._skip_bad else pictures

    def with_gaps(self) -> tf.data.Dataset:
        """Return (picture, label) of every example; the picture of an unreadable file has height 0."""
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
    """Decoded pictures in one array of pixels: in memory, or memory-mapped from a file."""

    def __init__(self, buffer: np.ndarray, shapes: np.ndarray, labels: np.ndarray) -> None:
        """Keep the pictures.

        Args:
            buffer: The pixels of all examples one after the other, uint8 (bytes,); an np.memmap stays on disk.
            shapes: int32 (examples, 2), heights and widths; the height is 0 if a file could not be read.
            labels: int32 (examples,).

        Raises:
            FailedRunError: No picture could be read.
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
            # The next readable picture stands in for an unreadable one.
            self._stand_ins = tf.constant(readable[following])
            shapes = np.pad(shapes, [(0, 0), (0, 1)], constant_values=3)
            self._starts, self._lengths, self._shapes = map(tf.constant, (starts, lengths, shapes))

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every readable example once, always in the same order."""
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
    """Records that do not fit in memory and can only be read in the order of their files."""

    def __init__(
        self, source: "TfdsSource", split: str, chosen: np.ndarray | None, rules: PixelRules | None = None
    ) -> None:
        """Choose examples; every epoch reads them again.

        Args:
            source: The records.
            split: The split to read.
            chosen: bool, in the order of the index; None for all.
            rules: What decides about the pixels besides the records; None: nothing is reduced.
        """
        self.num_examples = source.num_examples(split) if chosen is None else int(chosen.sum())
        self._source = source
        self._split = split
        self._rules = rules
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
        self, seed: int, per_epoch: int, worker: tf.distribute.InputContext | None = None, first: int = 0
    ) -> tf.data.Dataset:
        """Return endless (position, picture, label): files and a buffer of 10,000 examples are shuffled.

        Examples before the position `first` are read again, but not decoded.
        """
        number, count = (worker.input_pipeline_id, worker.num_input_pipelines) if worker else (0, 1)
        epoch = self._read(shuffle_seed=seed, worker=worker)
        epoch = epoch.shuffle(SHUFFLE_BUFFER, seed=seed).take(per_epoch // count)
        positions = tf.data.Dataset.counter(first + number, count)
        return tf.data.Dataset.zip(positions, self._decoded(epoch.repeat().skip(first // count))).map(
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
            lambda _key, label, encoded: (self._source.decode(encoded, self._rules), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def _is_read(picture: tf.Tensor) -> tf.Tensor:
    return tf.shape(picture)[0] > 0
