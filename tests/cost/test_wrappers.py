"""Layers that contain other layers, and layers that run over the steps of a sequence."""

import keras
import pytest
from keras import layers

from keras_sepnets import SepnetsError, count_cost

STEPS = 5


def encoder():
    """Two convolutions and a batch norm on pictures of 8x8x3."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(2, 1, name="last")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name="encoder")


@pytest.mark.parametrize("as_sequential", [False, True])
def test_a_time_distributed_model_costs_as_much_as_one_picture_at_every_step(as_sequential):
    one = encoder()
    inner = keras.Sequential([keras.Input((8, 8, 3)), one]) if as_sequential else one
    video = keras.Sequential([keras.Input((STEPS, 8, 8, 3)), layers.TimeDistributed(inner, name="each")])
    cost, frame = count_cost(video), count_cost(one)
    assert cost.multiply_adds == STEPS * frame.multiply_adds == STEPS * 64 * (27 * 4 + 4 * 2)
    assert cost.activation_bytes == STEPS * frame.activation_bytes
    assert cost.peak_activation_bytes == STEPS * frame.peak_activation_bytes
    assert (cost.total, cost.without_bn) == (video.count_params(), frame.without_bn)
    assert cost.without_bn == cost.total - 4 * 4
    assert cost.not_counted == ()
    names = {layer.name.rpartition("/")[2]: layer for layer in cost.layers}
    assert names["conv"].output_shape == (STEPS, 8, 8, 4)


def test_a_time_distributed_layer():
    video = keras.Sequential([keras.Input((STEPS, 6)), layers.TimeDistributed(layers.Dense(4)), layers.Dense(1)])
    cost = count_cost(video)
    assert cost.multiply_adds == STEPS * 6 * 4 + STEPS * 4
    assert cost.total == video.count_params()
    assert cost.peak_activation_bytes == 4 * STEPS * (6 + 4)


def test_time_distributed_layers_in_each_other():
    nested = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(4)))
    assert count_cost(keras.Sequential([keras.Input((2, 3, 6)), nested])).multiply_adds == 2 * 3 * 6 * 4


def test_an_open_number_of_steps_is_refused():
    model = keras.Sequential([keras.Input((None, 6)), layers.TimeDistributed(layers.Dense(4))])
    with pytest.raises(SepnetsError, match="leaves open"):
        count_cost(model)
    assert count_cost(model, (7, 6)).multiply_adds == 7 * 6 * 4


GATES = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("return_sequences", [False, True])
def test_recurrent_layers_multiply_input_and_state_at_every_step(kind, return_sequences):
    units, features = 7, 6
    step = GATES[kind] * units * (features + units)
    inputs = keras.Input((STEPS, features))
    one = kind(units, return_sequences=return_sequences)
    cost = count_cost(keras.Model(inputs, one(inputs)))
    assert (cost.multiply_adds, cost.not_counted) == (STEPS * step, ())
    both = layers.Bidirectional(kind(units, return_sequences=return_sequences))
    model = keras.Model(inputs, layers.Dense(2)(both(inputs)))
    cost = count_cost(model)
    places = STEPS if return_sequences else 1
    assert (cost.multiply_adds, cost.not_counted) == (2 * STEPS * step + places * 2 * units * 2, ())
    assert cost.total == model.count_params()


def test_states_that_a_recurrent_layer_returns_do_not_matter():
    inputs = keras.Input((STEPS, 6))
    outputs, state = layers.GRU(7, return_state=True)(inputs)
    assert count_cost(keras.Model(inputs, [outputs, state])).multiply_adds == STEPS * 3 * 7 * (6 + 7)


def test_a_bidirectional_layer_of_an_unknown_kind_is_named():
    inputs = keras.Input((STEPS, 6))
    unknown = layers.Bidirectional(layers.RNN(layers.LSTMCell(7)), name="unknown")
    assert count_cost(keras.Model(inputs, unknown(inputs))).not_counted == ("unknown",)


class Unit(layers.Layer):
    """A layer of a user's own, with a batch norm inside another layer inside it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inside = keras.Sequential([layers.Dense(4), layers.BatchNormalization()])

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x):
        return self.inside(x)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def test_batch_norm_inside_a_layer_of_unknown_type_is_left_out_of_without_bn():
    inputs = keras.Input((8, 8, 3))
    cost = count_cost(keras.Model(inputs, Unit(name="unit")(inputs)))
    assert (cost.total, cost.without_bn, cost.not_counted) == (3 * 4 + 4 + 4 * 4, 3 * 4 + 4, ("unit",))
    counted = count_cost(keras.Model(inputs, Unit()(inputs)), counters={Unit: lambda *_: 5})
    assert (counted.multiply_adds, counted.without_bn) == (5, 3 * 4 + 4)
