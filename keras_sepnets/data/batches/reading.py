"""Picture files as tensors of a tf.data pipeline: guarded against bad files, reduced, and cached."""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_sepnets.data.batches.caches import Cache
from keras_sepnets.data.pictures.decoding import OTHER, decode_in_graph, read_picture
from keras_sepnets.data.pictures.files import BadPictures, UnreadablePictureError, open_picture
from keras_sepnets.data.pictures.headers import REDUCTIONS, read_header
from keras_sepnets.data.pictures.rules import PixelRules

GUARDED = OTHER  # the way to decode in Python, which reads every format and catches errors
REMEMBERED = 8192  # files inspected last; a file that stopped the pipeline is looked for among them first
EMPTY = np.zeros((0, 0, 3), np.uint8)  # stands for a picture that cannot be read


class PictureReader:
    """Reads picture files for evaluation, prediction and training; all roles of a run share one, and its cache."""

    def __init__(self, paths: np.ndarray, bad: BadPictures, rules: PixelRules, cache: Cache | None = None) -> None:
        """Read nothing yet.

        Args:
            paths: All files that may be read, as bytes.
            bad: Receives the files that cannot be read, and says whether to skip them.
            rules: What decides about the pixels besides the files.
            cache: Keeps decoded pictures; None for no cache.
        """
        self.bad = bad
        self._paths = paths
        self._rules = rules
        self._cache = cache
        self._inspected: deque[str] = deque(maxlen=REMEMBERED)
        self._decodes_in_graph = cache is None and not bad.skip

    def inspect(self, paths: tf.Tensor) -> tf.Tensor:
        """Return for many paths, string (n,), how `read` should decode each: int32 (n,).

        Python reads the headers of many files in one call: a call for each picture would cost the pipeline a
        quarter of its speed. With a cache, or where bad files are skipped, Python decodes every picture anyway.
        """
        if not self._decodes_in_graph:
            return tf.fill(tf.shape(paths), GUARDED)
        return tf.ensure_shape(tf.numpy_function(self._inspect, [paths], tf.int32, stateful=False), paths.shape)

    def read(self, path: tf.Tensor, way: tf.Tensor | int = GUARDED) -> tf.Tensor:
        """Return the picture at a path: uint8 (height, width, 3), of height 0 if it cannot be read."""

        def guarded() -> tf.Tensor:
            return tf.numpy_function(self._read_guarded, [path], tf.uint8, stateful=False)

        if self._decodes_in_graph:
            return decode_in_graph(way, lambda: tf.io.read_file(path), guarded)
        return tf.ensure_shape(guarded(), (None, None, 3))

    @contextlib.contextmanager
    def naming_bad_pictures(self) -> Iterator[None]:
        """Turn TensorFlow's error about a picture into an UnreadablePictureError, which names the file."""
        try:
            yield
        except tf.errors.OpError as error:
            failure = self._find_failure()
            if failure is None:
                raise
            raise failure from error

    def _find_failure(self) -> UnreadablePictureError | None:
        """Return the error of the picture that stopped a pipeline, if a picture did.

        TensorFlow's JPEG decoder does not know the path, so files are decoded again: first those inspected last,
        then all.
        """
        if self.bad and not self.bad.skip:
            first = next(path for path in map(os.fsdecode, self._paths) if path in self.bad)
            return UnreadablePictureError(first, self.bad[first])
        last = tuple(self._inspected)  # a copy, because other threads add to it
        for path in itertools.chain(reversed(last), map(os.fsdecode, self._paths)):
            try:
                read_picture(path, self._rules)
            except UnreadablePictureError as error:
                return error
        return None

    def _read_guarded(self, path: bytes) -> np.ndarray:
        name = os.fsdecode(path)
        try:
            key = self._cache.key(name) if self._cache else None
            pixels = self._cache.get(key) if self._cache and key else None
            if pixels is None:
                pixels = read_picture(name, self._rules)
                if self._cache and key:
                    self._cache.put(key, pixels)
        except UnreadablePictureError as error:
            self.bad.note(error)
            return EMPTY
        return pixels

    def _inspect(self, paths: np.ndarray) -> np.ndarray:
        ways = np.full(len(paths), GUARDED, np.int32)
        for number, path in enumerate(map(os.fsdecode, paths)):
            self._inspected.append(path)
            try:
                with open_picture(path) as file:
                    header = read_header(path, file, self._rules)
            except UnreadablePictureError as error:
                self.bad.note(error)
                raise
            if header.is_plain_jpeg:
                ways[number] = REDUCTIONS.index(header.reduction(self._rules.shortest))
        return ways
