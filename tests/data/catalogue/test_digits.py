import os

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig


def test_is_a_tfds_data_set_with_fixed_stratified_splits():
    source = open_source("digits")
    assert (source.name, source.splits) == ("digits:1.0.0", ("train", "test"))
    builder = tfds.builder("digits")
    assert str(builder.data_dir_root) == os.environ["TFDS_DATA_DIR"]
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1437,
        "test": 360,
    }
    labels = source.index("test").labels
    assert sorted(np.bincount(labels)) == [35, 35, 36, 36, 36, 36, 36, 36, 37, 37]


def test_holds_every_scan_of_scikit_learn_once():
    scans, _ = load_digits(return_X_y=True)
    expected = sorted(np.rint(scans * 255 / 16).astype(np.uint8).tolist())
    open_source("digits")
    stored = [
        example["image"].ravel().tolist()
        for split in ("train", "test")
        for example in tfds.as_numpy(tfds.load("digits", split=split))
    ]
    assert sorted(stored) == expected


def test_resolves_to_what_suits_digits():
    resolved = resolve_data(DataConfig(), open_source("digits"), default_size=224)
    assert (resolved.image_size, resolved.augment) == (64, "light")
    chosen = resolve_data(DataConfig(image_size=40, augment="none"), open_source("digits"), default_size=224)
    assert (chosen.image_size, chosen.augment) == (40, "none")


def test_roles_are_disjoint_and_complete():
    source = open_source("digits")
    splits = Splits(source, DataConfig(image_size=8))
    sizes = {role: splits.num_examples(role) for role in ROLES}
    assert sizes == {"train": 1293, "validation": 144, "test": 360}
    pictures = [splits.examples(role) for role in ROLES]
    assert [p.num_examples for p in pictures] == list(sizes.values())
    labels = np.concatenate([[label for _, label in p.in_order().as_numpy_iterator()] for p in pictures])
    assert np.array_equal(np.bincount(labels), np.bincount(load_digits(return_X_y=True)[1]))
    assert min(np.bincount([y for _, y in pictures[1].in_order().as_numpy_iterator()])) == 14
