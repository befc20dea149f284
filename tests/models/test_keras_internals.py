"""Keras still has each private name that `models/keras_internals.py` uses, and it still means the same."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_sepnets.models import keras_internals


@contextlib.contextmanager
def advice(function, *, look_at):
    """Fail with what to do about a change in Keras."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, AssertionError) as error:
        pytest.fail(
            f"Keras {keras.__version__} changed a private name: {error}. Rewrite "
            f"keras_internals.{function.__name__}, after reading {look_at} in Keras' source; until then pin keras "
            "below this version in pyproject.toml.",
            pytrace=False,
        )


@pytest.fixture
def model():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(2, 1, name="conv")(inputs)
    return keras.Model(inputs, {"sum": layers.Add(name="add")([x, layers.ReLU(name="relu")(x)])})


def test_graph_of_finds_functional_and_sequential_models(model):
    class Subclassed(keras.Model):
        pass

    with advice(keras_internals.graph_of, look_at="Functional._run_through_graph and Sequential._functional"):
        assert keras_internals.graph_of(model) is model
        sequential = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="dense")])
        assert keras_internals.graph_of(sequential).get_layer("dense") is sequential.get_layer("dense")
        for without in (keras.Sequential([layers.Dense(2)]), Subclassed(), model.get_layer("conv"), None):
            assert keras_internals.graph_of(without) is None


def test_run_graph_calls_every_operation_once_in_order(model):
    called = []

    def call(operation, *args, **kwargs):
        called.append(operation.name)
        return operation(*args, **kwargs)

    x = np.ones((1, 4, 4, 3), "float32")
    with advice(keras_internals.run_graph, look_at="Function._run_through_graph (operation_fn, call_fn)"):
        outputs = keras_internals.run_graph(model, [x], call)
        assert called == ["conv", "relu", "add"]
        np.testing.assert_array_equal(outputs["sum"], model(x)["sum"])


def test_operation_of_is_the_layer_that_produced_a_tensor(model):
    with advice(keras_internals.operation_of, look_at="KerasTensor._keras_history"):
        assert keras_internals.operation_of(model.output["sum"]) is model.get_layer("add")


def test_consumers_are_those_within_the_model(model):
    conv = model.get_layer("conv")
    keras.Model(model.inputs, layers.Dense(1)(conv.output))  # reads the same layer, in another model
    with advice(keras_internals.consumers, look_at="Operation._outbound_nodes"):
        found = keras_internals.consumers(model, conv)
        assert sorted(operation.name for operation in found) == ["add", "relu"]


def test_producers_are_those_within_the_model(model):
    with advice(keras_internals.producers, look_at="Operation._inbound_nodes and Node.parent_nodes"):
        found = keras_internals.producers(model, model.get_layer("add"))
        assert [operation.name for operation in found] == ["conv", "relu"]


@pytest.fixture
def optimizer():
    optimizer = keras.optimizers.AdamW(use_ema=True, name="mine")  # leaves Keras' numbering of names alone
    optimizer.build([keras.Variable(np.ones(shape, "float32")) for shape in ((2,), (3,))])
    return optimizer


def test_optimized_variables_come_in_their_order(optimizer):
    with advice(keras_internals.optimized_variables, look_at="BaseOptimizer._trainable_variables"):
        assert [variable.shape for variable in keras_internals.optimized_variables(optimizer)] == [(2,), (3,)]


def test_averaged_variables_are_beside_the_optimized_ones(optimizer):
    with advice(keras_internals.averaged_variables, look_at="BaseOptimizer._model_variables_moving_average"):
        averages = keras_internals.averaged_variables(optimizer)
        assert [average.shape for average in averages] == [(2,), (3,)]
        variables = keras_internals.optimized_variables(optimizer)
        optimizer.apply([keras.ops.ones(variable.shape) for variable in variables])
        for variable, average in zip(variables, averages, strict=True):
            np.testing.assert_array_equal(average, variable)  # after the first step


def test_adam_moments_are_those_of_the_variable(optimizer):
    look_at = "BaseOptimizer._get_variable_index and Adam._momentums, _velocities"
    with advice(keras_internals.adam_moments, look_at=look_at):
        _, variable = keras_internals.optimized_variables(optimizer)
        optimizer.apply([keras.ops.ones((2,)), 3 * keras.ops.ones((3,))])
        first, second = keras_internals.adam_moments(optimizer, variable)
        np.testing.assert_allclose(first, 3 * 0.1 * np.ones(3), rtol=1e-5)  # (1 - beta_1) times the gradient
        np.testing.assert_allclose(second, 9 * 0.001 * np.ones(3), rtol=1e-5)
