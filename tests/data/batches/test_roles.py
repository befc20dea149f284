"""Which pictures train, validate and test: in folds, in groups, and without either."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_sepnets import SepnetsError
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig


def write_manifest(folder, rows, columns=("path", "label", "group", "split")):
    """Write a manifest of tiny pictures: (label, group, split) each."""
    lines = []
    for number, row in enumerate(rows):
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(folder / f"{number:03d}.png")
        lines.append((f"{number:03d}.png", *row)[: len(columns)])
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *lines])
    return f"manifest:{folder / 'list.csv'}"


def open_splits(dataset, **settings):
    config = DataConfig(dataset=dataset, image_size=8, **settings)
    return Splits(open_source(dataset, pooled=config.folds > 0), config)


def keys(splits, role):
    return splits.keys(role)


def groups_of(splits, role):
    index, part = splits.source.index("train"), splits.parts[role]
    return set(index.groups[part.chosen])


def test_each_picture_is_in_the_test_of_one_fold_whatever_its_split(tmp_path):
    rows = [("ab"[n % 2], "", ("train", "validation", "test")[n % 3]) for n in range(36)]
    dataset = write_manifest(tmp_path, rows)
    tested = []
    for fold in range(4):
        splits = open_splits(dataset, folds=4, fold=fold)
        roles = [set(keys(splits, role)) for role in ROLES]
        assert sum(map(len, roles)) == len(set.union(*roles)) == 36
        assert np.bincount(splits.source.index("train").labels[splits.parts["test"].chosen]).tolist() in (
            [4, 5], [5, 4], [4, 4], [5, 5],
        )  # fmt: skip
        tested += keys(splits, "test")
    assert sorted(tested) == [f"{number:03d}.png" for number in range(36)]
    assert "the pictures of train, validation, test are pooled" in splits.source.notes


def test_folders_are_pooled_under_their_paths(tmp_path, picture_folder):
    for split, name in (("train", "red"), ("train", "blue"), ("test", "red")):
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / split / name).symlink_to(picture_folder / name)
    splits = open_splits(f"folder:{tmp_path}", folds=3)
    found = [key for role in ROLES for key in keys(splits, role)]
    assert len(found) == len(set(found)) == 60
    assert {Path(key).parts[0] for key in found} == {"train", "test"}
    assert open_source(f"folder:{tmp_path}").splits == ("train", "test")


@pytest.mark.parametrize("settings", [{}, {"folds": 2}])
def test_a_seed_moves_the_cut_between_train_and_validation_and_never_the_test(tmp_path, settings):
    dataset = write_manifest(tmp_path, [("ab"[n % 2], "", "") for n in range(80)])
    usual, zero, one = (open_splits(dataset, holdout_seed=seed, **settings) for seed in (None, 0, 1))
    assert keys(usual, "test") == keys(zero, "test") == keys(one, "test")
    held_out = [set(keys(splits, "validation")) for splits in (usual, zero, one)]
    assert len({frozenset(held) for held in held_out}) == 3
    assert len({len(held) for held in held_out}) == 1
    assert "seed" not in usual.describe("validation")
    assert one.describe("validation").endswith(" with seed 1")


@pytest.mark.parametrize("settings", [{}, *({"folds": 3, "fold": fold} for fold in range(3))])
def test_no_group_is_in_two_roles(tmp_path, settings):
    rows = [("abc"[n % 3], f"patient {n // 4}", "") for n in range(96)]
    splits = open_splits(write_manifest(tmp_path, rows), **settings)
    groups = [groups_of(splits, role) for role in ROLES]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 24
    assert "24 groups, held out only as a whole" in splits.source.notes
    assert 0 < splits.num_examples("validation") <= 16


def test_a_picture_without_a_group_is_on_its_own(tmp_path):
    rows = [("ab"[n % 2], " " if n < 20 else "x", "") for n in range(24)]
    index = open_source(write_manifest(tmp_path, rows)).index("train")
    assert len(np.unique(index.groups)) == 21
    without = open_source(write_manifest(tmp_path, [row[:1] for row in rows], ("path", "label")))
    assert without.index("train").groups is None


def test_a_group_in_two_given_splits_is_reported(tmp_path):
    rows = [("ab"[n % 2], f"p{n // 2}", "test" if n % 4 == 3 else "train") for n in range(16)]
    dataset = write_manifest(tmp_path, rows)
    notes = " ".join(open_source(dataset).notes)
    assert "4 groups in more than one split, such as p1 in test, train: accuracies may be too high" in notes
    assert "accuracies" not in " ".join(open_source(dataset, pooled=True).notes)


@pytest.mark.parametrize(
    ("rows", "folds", "sentence"),
    [
        ([("ab"[n > 2], "") for n in range(9)], 4, 'folds than pictures of the class "a", of which there are 3'),
        ([("ab"[n % 2], f"g{n % 3}") for n in range(18)], 4, "than groups of pictures, of which there are 3"),
        ([("ab"[n // 9], f"g{n // 9 or n}") for n in range(18)], 3, 'all pictures of the class "b" are in one'),
    ],
)  # fmt: skip
def test_pictures_that_cannot_be_divided_are_refused(tmp_path, rows, folds, sentence):
    with pytest.raises(SepnetsError, match=f"{sentence}.*Received: folds={folds}"):
        open_splits(write_manifest(tmp_path, rows, ("path", "label", "group")), folds=folds)


def test_the_final_network_sees_every_picture_and_has_no_test(tmp_path):
    splits = open_splits(
        write_manifest(tmp_path, [("ab"[n % 2],) for n in range(12)], ("path", "label")), folds=2, fold="none"
    )
    assert {role: splits.num_examples(role) for role in ROLES} == {"train": 12, "validation": 12, "test": 0}
    described = splits.to_json()
    assert described["validation"]["from"] == "the training pictures"
    assert described["test"]["from"] == "nothing; the folds tell the accuracy"


def test_folds_of_a_set_by_name_are_cut_from_train_alone():
    splits = open_splits("digits", folds=3, fold=1)
    assert sum(splits.num_examples(role) for role in ROLES) == 1437
    assert splits.num_examples("test") in (479, 480, 481)
    assert "the folds are cut from the train split alone; a test split is not used" in splits.source.notes


def test_a_fraction_of_training_leaves_validation_and_test_as_they_are(picture_folder):
    dataset = f"folder:{picture_folder}"
    whole, half, quarter = (open_splits(dataset, training_fraction=share) for share in (1.0, 0.5, 0.25))
    other = open_splits(dataset, training_fraction=0.5, subset_seed=1)
    for role in ("validation", "test"):
        assert keys(whole, role) == keys(half, role) == keys(other, role)
    assert set(keys(quarter, "train")) < set(keys(half, "train")) < set(keys(whole, "train"))
    assert set(keys(other, "train")) != set(keys(half, "train"))
    assert half.class_counts("train").tolist() == [8, 8, 8]
    assert half.describe("train") == "50 % of every class of the set's train split, less what is held out"
    assert half.describe("validation") == "held out from train"
    assert half.digest("train") != other.digest("train")
