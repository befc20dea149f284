import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sepnets import count_cost


def convolution_by_hand(size, kernel, stride, padding, channels, filters):
    """Multiply-adds of a convolution, by walking over its output positions."""
    if padding == "same":
        positions = len(range(0, size, stride))
    else:
        positions = len(range(0, size - kernel + 1, stride))
    return positions**2 * kernel**2 * channels * filters


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(7, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.integers(1, 6),
    filters=st.integers(1, 6),
)
def test_counts_a_separable_convolution_as_done_by_hand(size, kernel, stride, padding, channels, filters):
    inputs = keras.Input((size, size, channels))
    x = keras.layers.DepthwiseConv2D(kernel, strides=stride, padding=padding)(inputs)
    x = keras.layers.Conv2D(filters, 1, use_bias=False)(x)
    cost = count_cost(keras.Model(inputs, x))
    depthwise = convolution_by_hand(size, kernel, stride, padding, 1, channels)
    pointwise = convolution_by_hand(x.shape[1], 1, 1, "valid", channels, filters)
    assert cost.multiply_adds == depthwise + pointwise
    assert cost.total == kernel**2 * channels + channels + channels * filters


def test_papers_worked_example():
    """6x6x3 input, five 3x3 filters, valid: 2160 against 432 + 240."""
    inputs = keras.Input((6, 6, 3))
    standard = keras.layers.Conv2D(5, 3, use_bias=False)(inputs)
    separable = keras.layers.Conv2D(5, 1, use_bias=False)(keras.layers.DepthwiseConv2D(3, use_bias=False)(inputs))
    assert count_cost(keras.Model(inputs, standard)).multiply_adds == 2160
    assert count_cost(keras.Model(inputs, separable)).multiply_adds == 432 + 240


def test_grouped_convolution_counts_its_own_kernel():
    inputs = keras.Input((8, 8, 4))
    grouped = keras.layers.Conv2D(8, 3, groups=2, use_bias=False)(inputs)
    assert count_cost(keras.Model(inputs, grouped)).multiply_adds == 6 * 6 * 9 * (4 // 2) * 8


def test_unknown_layers_are_named():
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, keras.layers.SeparableConv2D(3, 3, name="unknown")(inputs))
    assert count_cost(model).not_counted == ("unknown",)


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_three_conventions(momentum):
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(2, 1)(inputs)
    cost = count_cost(keras.Model(inputs, keras.layers.BatchNormalization(momentum=momentum)(x)))
    assert (cost.without_bn, cost.trainable, cost.total) == (10, 14, 18)
