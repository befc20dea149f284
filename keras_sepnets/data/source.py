"""What a data set has to offer, wherever its pictures come from."""

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from keras_sepnets.errors import SepnetsError


class Index(NamedTuple):
    """Every example of a split, in the order in which `Source.read` gives them."""

    keys: list[str]  # a text that identifies the example on every machine
    labels: np.ndarray  # int32


class Source(Protocol):
    """Labelled pictures in named splits."""

    name: str  # opens the same data anywhere on this machine: with the version, or the absolute path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]  # those with labels
    picture_size: int | None  # the longer side in pixels where all pictures are of one size
    ignored_files: int  # files that lie beside the pictures and are none by their name

    def num_examples(self, split: str) -> int:
        """Return how many examples a split has."""

    def index(self, split: str) -> Index:
        """Return the key and label of every example, in the order of `read`."""

    def read(self, split: str, *, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Return (key, label, encoded picture) of every example once."""

    def encoded(self, split: str) -> np.ndarray | None:
        """Return the encoded pictures in the order of `read` where they can be had by number, else None."""

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the pixels of an encoded picture: (height, width, channels)."""

    def failure(self) -> SepnetsError | None:
        """Return why `decode` failed, if it did; TensorFlow passes on only a text."""
