"""The examples of one role (train, validation, test) at one picture size: in memory, by index, or as a stream."""

import contextlib
import os
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import psutil
import tensorflow as tf

from keras_sepnets.data.preprocessing import prepare_picture
from keras_sepnets.data.source import Source
from keras_sepnets.errors import FailedRunError

MEMORY_SHARE = 0.25  # of the machine's memory that decoded pictures may take
SHUFFLE_BUFFER = 10_000  # examples, for sets that can only be read in the order of their files


class Examples(Protocol):
    """RGB pictures of one size with their labels."""

    num_examples: int

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""

    def shuffled(self, seed: int, per_epoch: int) -> tf.data.Dataset:
        """Return (position, picture, label) without end: `per_epoch` different examples, then the next epoch."""


class IndexedExamples:
    """Examples that can be had by number: the order of any epoch follows from (seed, epoch) alone."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, source: Source, size: int) -> None:
        """Keep decoded pictures (an array), or encoded ones (paths) that are decoded when they are needed."""
        self.num_examples = len(labels)
        with tf.device("CPU"):  # where tf.data runs; on a GPU they would take its memory and travel back
            self._pictures = tf.constant(pictures)
            self._labels = tf.constant(labels)
        self._source = source
        self._size = size

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""
        return tf.data.Dataset.range(self.num_examples).map(self._load, num_parallel_calls=tf.data.AUTOTUNE)

    def shuffled(self, seed: int, per_epoch: int) -> tf.data.Dataset:
        """Return (position, picture, label) without end; the order of an epoch follows from (seed, epoch)."""

        def order(epoch: tf.Tensor) -> tf.data.Dataset:
            # Not tf.random.experimental.index_shuffle: over many epochs it puts examples at some places far more
            # often than at others (chi-squared 15 times its degrees of freedom for 10, 50 and 1293 examples).
            numbers = tf.range(tf.constant(self.num_examples, tf.int64))
            permutation = tf.random.experimental.stateless_shuffle(numbers, [tf.constant(seed, tf.int64), epoch])
            return tf.data.Dataset.from_tensor_slices(permutation[:per_epoch])

        indices = tf.data.Dataset.counter().flat_map(order)
        return tf.data.Dataset.zip(tf.data.Dataset.counter(), indices).map(
            lambda position, index: (position, *self._load(index)), num_parallel_calls=tf.data.AUTOTUNE
        )

    def _load(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = self._pictures[index]
        if picture.dtype == tf.string:
            picture = prepare_picture(self._source.decode(picture), self._size)
        return picture, self._labels[index]


class StreamedExamples:
    """Examples too large for memory that can only be read in the order of their files."""

    def __init__(self, source: Source, split: str, chosen: np.ndarray | None, size: int) -> None:
        """Read the chosen examples (a boolean array in file order, None for all) anew in every epoch."""
        self.num_examples = source.num_examples(split) if chosen is None else int(chosen.sum())
        self._source = source
        self._split = split
        self._size = size
        self._chosen_keys = None
        if chosen is not None:
            with tf.device("CPU"):
                table = tf.lookup.KeyValueTensorInitializer(
                    [os.fsencode(key) for key in source.index(split).keys], chosen, tf.string, tf.bool
                )
                self._chosen_keys = tf.lookup.StaticHashTable(table, default_value=False)

    def in_order(self) -> tf.data.Dataset:
        """Return (picture, label) of every example once, always in the same order."""
        return self._prepared(self._read())

    def shuffled(self, seed: int, per_epoch: int) -> tf.data.Dataset:
        """Return (position, picture, label) without end: files and a buffer of 10,000 examples are shuffled."""
        epoch = self._read(shuffle_seed=seed).shuffle(SHUFFLE_BUFFER, seed=seed).take(per_epoch)
        return tf.data.Dataset.zip(tf.data.Dataset.counter(), self._prepared(epoch.repeat())).map(
            lambda position, example: (position, *example)
        )

    def _read(self, shuffle_seed: int | None = None) -> tf.data.Dataset:
        examples = self._source.read(self._split, shuffle_seed=shuffle_seed)
        if self._chosen_keys is not None:
            examples = examples.filter(lambda key, _label, _picture: self._chosen_keys.lookup(key))
        return examples

    def _prepared(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        return examples.map(
            lambda _key, label, encoded: (prepare_picture(self._source.decode(encoded), self._size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def open_examples(
    source: Source, split: str, chosen: np.ndarray | None, size: int, *, in_memory: bool
) -> Examples:
    """Return the chosen examples of a split.

    Args:
        source: The data set.
        split: One of its splits.
        chosen: A boolean array over the split's index, or None for all of it.
        size: Height and width in pixels.
        in_memory: Whether to decode all pictures now; otherwise they are decoded anew in every epoch.

    Raises:
        SepnetsError: A picture could not be decoded.
    """
    streamed = StreamedExamples(source, split, chosen, size)
    if in_memory:
        pictures = np.empty((streamed.num_examples, size, size, 3), np.uint8)
        labels = np.empty(streamed.num_examples, np.int32)
        place = 0
        with translated_failures(source):
            for batch in streamed.in_order().batch(256).as_numpy_iterator():
                end = place + len(batch[1])
                pictures[place:end], labels[place:end] = batch
                place = end
        if place != streamed.num_examples:
            raise FailedRunError(
                f"{source.name} promises {streamed.num_examples} examples in {split} and gives {place}; "
                "prepare it anew."
            )
        return IndexedExamples(pictures, labels, source, size)
    encoded = source.encoded(split)
    if encoded is not None:
        keep = slice(None) if chosen is None else chosen
        return IndexedExamples(encoded[keep], source.index(split).labels[keep], source, size)
    return streamed


@contextlib.contextmanager
def translated_failures(source: Source) -> Iterator[None]:
    """Turn TensorFlow's text about a picture that could not be decoded into the sentence that names it."""
    try:
        yield
    except tf.errors.OpError as error:
        failure = source.failure()
        if failure is None:
            raise
        raise failure from error


def fits_memory(num_examples: int, size: int) -> bool:
    """Tell whether so many pictures of size x size px take at most a quarter of this machine's memory.

    While they are read they are there twice, as an array and as a tensor.
    """
    return 2 * num_examples * size * size * 3 <= MEMORY_SHARE * psutil.virtual_memory().total
