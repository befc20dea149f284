"""Data sets of TensorFlow Datasets, by name: `cifar10`, `imagenet_resized/32x32`, `mnist:3.0.1`."""

import functools
import io
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.catalogue import builders
from keras_sepnets.data.pictures.decoding import REDUCTIONS, decode_jpeg, decode_picture, read_header
from keras_sepnets.data.pictures.preprocessing import to_rgb
from keras_sepnets.data.sources.source import Index

CHANNELS = {1: "grey", 4: "transparent"}
EXIF_WITHIN = 4096  # bytes of a JPEG in which its EXIF segment begins, if it has one


class TfdsSource:
    """A prepared TFDS data set with one picture and one class label an example."""

    def __init__(self, name: str, *, download: bool = False) -> None:
        """Open a data set; `digits` is prepared when needed, others only with `download`.

        Raises:
            SepnetsError: The name is unknown, the set is not prepared, or not one of labelled pictures.
            FailedRunError: The download or the preparation failed.
        """
        self._builder = builders.find_builder(name)
        self.name = builders.full_name(self._builder)
        self._image_key, self._label_key = builders.labelled_picture(self._builder)
        if not self._builder.is_prepared():
            if not download and not builders.needs_no_files(self._builder):
                raise SepnetsError(
                    f'The data set "{name}" is not prepared in {self._builder.data_path}. Prepare it with a '
                    f"network: sepnets data prepare {name}, or sepnets train --dataset {name} --download; or from "
                    f"files on this machine: sepnets data prepare {name} --from DIR"
                )
            builders.prepare(name, show_output=download)
            self._builder = builders.find_builder(name)  # reads what is known only now
        self._image_feature = self._builder.info.features[self._image_key]
        self.class_names = builders.class_names(self._builder)
        height, width, channels = self._image_feature.shape
        self.colour = CHANNELS.get(channels, "RGB")
        self.picture_size: int | None = max(height, width) if height and width else None
        self.notes: list[str] = []

    @functools.cached_property  # as it reads pictures, with which TensorFlow begins
    def splits(self) -> tuple[str, ...]:
        """The splits with labels."""
        return tuple(split for split in self._builder.info.splits if self._has_labels(split))

    def num_examples(self, split: str) -> int:
        """Return how many examples a split has; 0 if there is none of this name."""
        splits = self._builder.info.splits
        return splits[split].num_examples if split in splits else 0

    @functools.lru_cache(maxsize=4)  # noqa: B019  a source lives as long as its run
    def index(self, split: str) -> Index:
        """Return the TFDS id and label of every example, in the order of `read`."""
        rows = self.read(split).map(lambda key, label, _picture: (key, label)).batch(4096)
        batches = list(rows.as_numpy_iterator())
        keys = [key.decode() for keys, _ in batches for key in keys]
        return Index(keys, np.concatenate([labels for _, labels in batches]))

    def read(
        self, split: str, *, shuffle_seed: int | None = None, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Return (id, label, encoded picture) of every example once; in file order unless shuffled.

        Of several workers each reads its own files, or every n-th record where there are fewer files.
        """
        workers = worker.num_input_pipelines if worker else 1
        enough_files = self._builder.info.splits[split].num_shards >= workers
        config = tfds.ReadConfig(
            add_tfds_id=True,
            input_context=worker if enough_files else None,
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
        if worker and not enough_files:
            examples = examples.shard(workers, worker.input_pipeline_id)
        return examples.map(
            lambda example: (
                example["tfds_id"],
                tf.cast(example[self._label_key], tf.int32),
                example[self._image_key],
            )
        )

    def decode(self, encoded: tf.Tensor, shortest: int | None = None) -> tf.Tensor:
        """Return the pixels of an encoded picture by the rules of picture files: uint8 (height, width, 3).

        Args:
            encoded: A record's picture: JPEG, or PNG and whatever else TFDS stores.
            shortest: A JPEG whose shorter side is at least 2, 4 or 8 times as many px is reduced by that factor.
        """
        start = tf.strings.substr(encoded, 0, EXIF_WITHIN)
        is_jpeg, has_exif = tf.io.is_jpeg(encoded), tf.strings.regex_full_match(start, r"\C*Exif\x00\x00\C*")
        way = tf.cast(is_jpeg, tf.int32) + tf.cast(is_jpeg & has_exif, tf.int32)
        pixels = tf.switch_case(
            way,
            [
                lambda: to_rgb(self._image_feature.decode_example(encoded)),
                lambda: _decode_plain_jpeg(encoded, shortest),
                lambda: tf.numpy_function(
                    lambda content: _decode_in_python(content, shortest), [encoded], tf.uint8, stateful=False
                ),
            ],
        )
        return tf.ensure_shape(pixels, (None, None, 3))

    @property
    def fingerprint(self) -> str:
        """What tells this preparation of the data set from others: where it lies, and when it was made."""
        path = Path(self._builder.data_path)
        return f"{path} {(path / 'dataset_info.json').stat().st_mtime_ns}"

    def _has_labels(self, split: str) -> bool:
        """Tell whether a split's labels are public: TFDS gives -1 where they are not (ImageNet's test split)."""
        if not self.num_examples(split):
            return False
        return all(int(label) >= 0 for _, label, _ in self.read(split).take(1))


def _decode_plain_jpeg(encoded: tf.Tensor, shortest: int | None) -> tf.Tensor:
    if shortest is None:
        return decode_jpeg(encoded, 1)
    side = tf.reduce_min(tf.io.extract_jpeg_shape(encoded)[:2])
    halvings = tf.reduce_sum(tf.cast(side >= shortest * tf.constant(REDUCTIONS[1:]), tf.int32))
    return tf.switch_case(halvings, [lambda r=reduction: decode_jpeg(encoded, r) for reduction in REDUCTIONS])


def _decode_in_python(content: bytes, shortest: int | None) -> np.ndarray:
    header = read_header("record", io.BytesIO(content))
    return decode_picture("record", content, header, shortest or max(header.width, header.height))
