"""Labelled picture files: what a folder and a manifest have in common."""

import itertools
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.pictures.decoding import UnreadablePictureError, check_signatures, list_faults
from keras_sepnets.data.sources.source import Index

SPLIT_WORDS = {  # lower-case word -> split
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


class LabelledFile(NamedTuple):
    """A picture file with its class."""

    key: str  # identifies the picture wherever the set lies: its path within it
    path: str
    label: str


class FileSource:
    """Picture files with labels, in splits; they stay files until they are needed."""

    picture_size: int | None = None  # pictures may be of any size

    def __init__(
        self, name: str, files: dict[str, list[LabelledFile]], *, skip_bad: bool = False, notes: Sequence[str] = ()
    ) -> None:
        """Look at the first bytes of every file; nothing is decoded yet.

        Args:
            name: Opens the same files anywhere on this machine.
            files: Of each split, in their fixed order.
            skip_bad: Whether to go on where a file cannot be read; else that is an error.
            notes: What the plan should say of these files.

        Raises:
            SepnetsError: There are fewer than two classes, a split has a class that train lacks, or a file is no
                picture.
        """
        self.name = name
        self.splits = tuple(split for split in ("train", "validation", "test") if files.get(split))
        self.class_names = tuple(sorted({file.label for file in files.get("train", ())}))
        self.skip_bad = skip_bad
        self.bad: dict[str, str] = {}  # path -> why it cannot be read, as far as is known
        self._files = files
        self._check_classes()
        self.notes = [*notes, *self._missing_classes()]
        faults = list(check_signatures(file.path for file in itertools.chain(*files.values())))
        if faults and not skip_bad:
            raise SepnetsError(f"{list_faults(faults)} sepnets train --on-bad-picture skip goes on without them.")
        self.bad |= {fault.path: fault.reason for fault in faults}
        self._check_what_is_left()
        if faults:
            self.notes.append(f"left out: {list_faults(faults)}")

    def num_examples(self, split: str) -> int:
        """Return how many pictures a split has; 0 if there is none of this name."""
        return len(self._files.get(split, ()))

    def index(self, split: str) -> Index:
        """Return the key and label of every picture."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        files = self._files[split]
        return Index([file.key for file in files], np.array([numbers[file.label] for file in files], np.int32))

    def paths(self, split: str) -> np.ndarray:
        """Return the path of every picture, as bytes, in the order of `index`."""
        return np.array([os.fsencode(file.path) for file in self._files[split]])

    def note_bad(self, error: UnreadablePictureError) -> None:
        """Remember a picture that could not be read; raise its error unless the source may skip it."""
        self.bad[error.path] = error.reason
        if not self.skip_bad:
            raise error

    def _check_classes(self) -> None:
        if "train" not in self.splits:
            raise SepnetsError(f"There are no training pictures. Received: {printable(self.name)}")
        if len(self.class_names) < 2:
            raise SepnetsError(
                "A classifier needs pictures of at least two classes to train on. "
                f"Received: {printable(self.name)} with {', '.join(map(printable, self.class_names))}"
            )
        for name in self.class_names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise SepnetsError(
                    f'The name of a class is not in UTF-8: "{printable(name)}"; rename it. '
                    f"Received: {printable(self.name)}"
                ) from None
        for split in self.splits:
            unknown = sorted({file.label for file in self._files[split]}.difference(self.class_names))
            if unknown:
                raise SepnetsError(
                    f'The {split} pictures have the class "{printable(unknown[0])}", which train does not have. '
                    f"Received: {printable(self.name)}"
                )

    def _check_what_is_left(self) -> None:
        left = {file.label for file in self._files["train"] if file.path not in self.bad}
        for name in self.class_names:
            if name not in left:
                raise SepnetsError(
                    f'Not one training picture of the class "{printable(name)}" can be read; replace them or '
                    f"remove the class. Received: {printable(self.name)}"
                )

    def _missing_classes(self) -> list[str]:
        notes = []
        for split in self.splits:
            missing = sorted(set(self.class_names).difference(file.label for file in self._files[split]))
            if missing:
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                named = ", ".join(map(printable, missing[:5]))
                notes.append(f"no {split} picture of {named}{more}")
        return notes
