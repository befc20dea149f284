import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sepnets.config import DataConfig
from keras_sepnets.data.examples import IndexedExamples, StreamedExamples
from keras_sepnets.data.pipeline import evaluation_batches, training_batches
from keras_sepnets.data.splits import Splits, open_source


def numbered(count):
    """Examples whose label is their number."""
    pictures = np.zeros((count, 4, 4, 3), np.uint8)
    return IndexedExamples(pictures, np.arange(count, dtype=np.int32), source=None, size=4)


def epochs(examples, batch_size, steps, seed, count):
    batches = training_batches(examples, batch_size=batch_size, steps_per_epoch=steps, augment="none", seed=seed)
    labels = np.concatenate([y for _, y in batches.take(count * steps).as_numpy_iterator()])
    return labels.reshape(count, steps * batch_size)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(1, 64))
def test_evaluation_counts_every_example_once(count, batch_size):
    batches = evaluation_batches(numbered(count), batch_size=batch_size)
    labels = np.concatenate([y for _, y in batches.as_numpy_iterator()])
    assert labels.tolist() == list(range(count))


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 1000))
def test_an_epoch_shows_no_example_twice(count, batch_size, seed):
    batch_size = min(batch_size, count)
    steps = count // batch_size
    for epoch in epochs(numbered(count), batch_size, steps, seed, count=3):
        assert len(set(epoch.tolist())) == len(epoch)


def test_orders_differ_between_epochs_and_seeds():
    first, second = epochs(numbered(50), 10, 5, 0, count=2)
    other = epochs(numbered(50), 10, 5, 1, count=1)[0]
    assert sorted(first) == sorted(second) == sorted(other) == list(range(50))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, np.arange(50))


def test_every_place_gets_every_example_about_equally_often():
    firsts = epochs(numbered(10), 10, 1, 3, count=2000)[:, 0]
    counts = np.bincount(firsts, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 33.7  # chi-squared, 9 degrees of freedom, p = .0001


def digits(role="train", size=16):
    return Splits(open_source("digits"), DataConfig(image_size=size)).examples(role)


def first_batch(seed, augment="light", skip=0):
    batches = training_batches(digits(), batch_size=8, steps_per_epoch=161, augment=augment, seed=seed)
    return next(batches.skip(skip).as_numpy_iterator())


def test_the_same_seed_gives_the_same_pictures():
    (x, y), (again_x, again_y) = first_batch(5), first_batch(5)
    assert np.array_equal(y, again_y)
    assert np.array_equal(x, again_x)
    assert not np.array_equal(x, first_batch(6)[0])


def test_augmentation_changes_pictures_but_not_their_order():
    plain, varied = first_batch(5, "none"), first_batch(5, "light")
    assert np.array_equal(plain[1], varied[1])
    assert not np.array_equal(plain[0], varied[0])
    assert plain[0].dtype == varied[0].dtype == np.float32
    assert varied[0].min() >= 0
    assert varied[0].max() <= 255


def test_a_picture_varies_from_epoch_to_epoch():
    examples = IndexedExamples(
        np.random.default_rng(0).integers(0, 255, (1, 8, 8, 3), np.uint8), np.zeros(1, np.int32), None, 8
    )
    batches = training_batches(examples, batch_size=1, steps_per_epoch=1, augment="light", seed=0)
    pictures = [x.tobytes() for x, _ in batches.take(5).as_numpy_iterator()]
    assert len(set(pictures)) == 5


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setattr("keras_sepnets.data.examples.MEMORY_SHARE", 0)
    return digits("validation")


def test_sets_too_large_for_memory_are_streamed_with_the_same_examples(streamed, monkeypatch):
    monkeypatch.undo()
    assert isinstance(streamed, StreamedExamples)
    in_memory = digits("validation")
    assert streamed.num_examples == in_memory.num_examples == 144
    pairs = zip(streamed.in_order().as_numpy_iterator(), in_memory.in_order().as_numpy_iterator(), strict=True)
    assert all(np.array_equal(x, u) and y == v for (x, y), (u, v) in pairs)


def test_streamed_epochs_are_shuffled_complete_and_repeatable(streamed):
    whole = streamed.num_examples

    def epoch(seed):
        rows = list(streamed.shuffled(seed, whole).take(whole).as_numpy_iterator())
        assert [position for position, _, _ in rows] == list(range(whole))
        return [picture.tobytes() for _, picture, _ in rows]

    in_order = [picture.tobytes() for picture, _ in streamed.in_order().as_numpy_iterator()]
    assert sorted(epoch(0)) == sorted(in_order)
    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert epoch(0) != in_order
