"""The default data set: scikit-learn's 1,797 scanned digits as a TFDS data set, prepared offline."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_sepnets.data.batches.holdout import stratified_holdout

TEST_EXAMPLES = 360


class Digits(tfds.core.GeneratorBasedBuilder):
    """8x8 grey scans of handwritten digits, in a fixed split of 1,437 train and 360 test pictures."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The 1,797 scans of scikit-learn, stratified split."}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Optical Recognition of Handwritten Digits (UCI, Alpaydin and Kaynak 1998), test part, as "
                "scikit-learn bundles it: 8x8 pixels of 17 grey levels, scaled here to 0..255."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        from sklearn.datasets import load_digits

        pictures, labels = load_digits(return_X_y=True)
        pictures = np.rint(pictures.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
        keys = [f"{index:04d}" for index in range(len(labels))]
        in_test = stratified_holdout(keys, labels, TEST_EXAMPLES, salt="test")
        return {
            "train": self._generate_examples(keys, pictures, labels, ~in_test),
            "test": self._generate_examples(keys, pictures, labels, in_test),
        }

    def _generate_examples(
        self, keys: list[str], pictures: np.ndarray, labels: np.ndarray, chosen: np.ndarray
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for index in np.flatnonzero(chosen):
            yield keys[index], {"image": pictures[index], "label": int(labels[index])}
