"""Class weights, label smoothing, and labels in words."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from keras_sepnets.data.batches.labels import balanced_weights, describe_label, smooth, weigh


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 3], [5, 1, 12])
    weights = balanced_weights(np.bincount(labels))
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    assert [weights[label] for label in (0, 1, 3)] == pytest.approx(expected)
    assert [weights[label] for label in (0, 1, 3)] == pytest.approx([18 / (3 * count) for count in (5, 1, 12)])
    assert weights[2] == 1.0  # a class without examples
    assert weights.dtype == np.float32


def test_a_mixed_example_weighs_as_its_shares_do():
    pictures, weights = np.zeros((3, 1)), np.array([1.0, 4.0], np.float32)
    whole = tf.data.Dataset.from_tensors((pictures, [0, 1, 1]))
    assert next(iter(weigh(whole, weights)))[2].numpy().tolist() == [1, 4, 4]
    mixed = tf.data.Dataset.from_tensors((pictures, tf.constant([[1.0, 0], [0.75, 0.25], [0, 1]])))
    assert next(iter(weigh(mixed, weights)))[2].numpy().tolist() == [1, 1.75, 4]


def test_weights_of_one_change_nothing_and_others_are_those_of_keras():
    def loss(batches, **options):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model.fit(batches, verbose=0, **options).history["loss"][0]

    random = np.random.default_rng(0)
    batches = tf.data.Dataset.from_tensors((random.random((8, 2)), random.integers(0, 2, 8)))
    assert loss(weigh(batches, np.ones(2, np.float32))) == pytest.approx(loss(batches), rel=1e-6)
    weighed = weigh(batches, np.array([1, 3], np.float32))
    assert loss(weighed) == pytest.approx(loss(batches, class_weight={0: 1.0, 1: 3.0}), rel=1e-6)


def test_smoothed_labels_are_those_of_keras():
    labels, share = np.array([0, 2, 1], np.int32), 0.1
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 3).astype(np.float32)
    batches = tf.data.Dataset.from_tensors((np.zeros((3, 1)), labels))
    _, smoothed = next(iter(smooth(batches, share, 3)))
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=share)(np.eye(3)[labels], probabilities)
    ours = keras.losses.CategoricalCrossentropy()(smoothed, probabilities)
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_mixed_and_weighed_labels_are_smoothed_too():
    mixed = tf.constant([[0.75, 0.25, 0.0]])
    weighed = weigh(tf.data.Dataset.from_tensors((np.zeros((1, 1)), mixed)), np.array([1, 3, 5], np.float32))
    _, labels, weights = next(iter(smooth(weighed, 0.3, 3)))
    np.testing.assert_allclose(labels, [[0.625, 0.275, 0.1]], rtol=1e-6)
    assert weights.numpy().tolist() == [1.5]


def test_a_label_in_words():
    names = ("cat", "dog\n")
    assert describe_label(np.int32(1), names) == "dog\\n"
    assert describe_label(np.array([0.3, 0.7]), names) == "70% dog\\n\n30% cat"
    assert describe_label(np.array([1.0, 0.0]), names) == "100% cat"
