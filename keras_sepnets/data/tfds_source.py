"""Data sets of TensorFlow Datasets, by name: `cifar10`, `imagenet_resized/32x32`, `mnist:3.0.1`."""

import contextlib
import functools
import io
import re
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_sepnets.data import digits  # registers the builder
from keras_sepnets.data.source import Index
from keras_sepnets.errors import FailedRunError, SepnetsError, did_you_mean, one_line


class TfdsSource:
    """A prepared TFDS data set with one picture and one class label an example."""

    def __init__(self, name: str, *, download: bool = False) -> None:
        """Open a data set; `digits` is prepared when needed, others only with `download`.

        Raises:
            SepnetsError: The name is unknown, the set is not prepared, or not one of labelled pictures.
            FailedRunError: The download or the preparation failed.
        """
        if not download:
            tfds.disable_progress_bar()
        self._builder = _find_builder(name)
        config = f"/{self._builder.builder_config.name}" if self._builder.builder_config else ""
        self.name = f"{self._builder.name}{config}:{self._builder.version}"
        self._image_key, self._label_key = self._check_features()
        self._prepare(name, download)
        self._builder = _find_builder(name)  # another process may have prepared it meanwhile
        features = self._builder.info.features
        self._image_feature = features[self._image_key]
        label = features[self._label_key]
        self.class_names: tuple[str, ...] = tuple(label.names or map(str, range(label.num_classes)))
        self.splits = tuple(split for split in self._builder.info.splits if self._has_labels(split))
        height, width, _ = self._image_feature.shape
        self.picture_size: int | None = max(height, width) if height and width else None
        self.ignored_files = 0

    def num_examples(self, split: str) -> int:
        """Return how many examples a split has."""
        return self._builder.info.splits[split].num_examples

    @functools.lru_cache(maxsize=4)  # noqa: B019  a source lives as long as its run
    def index(self, split: str) -> Index:
        """Return the TFDS id and label of every example, in the order of `read`."""
        rows = self.read(split).map(lambda key, label, _picture: (key, label)).batch(4096)
        batches = list(rows.as_numpy_iterator())
        keys = [key.decode() for keys, _ in batches for key in keys]
        return Index(keys, np.concatenate([labels for _, labels in batches]))

    def read(self, split: str, *, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Return (id, label, encoded picture) of every example once; in file order unless shuffled."""
        config = tfds.ReadConfig(
            add_tfds_id=True,
            shuffle_seed=shuffle_seed,
            interleave_cycle_length=1 if shuffle_seed is None else 16,
        )
        config.options.deterministic = True
        examples = self._builder.as_dataset(
            split=split,
            shuffle_files=shuffle_seed is not None,
            read_config=config,
            decoders={self._image_key: tfds.decode.SkipDecoding()},
        )
        return examples.map(
            lambda example: (
                example["tfds_id"],
                tf.cast(example[self._label_key], tf.int32),
                example[self._image_key],
            )
        )

    def encoded(self, split: str) -> None:
        """Return nothing: TFDS' record files are read from front to back."""

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the pixels of an encoded picture: (height, width, channels)."""
        return self._image_feature.decode_example(encoded)

    def failure(self) -> SepnetsError | None:
        """Return nothing: TFDS verified its pictures when it prepared them."""
        return None

    def _check_features(self) -> tuple[str, str]:
        features = self._builder.info.features
        image_key, label_key = (*(self._builder.info.supervised_keys or ()), None, None)[:2]
        image, label = (dict(features).get(key) for key in (image_key, label_key))
        if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
            raise SepnetsError(
                f'The data set "{self.name}" has no picture with one class label, which sepnets needs. '
                f"Received features: {', '.join(features)}"
            )
        return image_key, label_key

    def _has_labels(self, split: str) -> bool:
        """Tell whether a split's labels are public: TFDS gives -1 where they are not (ImageNet's test split)."""
        if not self.num_examples(split):
            return False
        return all(int(label) >= 0 for _, label, _ in self.read(split).take(1))

    def _prepare(self, name: str, download: bool) -> None:
        if self._builder.is_prepared():
            return
        if not download and self._builder.name != digits.Digits.name:
            raise SepnetsError(
                f'The data set "{name}" is not prepared in {self._builder.data_path}. Prepare it with a network: '
                f"sepnets train --dataset {name} --download; or with TFDS' own command: tfds build {name}"
            )
        try:
            data_dir = Path(self._builder.data_dir_root)
            data_dir.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(data_dir / f".{self._builder.name}.lock")
            # TFDS prints to stdout, where only results belong.
            with lock, contextlib.redirect_stdout(sys.stderr if download else io.StringIO()):
                self._builder.download_and_prepare()
        except Exception as error:
            raise FailedRunError(
                f'The data set "{name}" could not be prepared in {self._builder.data_path}: '
                f"{type(error).__name__}: {one_line(error)}"
            ) from error


def _find_builder(name: str) -> Any:
    # TFDS writes name/config:version; a config after the first colon is understood too.
    name = re.sub(r"^(\w+):(?!\d+\.|\*)(.+)$", r"\1/\2", name)
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        known = [*tfds.list_builders(with_community_datasets=False), "folder:PATH"]
        bare = re.split("[/:]", name)[0]
        raise SepnetsError(
            f'Unknown data set "{name}".{did_you_mean(bare, known)} A data set is a TFDS name, such as digits '
            "or cifar10, or folder:PATH with pictures of your own."
        ) from None
    except Exception as error:  # an unknown config or version, or an extra package that is missing
        raise SepnetsError(f'The data set "{name}" cannot be opened: {one_line(error)}') from error
