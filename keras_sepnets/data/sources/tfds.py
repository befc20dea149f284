"""Data sets of TensorFlow Datasets, by name: `cifar10`, `imagenet_resized/32x32`, `mnist:3.0.1`."""

import functools
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.batches.stores import RecordStore
from keras_sepnets.data.catalogue import builders
from keras_sepnets.data.pictures.colours import tensor_to_rgb
from keras_sepnets.data.pictures.decoding import OTHER, decode_in_graph, decode_picture
from keras_sepnets.data.pictures.files import BadPictures
from keras_sepnets.data.pictures.headers import REDUCTIONS, header_of
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.pictures.sixteen_bit import SAMPLED, pool_values
from keras_sepnets.data.sources.source import Index, Inspected, Part

CHANNELS = {1: "grey", 4: "transparent"}
EXIF_WITHIN = 4096  # bytes of a JPEG in which its EXIF segment begins, if it has one
INDEXED_AT_ONCE = 4096  # records
WHOLE = 2**27  # px: no picture is reduced to this


class TfdsSource:
    """A prepared TFDS data set with one picture and one class label per example."""

    def __init__(self, name: str, *, download: bool = False) -> None:
        """Open a data set; `digits` is prepared when needed, others only with `download`.

        Raises:
            SepnetsError: The name is unknown, or the data set is not prepared or lacks pictures with one label.
            FailedRunError: The download or the preparation failed.
        """
        self._builder = builders.find_builder(name)
        self.name = builders.full_name(self._builder)
        self._image_key, self._label_key = builders.labelled_picture(self._builder)
        if not self._builder.is_prepared():
            if not download and not builders.needs_no_files(self._builder):
                raise SepnetsError(
                    f'The data set "{name}" is not prepared in {self._builder.data_path}. Prepare it with a '
                    f"network connection: sepnets data prepare {name}, or sepnets train --dataset {name} "
                    f"--download; or from files on this machine: sepnets data prepare {name} --from DIR"
                )
            builders.prepare(name, show_output=download)
            self._builder = builders.find_builder(name)  # knows splits and classes only now
        self._image_feature = self._builder.info.features[self._image_key]
        self.class_names = builders.class_names(self._builder)
        height, width, channels = self._image_feature.shape
        self._colour = CHANNELS.get(channels, "RGB")
        self.picture_size: int | None = max(height, width) if height and width else None
        self.notes: list[str] = []
        self.faults: list[str] = []
        self.bad = BadPictures()

    @functools.cached_property  # lazily, because it reads pictures, which starts TensorFlow
    def splits(self) -> tuple[str, ...]:
        """The splits that have labels."""
        return tuple(split for split in self._builder.info.splits if self._has_labels(split))

    def num_examples(self, split: str) -> int:
        """Return the number of examples of a split; 0 if it does not exist."""
        splits = self._builder.info.splits
        return splits[split].num_examples if split in splits else 0

    @functools.lru_cache(maxsize=4)  # noqa: B019  a source lives as long as its run
    def index(self, split: str) -> Index:
        """Return the TFDS id and label of every example, in the order of `read`."""
        rows = self.read(split).map(lambda key, label, _picture: (key, label)).batch(INDEXED_AT_ONCE)
        batches = list(rows.as_numpy_iterator())
        keys = [key.decode() for keys, _ in batches for key in keys]
        return Index(keys, np.concatenate([labels for _, labels in batches]))

    def paths(self, split: str) -> None:
        """Return None: records are not files."""

    def digest(self, part: Part) -> None:
        """Return None: a version of a TFDS data set never changes."""

    def open_store(self, rules: PixelRules, cache_folder: Path | None, memory: int) -> RecordStore:
        """Return where decoded pictures are kept; see `Source`."""
        return RecordStore(self, rules, cache_folder, memory)

    def read(
        self, split: str, *, shuffle_seed: int | None = None, worker: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Return (id, label, encoded picture) of every example once; in file order unless shuffled.

        Each of several workers reads its own files, or every n-th record where there are fewer files than workers.
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

    def decode(self, encoded: tf.Tensor, rules: PixelRules | None = None) -> tf.Tensor:
        """Return the pixels of an encoded picture, equal to those of the same file: uint8 (height, width, 3).

        Args:
            encoded: The picture of a record: JPEG, PNG or any other format that TFDS stores.
            rules: What decides about the pixels besides the record; only JPEGs are reduced. None: nothing is.
        """
        start = tf.strings.substr(encoded, 0, EXIF_WITHIN)
        is_jpeg, has_exif = tf.io.is_jpeg(encoded), tf.strings.regex_full_match(start, r"\C*Exif\x00\x00\C*")
        is_plain = is_jpeg & ~has_exif
        reduction = tf.constant(0)
        if rules is not None:
            # A branch would cost more than looking at a tiny JPEG in place of other formats.
            side = tf.reduce_min(tf.io.extract_jpeg_shape(tf.where(is_plain, encoded, _tiny_jpeg()))[:2])
            reduction = tf.reduce_sum(tf.cast(side >= rules.shortest * tf.constant(REDUCTIONS[1:]), tf.int32))
        return decode_in_graph(
            tf.where(is_plain, reduction, OTHER + tf.cast(is_jpeg, tf.int32)),
            lambda: encoded,
            lambda: tensor_to_rgb(self._image_feature.decode_example(encoded), rules),
            lambda: tf.numpy_function(
                lambda content: _decode_in_python(content, rules), [encoded], tf.uint8, stateful=False
            ),
        )

    def inspect(self, parts: Mapping[str, Part], rules: PixelRules) -> Iterator[Inspected]:
        """Read and decode every record of the part of each role once, in full size; see `Source`."""
        for split in dict.fromkeys(part.split for part in parts.values()):
            roles = np.empty(self.num_examples(split), object)
            for role, part in parts.items():
                if part.split == split:
                    roles[slice(None) if part.chosen is None else part.chosen] = role
            records = self.read(split).map(
                lambda key, label, encoded: (
                    key,
                    label,
                    encoded,
                    self.decode(encoded, rules._replace(shortest=WHOLE)),
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            for role, (key, label, encoded, pixels) in zip(roles, records.as_numpy_iterator(), strict=True):
                height, width, _ = pixels.shape
                yield Inspected(
                    role,
                    key.decode(),
                    int(label),
                    digest=hashlib.sha256(encoded).digest(),
                    width=width,
                    height=height,
                    colour=self._colour,
                    pixels=pixels,
                )

    @functools.lru_cache(maxsize=1)  # noqa: B019
    def deep_values(self, _rules: PixelRules) -> np.ndarray | None:
        """Return values of some 16-bit training pictures; see `Source`."""
        if self._image_feature.dtype != np.uint16:
            return None
        first = self.read("train").take(SAMPLED)
        pictures = first.map(lambda _key, _label, encoded: self._image_feature.decode_example(encoded))
        return pool_values(picture[..., :3] for picture in pictures.as_numpy_iterator())

    @property
    def fingerprint(self) -> str:
        """The place and time of this preparation of the data set, which tell it from other preparations."""
        path = Path(self._builder.data_path)
        return f"{path} {(path / 'dataset_info.json').stat().st_mtime_ns}"

    def _has_labels(self, split: str) -> bool:
        """Return whether a split has public labels: TFDS stores -1 where it does not (ImageNet's test split)."""
        if not self.num_examples(split):
            return False
        return all(int(label) >= 0 for _, label, _ in self.read(split).take(1))


def _decode_in_python(content: bytes, rules: PixelRules | None) -> np.ndarray:
    rules = rules or PixelRules(WHOLE)
    return decode_picture("record", content, header_of("record", content, rules), rules)


@functools.cache
def _tiny_jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    return file.getvalue()
