import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sepnets.data.batches.holdout import assign_roles, stratified_holdout

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
