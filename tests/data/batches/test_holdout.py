import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sepnets.data.batches.holdout import (
    assign_folds,
    assign_roles,
    grouped_holdout,
    nested_subset,
    stratified_holdout,
)

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)


@given(label_lists, st.floats(0.01, 0.49))
def test_each_class_gives_its_share(labels, fraction):
    keys = [f"{n}.png" for n in range(len(labels))]
    count = round(fraction * len(labels))
    chosen = stratified_holdout(keys, labels, count, salt="test")
    assert chosen.sum() <= count
    for label, size in zip(*np.unique(labels, return_counts=True), strict=True):
        quota = chosen[labels == label].sum()
        assert abs(quota - size * count / len(labels)) <= 1
        assert quota < size


@given(label_lists, st.randoms(use_true_random=False))
def test_choice_follows_the_key_not_the_order(labels, random):
    keys = [f"{n}.png" for n in range(len(labels))]
    order = list(range(len(labels)))
    random.shuffle(order)
    count = len(labels) // 3
    straight = stratified_holdout(keys, labels, count, salt="a")
    shuffled = stratified_holdout([keys[i] for i in order], labels[order], count, salt="a")
    assert np.array_equal(straight[order], shuffled)


def test_salts_choose_independently():
    keys, labels = [str(n) for n in range(1000)], np.zeros(1000, int)
    one, other = (stratified_holdout(keys, labels, 100, salt=salt) for salt in ("test", "validation"))
    assert 0 < (one & other).sum() < 30


def test_the_choice_is_fixed_for_ever():
    chosen = stratified_holdout([str(n) for n in range(20)], np.arange(20) % 2, 4, salt="test")
    assert np.flatnonzero(chosen).tolist() == [10, 12, 13, 17]


@given(label_lists, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_subset_has_its_share_of_every_class_and_a_smaller_one_is_part_of_it(labels, one, other):
    keys, (small, large) = [f"{n}.png" for n in range(len(labels))], sorted((one, other))
    inner, outer = (nested_subset(keys, labels, share, salt="0") for share in (small, large))
    assert not (inner & ~outer).any()
    for label, size in zip(*np.unique(labels, return_counts=True), strict=True):
        assert outer[labels == label].sum() == max(1, round(large * size))
    assert nested_subset(keys, labels, 1.0, salt="0").all()


def test_subsets_of_other_seeds_are_others():
    keys, labels = [str(n) for n in range(1000)], np.arange(1000) % 2
    one, other = (nested_subset(keys, labels, 0.1, salt=salt) for salt in ("subset-0", "subset-1"))
    assert 0 < (one & other).sum() < 30


def test_a_subset_takes_one_group_after_the_other():
    keys, labels = [str(n) for n in range(60)], np.arange(60) % 2
    groups = np.array([f"writer {n // 6}" for n in range(60)])
    chosen = nested_subset(keys, labels, 0.5, salt="0", groups=groups)
    assert len(set(groups[chosen])) == 5
    assert len(set(groups[nested_subset(keys, labels, 0.5, salt="0")])) > 5


@pytest.mark.parametrize(
    ("splits", "validation", "test"),
    [
        (["train"], None, None),
        (["train", "test"], None, "test"),
        (["train", "validation"], None, "validation"),
        (["train", "validation", "test"], "validation", "test"),
        (["train", "test", "unsupervised"], None, "test"),
    ],
)
def test_roles(splits, validation, test):
    assert assign_roles(splits) == {"train": "train", "validation": validation, "test": test}


@given(label_lists.filter(lambda labels: np.bincount(labels)[np.unique(labels)].min() >= 2), st.data())
def test_every_example_is_in_one_fold_and_every_fold_has_its_share_of_a_class(labels, data):
    _, sizes = np.unique(labels, return_counts=True)
    folds = data.draw(st.integers(2, max(2, int(sizes.min()))))
    assigned = assign_folds([str(n) for n in range(len(labels))], labels, folds)
    assert set(assigned) <= set(range(folds))
    for label in np.unique(labels):
        counts = np.bincount(assigned[labels == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(st.integers(20, 120), st.integers(2, 5), st.booleans(), st.randoms(use_true_random=False))
def test_folds_follow_the_keys_not_the_order(count, folds, grouped, random):
    keys, labels = [f"{n}.png" for n in range(count)], np.arange(count) % 3
    groups = np.array([f"patient {n // 2}" for n in range(count)], object) if grouped else None
    order = list(range(count))
    random.shuffle(order)
    straight = assign_folds(keys, labels, folds, groups=groups)
    shuffled = assign_folds(
        [keys[i] for i in order], labels[order], folds, groups=None if groups is None else groups[order]
    )
    assert np.array_equal(straight[order], shuffled)


group_lists = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=12, max_size=120)


def parted(rows):
    """Return keys, labels and groups of examples with these (label, number of the group)."""
    labels, numbers = (np.array(column) for column in zip(*rows, strict=True))
    return [str(n) for n in range(len(rows))], labels, np.array([f"g{number}" for number in numbers], object)


@given(group_lists, st.integers(2, 4))
def test_no_group_is_divided_between_folds(rows, folds):
    keys, labels, groups = parted(rows)
    if folds > min(len(np.unique(groups)), np.unique(labels, return_counts=True)[1].max()):
        return  # refused where the roles are assigned
    assigned = assign_folds(keys, labels, folds, groups=groups)
    for group in np.unique(groups):
        assert len(set(assigned[groups == group])) == 1


@given(group_lists, st.floats(0.02, 0.49))
def test_groups_are_held_out_whole_and_every_class_remains(rows, fraction):
    keys, labels, groups = parted(rows)
    chosen = grouped_holdout(keys, labels, groups, round(fraction * len(labels)), salt="test")
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert set(labels[~chosen]) == set(labels)


def test_about_as_many_are_held_out_in_groups_as_asked_for():
    keys, labels = [str(n) for n in range(600)], np.arange(600) % 4
    groups = np.array([f"patient {n // 6}" for n in range(600)], object)
    chosen = grouped_holdout(keys, labels, groups, 60, salt="test")
    assert 48 <= chosen.sum() <= 72
    assert np.bincount(labels[chosen]).min() >= 10


def test_the_folds_are_fixed_for_ever():
    keys, labels = [str(n) for n in range(12)], np.arange(12) % 2
    groups = np.array([f"g{n // 3}" for n in range(12)], object)
    assert assign_folds(keys, labels, 3).tolist() == [2, 1, 0, 0, 1, 0, 0, 1, 1, 2, 2, 2]
    assert assign_folds(keys, labels, 2, groups=groups).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
