"""Pictures of one's own: `folder:PATH`, one sub-folder a class, in split folders or all together."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sepnets.data.pictures import (
    UnreadablePictureError,
    check_pictures,
    is_picture_name,
    read_picture,
)
from keras_sepnets.data.source import Index
from keras_sepnets.errors import SepnetsError

SPLIT_FOLDERS = {  # lower-case name -> split
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
LAYOUT = "expected train/CLASS/PICTURE, and validation/ and test/ alike, or CLASS/PICTURE"


class FolderSource:
    """Picture files below a folder."""

    picture_size: int | None = None  # pictures may be of any size

    def __init__(self, root: str) -> None:
        """List and check the pictures; nothing is decoded yet.

        Raises:
            SepnetsError: The folder does not exist, has no classes or only one, a split has a class that
                train lacks, or a file is no picture.
        """
        self._root = Path(root).expanduser().resolve()
        self.name = f"folder:{self._root}"
        self.ignored_files = 0
        self._failure: SepnetsError | None = None
        if not self._root.is_dir():
            raise SepnetsError(f"The picture folder does not exist. Received: {self.name}")
        self._files = {split: self._list_classes(folder) for split, folder in self._split_folders().items()}
        self.splits = tuple(self._files)
        self.class_names = tuple(sorted(self._files["train"]))
        self._check_classes()
        check_pictures(Path(path) for split in self.splits for path in self._paths(split))

    def num_examples(self, split: str) -> int:
        """Return how many pictures a split has."""
        return len(self._paths(split))

    def index(self, split: str) -> Index:
        """Return the path relative to the folder and the label of every picture, ordered by class and path."""
        keys = [Path(path).relative_to(self._root).as_posix() for path in self._paths(split)]
        return Index(keys, self._labels(split))

    def read(self, split: str, *, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Return (relative path, label, path) of every picture once."""
        index = self.index(split)
        keys = [os.fsencode(key) for key in index.keys]
        examples = tf.data.Dataset.from_tensor_slices((keys, index.labels, self.encoded(split)))
        if shuffle_seed is not None:
            examples = examples.shuffle(len(index.keys), seed=shuffle_seed)
        return examples

    def encoded(self, split: str) -> np.ndarray:
        """Return the path of every picture."""
        return np.array([os.fsencode(path) for path in self._paths(split)])

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the pixels of the picture at a path: uint8 (height, width, 3)."""
        pixels = tf.numpy_function(self._read, [encoded], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (None, None, 3))

    def failure(self) -> SepnetsError | None:
        """Return the sentence about the picture that could not be decoded, if there was one."""
        return self._failure

    def _read(self, path: bytes) -> np.ndarray:
        try:
            return read_picture(Path(os.fsdecode(path)))
        except UnreadablePictureError as error:
            self._failure = error
            raise

    def _paths(self, split: str) -> list[str]:
        return [str(path) for name in sorted(self._files[split]) for path in self._files[split][name]]

    def _labels(self, split: str) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self.class_names)}
        files = self._files[split]
        return np.array([numbers[name] for name in sorted(files) for _ in files[name]], np.int32)

    def _split_folders(self) -> dict[str, Path]:
        """Return the folder of each split; a folder of classes only is all train."""
        folders: dict[str, Path] = {}
        others = []
        for folder in _sub_folders(self._root):
            split = SPLIT_FOLDERS.get(folder.name.lower())
            if split is None:
                others.append(folder.name)
            elif split in folders:
                raise SepnetsError(
                    f"The picture folder has two folders for {split}: {folders[split].name} and {folder.name}; "
                    f"leave one of them out. Received: {self.name}"
                )
            else:
                folders[split] = folder
        if folders and ("train" not in folders or others):
            fault = f"also {others[0]}" if others else "no train folder"
            raise SepnetsError(
                f"The picture folder has {', '.join(sorted(folders))} and {fault}; {LAYOUT}. Received: {self.name}"
            )
        return folders or {"train": self._root}

    def _list_classes(self, folder: Path) -> dict[str, list[Path]]:
        classes = {}
        for sub_folder in _sub_folders(folder):
            files = sorted(path for path in sub_folder.rglob("*") if path.is_file())
            classes[sub_folder.name] = [path for path in files if is_picture_name(path)]
            self.ignored_files += len(files) - len(classes[sub_folder.name])
        return classes

    def _check_classes(self) -> None:
        if len(self.class_names) < 2:
            raise SepnetsError(
                f"A picture folder needs at least two class folders with pictures; {LAYOUT}. "
                f"Received: {self.name} with {', '.join(self.class_names) or 'no class folder'}"
            )
        for split, classes in self._files.items():
            unknown = sorted(set(classes) - set(self.class_names))
            if unknown:
                raise SepnetsError(
                    f'The {split} folder has the class "{unknown[0]}", which train does not have. '
                    f"Received: {self.name}"
                )
            empty = sorted(name for name, files in classes.items() if not files)
            if empty:
                raise SepnetsError(
                    f'The {split} folder of the class "{empty[0]}" has no pictures (JPEG, PNG, BMP, GIF or WebP). '
                    f"Received: {self.name}"
                )


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
