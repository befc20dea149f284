"""A data set as a run sees it: train, validation and test examples of one picture size."""

import re
from typing import Any

import numpy as np

from keras_sepnets.config import DataConfig
from keras_sepnets.data.examples import Examples, fits_memory, open_examples
from keras_sepnets.data.folder import FolderSource
from keras_sepnets.data.source import Source
from keras_sepnets.data.splitting import assign_roles, stratified_holdout
from keras_sepnets.data.tfds_source import TfdsSource
from keras_sepnets.errors import SepnetsError

ROLES = ("train", "validation", "test")
# Sets of symbols whose mirror image is another symbol, or none.
SYMBOLS = ("digits", "emnist", "kmnist", "mnist", "mnist_corrupted", "omniglot", "svhn_cropped")


def open_source(dataset: str, *, download: bool = False) -> Source:
    """Return the data set of a name: `folder:PATH`, or a TFDS name."""
    scheme, colon, path = dataset.partition(":")
    if colon and scheme == "folder":
        return FolderSource(path)
    return TfdsSource(dataset, download=download)


def resolve_data(config: DataConfig, source: Source, *, default_size: int, minimum_size: int = 1) -> DataConfig:
    """Fill in what the user left open: the picture size and the augmentation that fit the data set.

    Args:
        config: The settings; what is set stays.
        source: The data set.
        default_size: The network's own picture size in pixels.
        minimum_size: The smallest that the network takes.

    Returns:
        The settings with the data set's full name, `image_size` (twice the size of small pictures, at least
        64 and what the network needs, at most the network's own) and `augment` ("light" for
        symbols, which must not be mirrored, else "standard").
    """
    image_size = config.image_size
    if image_size is None and source.picture_size:
        image_size = min(default_size, max(64, minimum_size, 2 * source.picture_size))
    symbols = re.split("[/:]", source.name)[0] in SYMBOLS
    augment = config.augment or ("light" if symbols else "standard")
    return config.model_copy(
        update={"dataset": source.name, "image_size": image_size or default_size, "augment": augment}
    )


class Splits:
    """The three roles of a data set. What it has no split for is cut from train by a fixed stratified hash."""

    def __init__(self, source: Source, config: DataConfig) -> None:
        """Assign each role its examples; nothing is decoded yet.

        Args:
            source: The data set.
            config: Resolved settings: `image_size` is set.

        Raises:
            SepnetsError: There is no train split, or a role would be empty.
        """
        if config.image_size is None:
            raise ValueError("image_size is not resolved; call resolve_data first")
        if "train" not in source.splits:
            raise SepnetsError(
                f'The data set "{source.name}" has no labelled train split. '
                f"Received splits: {', '.join(source.splits) or 'none'}"
            )
        self.source = source
        self.class_names = source.class_names
        self._size = config.image_size
        self._parts = self._assign(config.holdout_fraction)
        for role in ROLES:
            if not self.num_examples(role):
                raise SepnetsError(
                    f'The data set "{source.name}" is too small: no example is left for {role}; add pictures or '
                    f"change data.holdout_fraction. Received: {source.num_examples('train')} train examples"
                )
        self._in_memory = fits_memory(sum(map(self.num_examples, ROLES)), self._size)

    def num_examples(self, role: str) -> int:
        """Return how many examples play a role."""
        split, chosen = self._parts[role]
        return self.source.num_examples(split) if chosen is None else int(chosen.sum())

    def describe(self, role: str) -> str:
        """Return where a role's examples come from, in words."""
        split, chosen = self._parts[role]
        if chosen is None:
            return f"the set's {split} split"
        return "the set's train split, less what is held out" if role == "train" else "held out from train"

    def to_json(self) -> dict[str, Any]:
        """Return the content of data.json."""
        return {
            "dataset": self.source.name,
            "image_size": self._size,
            "classes": len(self.class_names),
            **{role: {"num_examples": self.num_examples(role), "from": self.describe(role)} for role in ROLES},
        }

    def examples(self, role: str) -> Examples:
        """Return the examples of a role, decoded in memory where all roles fit a quarter of it."""
        if role not in ROLES:
            raise SepnetsError(f"A split is {', '.join(ROLES)}. Received: {role!r}")
        split, chosen = self._parts[role]
        return open_examples(self.source, split, chosen, self._size, in_memory=self._in_memory)

    def _assign(self, holdout_fraction: float) -> dict[str, tuple[str, np.ndarray | None]]:
        parts: dict[str, tuple[str, np.ndarray | None]] = {}
        roles = assign_roles(self.source.splits)
        remaining = None
        for role in ("test", "validation"):
            split = roles[role]
            if split is not None:
                parts[role] = (split, None)
                continue
            index = self.source.index("train")
            if remaining is None:
                remaining = np.ones(len(index.keys), bool)
            places = np.flatnonzero(remaining)
            held_out = stratified_holdout(
                [index.keys[place] for place in places],
                index.labels[places],
                round(holdout_fraction * len(index.keys)),
                salt=role,
            )
            chosen = np.zeros(len(index.keys), bool)
            chosen[places[held_out]] = True
            remaining &= ~chosen
            parts[role] = ("train", chosen)
        parts["train"] = ("train", remaining)
        return parts
