import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from warm import run_code

from keras_sepnets.data.batches.caches import DiskCache
from keras_sepnets.data.batches.examples import DecodedExamples, FileExamples, StreamedExamples
from keras_sepnets.data.batches.pipeline import evaluation_batches, training_batches
from keras_sepnets.data.batches.reading import PictureReader
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import AUGMENTATIONS, DataConfig


def numbered(count):
    """Return examples that are labelled with their position."""
    shapes = np.full((count, 2), 4, np.int32)
    return DecodedExamples(np.zeros(48 * count, np.uint8), shapes, np.arange(count, dtype=np.int32))


def train(examples, augment="none", size=4, **options):
    options = {"batch_size": 8, "steps_per_epoch": 161, "seed": 5, **options}
    return training_batches(examples, image_size=size, policy=AUGMENTATIONS[augment], **options)


def epochs(examples, batch_size, steps, seed, count):
    batches = train(examples, batch_size=batch_size, steps_per_epoch=steps, seed=seed)
    labels = np.concatenate([y for _, y in batches.take(count * steps).as_numpy_iterator()])
    return labels.reshape(count, steps * batch_size)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(1, 64))
def test_evaluation_counts_every_example_once(count, batch_size):
    batches = evaluation_batches(numbered(count), batch_size=batch_size, image_size=4)
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


