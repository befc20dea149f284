"""A data set as a run sees it: train, validation and test examples of one picture size."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.examples import Examples
from keras_sepnets.data.batches.holdout import assign_roles, stratified_holdout
from keras_sepnets.data.batches.pipeline import draw_sample, evaluation_batches, training_batches
from keras_sepnets.data.batches.reading import memory_budget
from keras_sepnets.data.batches.stores import FileStore, RecordStore
from keras_sepnets.data.pictures.preprocessing import SMALL_PICTURE, needed_side
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.folder import open_folder
from keras_sepnets.data.sources.manifest import open_manifest
from keras_sepnets.data.sources.records import TfdsSource
from keras_sepnets.settings.schema import AUGMENTATIONS, AugmentationConfig, DataConfig

ROLES = ("train", "validation", "test")
# Sets of symbols whose mirror image is another symbol, or none.
SYMBOLS = ("digits", "emnist", "kmnist", "mnist", "mnist_corrupted", "omniglot", "svhn_cropped")


PHOTO_CROP = 0.875  # of the shorter side: the central square that ImageNet's literature evaluates on
SMALL_SHIFT = 0.125  # how far small pictures are padded and cropped, in place of a random crop
FILES = {"folder": open_folder, "manifest": open_manifest}


def open_source(dataset: str, *, download: bool = False, skip_bad: bool = False) -> FileSource | TfdsSource:
    """Return the data set of a name: `folder:PATH`, `manifest:FILE` or a TFDS name.

    Args:
        dataset: The name.
        download: Whether a TFDS data set may be downloaded.
        skip_bad: Whether to go on without picture files that cannot be read.

    Raises:
        SepnetsError: There is no such data set, or it cannot be used.
    """
    scheme, colon, path = dataset.partition(":")
    if colon and scheme in FILES:
        return FILES[scheme](path, skip_bad=skip_bad)
    return TfdsSource(dataset, download=download)


def resolve_data(
    config: DataConfig, source: FileSource | TfdsSource, *, default_size: int, minimum_size: int = 1
) -> DataConfig:
    """Fill in what the user left open: the picture size, the crop and the augmentation that fit the data set.

    Args:
        config: The settings; what is set stays.
        source: The data set.
        default_size: The network's own picture size in pixels.
        minimum_size: The smallest that the network takes.

    Returns:
        The settings with the data set's full name; `image_size` (twice the size of small pictures, at least 64 and
        what the network needs, at most the network's own); `crop_fraction` (1 for pictures of at most 64 px, else
        .875); `augment` ("none" where pictures are to be learned by heart, "light" for symbols, which must not be
        mirrored, else "standard") and its amounts.
    """
    image_size = config.image_size
    if image_size is None and source.picture_size:
        image_size = min(default_size, max(64, minimum_size, 2 * source.picture_size))
    small = source.picture_size is not None and source.picture_size <= SMALL_PICTURE
    symbols = re.split("[/:]", source.name)[0] in SYMBOLS
    augment = config.augment or ("none" if config.overfit else "light" if symbols else "standard")
    preset = AUGMENTATIONS[augment]
    if small and preset.smallest_crop < 1:
        preset = preset.model_copy(update={"smallest_crop": 1.0, "shift": SMALL_SHIFT})
    said = config.augmentation.model_dump(exclude_unset=True) if config.augmentation else {}
    return config.model_copy(
        update={
            "dataset": source.name,
            "image_size": image_size or default_size,
            "crop_fraction": config.crop_fraction or (1.0 if small else PHOTO_CROP),
            "augment": augment,
            # Complete, so that a run keeps its policy when a preset changes.
            "augmentation": AugmentationConfig(**{**preset.model_dump(), **said}),
        }
    )


class Splits:
    """The three roles of a data set. What it has no split for is cut from train by a fixed stratified hash."""

    def __init__(
        self,
        source: FileSource | TfdsSource,
        config: DataConfig,
        *,
        cache_folder: Path | None = None,
        memory: int | None = None,
    ) -> None:
        """Assign each role its examples; nothing is decoded yet.

        Args:
            source: The data set.
            config: Resolved settings: `image_size` is set.
            cache_folder: Where decoded pictures are kept; None for memory, if they fit it.
            memory: Bytes that decoded pictures may take; None for a quarter of this machine's memory.

        Raises:
            SepnetsError: There is no train split, or a role would be empty.
        """
        if config.image_size is None:
            raise ValueError("image_size is not resolved; call resolve_data first")
        if "train" not in source.splits:
            raise SepnetsError(
                f'The data set "{printable(source.name)}" has no labelled train split. '
                f"Received splits: {', '.join(source.splits) or 'none'}"
            )
        self.source = source
        self.class_names = source.class_names
        self.config = config
        self._size = config.image_size
        # Of each role the split and, as a boolean array over its index, which examples; None for all.
        self.parts = self._assign(config.holdout_fraction)
        if config.overfit:
            self.parts = dict.fromkeys(ROLES, ("train", self._choose(config.overfit)))
        for role in ROLES:
            if not self.num_examples(role):
                raise SepnetsError(
                    f'The data set "{printable(source.name)}" is too small: no example is left for {role}; add '
                    "pictures or change data.holdout_fraction. "
                    f"Received: {source.num_examples('train')} train examples"
                )
        memory = memory_budget() if memory is None else memory
        shortest = needed_side(self._size, config.crop_fraction)
        self._store: FileStore | RecordStore
        if isinstance(source, FileSource):
            self._store = FileStore(source, shortest, cache_folder, memory)
        else:
            self._store = RecordStore(source, shortest, cache_folder, memory)
        self._examples: dict[str, Examples] = {}  # by role: what is decoded at once is decoded once
        self.place = self._store.place

    def num_examples(self, role: str) -> int:
        """Return how many examples play a role."""
        split, chosen = self.parts[role]
        return self.source.num_examples(split) if chosen is None else int(chosen.sum())

    def describe(self, role: str) -> str:
        """Return where a role's examples come from, in words."""
        split, chosen = self.parts[role]
        if self.config.overfit:
            return "the same pictures of train for everything"
        if chosen is None:
            return f"the set's {split} split"
        return "the set's train split, less what is held out" if role == "train" else "held out from train"

    def to_json(self) -> dict[str, Any]:
        """Return the content of data.json."""
        return {
            "dataset": self.source.name,
            "image_size": self._size,
            "crop_fraction": self.config.crop_fraction,
            "classes": len(self.class_names),
            "order": self._store.order,  # in which training sees the examples
            **{role: self._describe_role(role) for role in ROLES},
        }

    def digest(self, role: str) -> str | None:
        """Return a hash of the picture files and classes of a role; None for TFDS, whose sets are fixed."""
        if not isinstance(self.source, FileSource):
            return None
        split, chosen = self.parts[role]
        keys, labels = self.source.index(split)
        chosen = np.ones(len(keys), bool) if chosen is None else chosen
        lines = sorted(f"{keys[place]}\0{self.class_names[labels[place]]}\n" for place in np.flatnonzero(chosen))
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def is_held_out(self, role: str) -> bool:
        """Tell whether a role's examples were cut from train, by a choice that depends on all that is there."""
        return role != "train" and self.parts[role][1] is not None and not self.config.overfit

    def examples(self, role: str) -> Examples:
        """Return the examples of a role; raise SepnetsError if there is no such role."""
        if role not in ROLES:
            raise SepnetsError(f"A split is {', '.join(ROLES)}. Received: {role!r}")
        if role not in self._examples:
            split, chosen = self.parts[role]
            with self.translated_failures():
                self._examples[role] = self._store.examples(split, chosen)
        return self._examples[role]

    def sample(self, role: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some pictures of a role, always the same, as evaluation sees them; see `pipeline`."""
        return draw_sample(self.examples(role), count, self._size, self.config.crop_fraction)

    def training_batches(
        self, batch_size: int, steps_per_epoch: int, seed: int, *, start: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches of the training examples, varied as the settings say; see `pipeline`."""
        return training_batches(
            self.examples("train"),
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            image_size=self._size,
            policy=self.policy,
            seed=seed,
            crop_fraction=self.config.crop_fraction,
            classes=len(self.class_names),
            start=start,
        )

    def evaluation_batches(self, role: str, batch_size: int, *, one_hot: bool = False) -> tf.data.Dataset:
        """Return every example of a role once, in a fixed order; see `pipeline`."""
        return evaluation_batches(
            self.examples(role),
            batch_size=batch_size,
            image_size=self._size,
            crop_fraction=self.config.crop_fraction,
            classes=len(self.class_names) if one_hot else 0,
        )

    @property
    def policy(self) -> AugmentationConfig:
        """How training pictures vary."""
        return self.config.augmentation or AUGMENTATIONS[self.config.augment or "none"]

    def class_counts(self, role: str) -> np.ndarray:
        """Return how many examples of each class play a role: int64 (classes,)."""
        split, chosen = self.parts[role]
        labels = self.source.index(split).labels
        return np.bincount(labels if chosen is None else labels[chosen], minlength=len(self.class_names))

    @contextlib.contextmanager
    def translated_failures(self) -> Iterator[None]:
        """Turn TensorFlow's text about a picture that could not be decoded into the sentence that names it."""
        try:
            yield
        except tf.errors.OpError as error:
            failure = self._store.failure()
            if failure is None:
                raise
            raise FailedRunError(f"{failure} sepnets train --on-bad-picture skip goes on without it.") from error

    @property
    def bad_pictures(self) -> dict[str, str]:
        """The picture files that were left out so far, each with the reason."""
        return dict(self.source.bad) if isinstance(self.source, FileSource) else {}

    def _describe_role(self, role: str) -> dict[str, Any]:
        described = {"num_examples": self.num_examples(role), "from": self.describe(role)}
        digest = self.digest(role)
        return described | ({"digest": digest} if digest else {})

    def _choose(self, count: int) -> np.ndarray:
        """Return which of the training examples are the only ones, each class in its proportion."""
        chosen = self.parts["train"][1]
        index = self.source.index("train")
        places = np.arange(len(index.keys)) if chosen is None else np.flatnonzero(chosen)
        if count >= len(places):
            raise SepnetsError(
                f"There are no more than {len(places)} training pictures to choose from. Received: overfit={count}"
            )
        held = stratified_holdout([index.keys[at] for at in places], index.labels[places], count, salt="overfit")
        if not held.any():
            raise SepnetsError(
                "Every class has one picture only, of which none is chosen; add some, or leave data.overfit out. "
                f"Received: overfit={count}"
            )
        result = np.zeros(len(index.keys), bool)
        result[places[held]] = True
        return result

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
