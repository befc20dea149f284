"""A data set as a run sees it: train, validation and test examples of one picture size."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.caches import memory_budget
from keras_sepnets.data.batches.examples import Examples
from keras_sepnets.data.batches.pipeline import draw_sample, evaluation_batches, training_batches
from keras_sepnets.data.batches.roles import ROLES, assign_parts, choose_few
from keras_sepnets.data.batches.samples import take_sample
from keras_sepnets.data.pictures.files import UnreadablePictureError
from keras_sepnets.data.pictures.preprocessing import HIDES_MUCH, SHOW_WHOLE
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.source import Part, Source
from keras_sepnets.settings.schema import AUGMENTATIONS, AugmentationConfig, DataConfig


class Splits:
    """The three roles of a data set and their batches; see `roles` for what sets a role apart from a split."""

    def __init__(
        self,
        source: Source,
        config: DataConfig,
        *,
        parts: Mapping[str, Part] | None = None,
        cache_folder: Path | None = None,
        memory: int | None = None,
    ) -> None:
        """Assign each role its examples; decode nothing.

        Args:
            source: The data set.
            config: Resolved settings: `image_size` is set.
            parts: The examples of the roles that are needed; None for what the settings say, for every role.
            cache_folder: Folder for decoded pictures; None for memory, if they fit.
            memory: Bytes that decoded pictures may take; None for a quarter of this machine's memory.

        Raises:
            SepnetsError: There is no train split to assign roles to, or a role would be empty.
        """
        if config.image_size is None:
            raise ValueError("image_size is not resolved; call resolve_data first")
        if parts is None and "train" not in source.splits:
            raise SepnetsError(
                f'The data set "{printable(source.name)}" has no labelled train split. '
                f"Received splits: {', '.join(source.splits) or 'none'}"
            )
        self.source = source
        self.class_names = source.class_names
        self.config = config
        self._size = config.image_size
        self.parts = dict(parts or assign_parts(source, config))
        if config.overfit and not parts:
            self.parts = dict.fromkeys(ROLES, choose_few(source, self.parts["train"], config.overfit))
        needed = [role for role in (ROLES[:2] if config.trains_on_all else ROLES) if role in self.parts]
        for role in needed:
            if not self.num_examples(role):
                raise SepnetsError(
                    f'The data set "{printable(source.name)}" is too small: no example is left for {role}; add '
                    "pictures or change data.holdout_fraction. "
                    f"Received: {source.num_examples('train')} train examples"
                )
        memory = memory_budget() if memory is None else memory
        self._store = source.open_store(PixelRules.of(config), cache_folder, memory)
        self._examples: dict[str, Examples] = {}  # by role, so that nothing is decoded into memory twice
        # Called with a role, its number of examples, and how many are decoded, where all are decoded at once.
        self.on_read: Callable[[str, int, int], None] = lambda _role, _total, _done: None
        self.place = self._store.place

    def num_examples(self, role: str) -> int:
        """Return the number of examples of a role."""
        split, chosen = self.parts[role]
        return self.source.num_examples(split) if chosen is None else int(chosen.sum())

    def describe(self, role: str) -> str:
        """Return in words where the examples of a role come from."""
        split, chosen = self.parts[role]
        if self.config.overfit:
            return "the same pictures of train for everything"
        if self.config.folds:
            return self._describe_in_folds(role)
        if chosen is None:
            return f"the set's {split} split"
        return "the set's train split, less what is held out" if role == "train" else "held out from train"

    def to_json(self) -> dict[str, Any]:
        """Return the content of data.json."""
        return {
            "dataset": self.source.name,
            "image_size": self._size,
            "crop_fraction": self.config.crop_fraction,
            "fit": self.config.fit,
            "classes": len(self.class_names),
            "order": self._store.order,  # in which training sees the examples
            **{role: self.describe_role(role) for role in ROLES},
        }

    def describe_role(self, role: str) -> dict[str, Any]:
        """Return what data.json says of a role: how many examples, from where, and what identifies them."""
        described = {"num_examples": self.num_examples(role), "from": self.describe(role)}
        digest, sample = self.digest(role), take_sample(self.source, self.parts[role])
        return described | ({"digest": digest} if digest else {}) | ({"sample": sample} if sample else {})

    def digest(self, role: str) -> str | None:
        """Return a hash of the keys and classes of a role; None for TFDS, whose data sets never change."""
        return self.source.digest(self.parts[role])

    def is_held_out(self, role: str) -> bool:
        """Return whether a role was cut from train, so that it changes when files are added or removed."""
        return role != "train" and self.parts[role].chosen is not None and not self.config.overfit

    def keys(self, role: str) -> list[str]:
        """Return the key of every example of a role in the order of `evaluation_batches`, which has read them all.

        Files that turned out to be unreadable are left out, as they are there.
        """
        return np.array(self.source.index(self.parts[role].split).keys, object)[self._readable(role)].tolist()

    def names(self, role: str) -> list[str]:
        """Return the path of every file of a role, or the TFDS id, in the order of `keys`."""
        paths = self.source.paths(self.parts[role].split)
        if paths is None:
            return self.keys(role)
        return [os.fsdecode(path) for path in paths[self._readable(role)]]

    def _readable(self, role: str) -> np.ndarray:
        split, chosen = self.parts[role]
        paths = self.source.paths(split)
        keep = np.ones(self.source.num_examples(split), bool) if chosen is None else chosen.copy()
        if paths is not None:
            keep &= [os.fsdecode(path) not in self.source.bad for path in paths]
        return keep

    def examples(self, role: str) -> Examples:
        """Return the examples of a role; raise SepnetsError for an unknown role."""
        if role not in ROLES:
            raise SepnetsError(f"A split is {', '.join(ROLES[:-1])} or {ROLES[-1]}. Received: {role!r}")
        if role not in self._examples:
            split, chosen = self.parts[role]
            with self.translated_failures():
                self._store.on_picture = partial(self.on_read, role, self.num_examples(role))
                self._examples[role] = self._store.examples(split, chosen)
        return self._examples[role]

    def sample(self, role: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some pictures of a role as evaluation sees them, always the same ones; see `pipeline`."""
        return draw_sample(self.examples(role), count, self._size, self.config.crop_fraction, self.config.fit)

    def training_batches(
        self, batch_size: int, steps_per_epoch: int, seed: int, *, start: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches of the training examples, augmented as configured; see `pipeline`."""
        return training_batches(
            self.examples("train"),
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            image_size=self._size,
            policy=self.policy,
            seed=seed,
            crop_fraction=self.config.crop_fraction,
            fit=self.config.fit,
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
            fit=self.config.fit,
            classes=len(self.class_names) if one_hot else 0,
        )

    def training_pictures(self, batch_size: int, most: int) -> tf.data.Dataset:
        """Return every training example once as evaluation sees it, or about `most` of them, chosen at random."""
        if most >= self.num_examples("train"):
            return self.evaluation_batches("train", batch_size)
        steps = max(1, most // batch_size)
        return training_batches(
            self.examples("train"),
            batch_size=batch_size,
            steps_per_epoch=steps,
            image_size=self._size,
            policy=AUGMENTATIONS["none"],
            seed=0,
            crop_fraction=self.config.crop_fraction,
            fit=self.config.fit,
            classes=len(self.class_names),
        ).take(steps)

    @property
    def notes(self) -> list[str]:
        """Remarks for the plan of a run."""
        hidden = self._store.hidden
        if self.config.fit != "crop" or hidden <= HIDES_MUCH:
            return self.source.notes
        remark = f"the central square hides {hidden:.0%} of a typical picture; {SHOW_WHOLE}"
        return [*self.source.notes, remark]

    @property
    def policy(self) -> AugmentationConfig:
        """How training pictures are augmented."""
        return self.config.augmentation or AUGMENTATIONS[self.config.augment or "none"]

    def class_counts(self, role: str) -> np.ndarray:
        """Return the number of examples of each class in a role: int64 (classes,)."""
        split, chosen = self.parts[role]
        labels = self.source.index(split).labels
        return np.bincount(labels if chosen is None else labels[chosen], minlength=len(self.class_names))

    @contextlib.contextmanager
    def translated_failures(self) -> Iterator[None]:
        """Turn TensorFlow's error about a picture into a FailedRunError that names the file and the way out."""
        try:
            with self._store.naming_bad_pictures():
                yield
        except UnreadablePictureError as error:
            raise FailedRunError(
                f"{error} --on-bad-picture skip (--set data.on_bad_picture=skip) leaves it out."
            ) from error

    @property
    def bad_pictures(self) -> dict[str, str]:
        """The picture files left out so far: path -> reason."""
        return dict(self.source.bad)

    def _describe_in_folds(self, role: str) -> str:
        if self.config.trains_on_all:
            nothing = "nothing; the folds tell the accuracy"
            return {"train": "every picture", "validation": "the training pictures", "test": nothing}[role]
        fold = f"fold {self.config.fold} of folds 0 to {self.config.folds - 1}"
        rest = "the other folds, less what is held out"
        return {"train": rest, "validation": "held out from the other folds", "test": fold}[role]
