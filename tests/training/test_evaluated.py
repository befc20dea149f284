"""The form in which a network is evaluated: precise batch norm statistics, against NumPy over all pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sepnets.acceleration.twin import accelerate
from keras_sepnets.training.evaluated import EvaluatedForm


def make_batches(count=4, size=6, seed=0):
    random = np.random.default_rng(seed)
    return [
        (tf.constant(random.normal(number, 1 + number, (size, 4, 4, 3)), tf.float32), tf.zeros(size))
        for number in range(count)
    ]


def make_model(form):
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="first_bn")(inputs)
    x = keras.layers.Conv2D(5, 1, use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(name="second_bn")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="predictions")(x))
    model = model if form == "stock" else accelerate(model)
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer=optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("form", ["stock", "twin"])
def test_statistics_are_those_of_all_pictures_at_once(form):
    model, batches = make_model(form), make_batches()
    pictures = np.concatenate([batch.numpy() for batch, _ in batches])
    first = model.get_layer("first_bn")
    with EvaluatedForm(model, lambda: batches)():
        np.testing.assert_allclose(first.moving_mean, pictures.mean(axis=(0, 1, 2)), rtol=1e-4)
        np.testing.assert_allclose(first.moving_variance, pictures.var(axis=(0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("form", ["stock", "twin"])
def test_deeper_layers_see_batches_normalized_as_in_training(form):
    model, batches = make_model(form), make_batches()
    kernel = model.get_layer("conv").kernel.numpy()[0, 0]
    inside = [
        ((x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-3)) @ kernel
        for x in (batch.numpy() for batch, _ in batches)
    ]
    expected = np.concatenate(inside)
    second = model.get_layer("second_bn")
    with EvaluatedForm(model, lambda: batches)():
        np.testing.assert_allclose(second.moving_variance, expected.var(axis=(0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize("form", ["stock", "twin"])
def test_the_training_goes_on_as_if_nothing_had_been_evaluated(form):
    model, batches = make_model(form), make_batches()
    before = [variable.numpy() for variable in model.variables]
    momentums = [layer.momentum for layer in model.layers if hasattr(layer, "momentum")]
    with EvaluatedForm(model, lambda: batches)():
        assert not np.array_equal(model.get_layer("first_bn").moving_mean, before[0])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert [layer.momentum for layer in model.layers if hasattr(layer, "momentum")] == momentums == [0.99, 0.99]


def test_statistics_are_computed_once_for_each_step():
    model, read = make_model("stock"), []

    def batches():
        read.append(True)
        return make_batches()

    evaluated = EvaluatedForm(model, batches)
    for expected in (1, 1):
        with evaluated():
            assert len(read) == expected
    model.train_on_batch(*make_batches(1)[0][:1], np.zeros((6, 2)))
    with evaluated():
        assert len(read) == 2


def test_frozen_batch_norm_keeps_its_statistics():
    model = make_model("stock")
    model.get_layer("first_bn").trainable = False
    with EvaluatedForm(model, make_batches)():
        np.testing.assert_array_equal(model.get_layer("first_bn").moving_mean, np.zeros(3))
        assert np.abs(model.get_layer("second_bn").moving_mean).max() > 0


def test_moving_averages_stay_where_no_batches_are_given():
    model = make_model("stock")
    with EvaluatedForm(model)():
        np.testing.assert_array_equal(model.get_layer("first_bn").moving_variance, np.ones(3))


def test_before_the_first_step_there_is_no_average_yet():
    model = make_model("stock")
    kernel = model.get_layer("conv").kernel.numpy()
    with EvaluatedForm(model)():
        np.testing.assert_array_equal(model.get_layer("conv").kernel, kernel)


def test_layers_that_are_no_longer_frozen_get_their_statistics_too():
    model, batches = make_model("stock"), make_batches()
    first, evaluated = model.get_layer("first_bn"), EvaluatedForm(model, lambda: batches)
    first.trainable = False
    with evaluated():
        np.testing.assert_array_equal(first.moving_mean, np.zeros(3))
    first.trainable = True
    model.compile(optimizer="sgd", loss="mse")
    with evaluated():
        assert np.abs(first.moving_mean).max() > 0.1