@pytest.mark.long
def test_every_place_gets_every_example_about_equally_often():
    firsts = epochs(numbered(10), 10, 1, 3, count=2000)[:, 0]
    counts = np.bincount(firsts, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 33.7  # chi-squared, 9 degrees of freedom, p = .0001


def digits(role="train", size=16):
    return Splits(open_source("digits"), DataConfig(image_size=size)).examples(role)


def first_batch(seed, augment="light", skip=0):
    return next(train(digits(), augment, size=16, seed=seed).skip(skip).as_numpy_iterator())


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
    pixels = np.random.default_rng(0).integers(0, 255, 192, np.uint8)
    examples = DecodedExamples(pixels, np.array([[8, 8]], np.int32), np.zeros(1, np.int32))
    batches = train(examples, "light", size=8, batch_size=1, steps_per_epoch=1)
    pictures = [x.tobytes() for x, _ in batches.take(5).as_numpy_iterator()]
    assert len(set(pictures)) == 5


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setattr("keras_sepnets.data.batches.caches.MEMORY_SHARE", 0)
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


def test_mixed_labels_are_probabilities_that_match_the_mixed_pictures():
    plain, _ = next(train(digits(), "none", size=16).as_numpy_iterator())
    policy = AUGMENTATIONS["none"].model_copy(update={"mixup": 1.0})
    batches = training_batches(
        digits(), batch_size=8, steps_per_epoch=161, image_size=16, policy=policy, seed=5, classes=10
    )
    mixed, labels = next(batches.as_numpy_iterator())
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert labels.shape == (8, 10)
    assert ((labels > 0.01) & (labels < 0.99)).any()
    # Every mixed picture lies on the line between its original and another one, at the place that its label gives.
    for picture, own, label in zip(mixed, plain, labels, strict=True):
        distances = []
        for other in plain:
            step = (own - other).ravel()
            weight = 1.0 if not step.any() else float((picture - other).ravel() @ step / (step @ step))
            distances.append((np.abs(weight * own + (1 - weight) * other - picture).max(), weight))
        distance, weight = min(distances)
        assert distance < 0.01
        assert np.isclose(label.max(), max(weight, 1 - weight), atol=1e-4) or np.isclose(label.max(), 1, atol=1e-4)


@pytest.fixture(params=["stop", "skip", "disk"])
def folder_examples(request, picture_folder, tmp_path):
    """Files that are decoded in the graph, decoded in Python with errors caught, or cached on disk."""
    source = open_source(f"folder:{picture_folder}", skip_bad=request.param == "skip")
    cache = DiskCache(tmp_path / "cache", PixelRules(16)) if request.param == "disk" else None
    reader = PictureReader(source.paths("train"), source.bad, PixelRules(16), cache)
    return FileExamples(source.paths("train"), source.index("train").labels, reader)


def strong_epoch(examples):
    return train(examples, "strong", 16, classes=3).take(7)


def pictures_of(batches):
    return np.concatenate([x for x, _ in batches.as_numpy_iterator()])


@pytest.fixture(scope="module")
def pictures_from_memory(picture_folder):
    splits = Splits(open_source(f"folder:{picture_folder}"), DataConfig(image_size=16))
    in_memory = splits._store.examples("train", None)
    assert isinstance(in_memory, DecodedExamples)
    return pictures_of(strong_epoch(in_memory))


def test_a_picture_is_the_same_from_memory_files_and_disk_cache(folder_examples, pictures_from_memory):
    batches = strong_epoch(folder_examples)
    assert np.array_equal(pictures_of(batches), pictures_from_memory)
    assert np.array_equal(pictures_of(batches), pictures_from_memory)  # now from the cache


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(st.integers(2, 300), st.integers(1, 40), st.integers(0, 1000), st.sampled_from([1, 2]), st.data())
def test_a_resumed_epoch_has_the_rest_of_the_original_one(count, batch_size, seed, workers, data):
    batch_size = min(batch_size, count // workers) or 1
    workers = min(workers, count)
    steps = count // (batch_size * workers)
    start = data.draw(st.integers(0, 3 * steps))
    policy = AUGMENTATIONS["light"]
    for number in range(workers):
        common = {
            "batch_size": batch_size, "steps_per_epoch": steps * workers, "image_size": 4, "policy": policy,
            "seed": seed, "worker": tf.distribute.InputContext(workers, number) if workers > 1 else None,
        }  # fmt: skip
        whole = training_batches(numbered(count), **common).skip(start).take(steps + 2)
        rest = training_batches(numbered(count), **common, start=start).take(steps + 2)
        for (x, y), (u, v) in zip(whole.as_numpy_iterator(), rest.as_numpy_iterator(), strict=True):
            assert np.array_equal(x, u)
            assert np.array_equal(y, v)


def digest_of_rest(count, batch_size, seed, workers, start, augment):
    """Return the SHA-256 of the pictures and labels of an epoch that resumes after a step; pictures are random."""
    random = np.random.default_rng(count)
    shapes = np.full((count, 2), 4, np.int32)
    examples = DecodedExamples(
        random.integers(0, 256, 48 * count, np.uint8), shapes, np.arange(count, dtype=np.int32)
    )
    steps = count // batch_size
    context = tf.distribute.InputContext(workers, workers - 1) if workers > 1 else None
    rest = train(
        examples, augment, batch_size=batch_size // workers, steps_per_epoch=steps * workers, seed=seed,
        worker=context, start=start, classes=count,
    ).take(steps - start % steps)  # fmt: skip
    return hashlib.sha256(b"".join(x.tobytes() + y.tobytes() for x, y in rest.as_numpy_iterator())).hexdigest()


def test_a_fresh_process_resumes_with_identical_batches():
    random = np.random.default_rng(8)
    cases = []
    for workers, augment in ((1, "light"), (1, "strong"), (2, "standard")):
        batch_size = int(random.integers(1, 9)) * workers
        count = int(random.integers(batch_size * 2, 60))
        start = int(random.integers(0, 2 * (count // batch_size)))
        cases.append((count, batch_size, int(random.integers(1000)), workers, start, augment))
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_pipeline import digest_of_rest
for case in {cases}: print(digest_of_rest(*case))
"""
    fresh = run_code(code, env=os.environ | {"TF_NUM_INTRAOP_THREADS": "2"})
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.split() == [digest_of_rest(*case) for case in cases]


def test_a_stream_of_records_resumes_where_it_stopped(streamed):
    whole = [y for _, y in train(streamed, "light", 16, steps_per_epoch=18).take(30).as_numpy_iterator()]
    rest = train(streamed, "light", 16, steps_per_epoch=18, start=20).take(10).as_numpy_iterator()
    assert np.array_equal(np.stack([y for _, y in rest]), np.stack(whole[20:]))


@pytest.fixture(scope="module")
def strong_batches():
    """Batches of two epochs and a bit, as a pipeline and as arrays."""
    batches = train(digits("validation"), "strong", 16, steps_per_epoch=18, classes=10)
    return batches, list(batches.take(40).as_numpy_iterator())


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.long), 4])
def test_a_restart_at_any_step_resumes_with_the_same_pictures(strong_batches, threads):
    batches, whole = strong_batches
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    for step in (0, 1, 17, 18, 37):
        pictures, labels = next(batches.with_options(options).skip(step).as_numpy_iterator())
        assert np.array_equal(pictures, whole[step][0])
        assert np.array_equal(labels, whole[step][1])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_an_epoch_in_the_one_global_order(workers):
    alone = np.concatenate([y for _, y in train(numbered(64)).take(8).as_numpy_iterator()])
    shares = []
    for number in range(workers):
        context = tf.distribute.InputContext(workers, number)
        batches = train(numbered(64), batch_size=8 // workers, steps_per_epoch=8 * workers, worker=context)
        shares.append(np.concatenate([y for _, y in batches.take(8).as_numpy_iterator()]))
    assert np.array_equal(np.stack(shares, axis=1).ravel(), alone[:64])


def test_streamed_workers_read_different_records_through_tfds(streamed):
    shares = []
    for number in range(2):
        context = tf.distribute.InputContext(2, number)
        shares.append({key for key, _, _ in streamed._source.read("train", worker=context).as_numpy_iterator()})
    assert len(shares[0] | shares[1]) == 1437
    assert not shares[0] & shares[1]


@pytest.mark.parametrize(
    "kept", ["files", *(pytest.param(kept, marks=pytest.mark.long) for kept in ("disk", "skip"))]
)
def test_a_restart_resumes_with_the_same_pictures_from_files(picture_folder, tmp_path, kept):
    source = open_source(f"folder:{picture_folder}", skip_bad=kept == "skip")
    splits = Splits(
        source, DataConfig(image_size=16), memory=0, cache_folder=tmp_path / "cache" if kept == "disk" else None
    )
    batches = train(splits.examples("train"), "strong", 16, steps_per_epoch=6, classes=3)
    whole = list(batches.take(13).as_numpy_iterator())
    for step in (0, 5, 6, 11):
        pictures, labels = next(batches.skip(step).as_numpy_iterator())
        assert np.array_equal(pictures, whole[step][0])
        assert np.array_equal(labels, whole[step][1])
