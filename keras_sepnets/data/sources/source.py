"""What a data set has to offer, wherever its pictures come from."""

from typing import NamedTuple, Protocol

import numpy as np


class Index(NamedTuple):
    """Every example of a split."""

    keys: list[str]  # a text that identifies the example on every machine
    labels: np.ndarray  # int32


class Source(Protocol):
    """Labelled pictures in named splits."""

    name: str  # opens the same data anywhere on this machine: with the version, or the absolute path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]  # those with labels
    picture_size: int | None  # the longer side in pixels where all pictures are of one size
    notes: list[str]  # what the plan should say of the data

    def num_examples(self, split: str) -> int:
        """Return how many examples a split has; 0 if there is none of this name."""

    def index(self, split: str) -> Index:
        """Return the key and label of every example, in a fixed order."""
