"""Models in the formats of Keras 1 and 2, counted without their weights."""

import json

import h5py
import keras
import pytest
from keras import layers

from keras_sepnets import SepnetsError, build_mobilenet, count_cost
from keras_sepnets.models.loading import load_architecture


def write_h5(path, description, version="2.2.4"):
    """Write what Keras 2 writes of a whole model, without its arrays."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(description).encode()
        file.attrs["keras_version"] = version
        file.create_group("model_weights").attrs["layer_names"] = []
    return path


def layer(kind, name, inputs=(), **config):
    """Describe a layer as Keras 2 does inside a functional model."""
    nodes = [[[*(source if isinstance(source, tuple) else (source, 0)), 0, {}] for source in inputs]]
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": nodes if inputs else [],
    }


def functional(*described, output, name="model", kind="Model"):
    first = described[0]["name"]
    return {
        "class_name": kind,
        "name": name,
        "config": {
            "name": name,
            "layers": list(described),
            "input_layers": [[first, 0, 0]],
            "output_layers": [[output, 0, 0]],
        },
    }


CONV = {
    "filters": 4, "kernel_size": [3, 3], "padding": "same", "strides": [1, 1], "use_bias": False,
    "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "relu6", "trainable": True,
    "kernel_initializer": {"class_name": "VarianceScaling", "config": {"mode": "fan_avg", "seed": None}},
    "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 1e-4}}, "kernel_constraint": None,
}  # fmt: skip


def backbone():
    return functional(
        layer("InputLayer", "in", batch_input_shape=[None, 8, 8, 3], dtype="float32", sparse=False),
        layer("Conv2D", "conv", ["in"], **CONV),
        layer("DepthwiseConv2D", "dw", ["conv"], kernel_size=[3, 3], padding="same", use_bias=False, groups=1),
        layer("BatchNormalization", "bn", ["dw"], axis=[3], momentum=0.99, epsilon=1e-3, beta_constraint=None),
        layer("LeakyReLU", "leaky", ["bn"], alpha=0.3),
        output="leaky",
        name="base",
    )


MULTIPLY_ADDS = 64 * (27 * 4 + 9 * 4)


def test_a_functional_model_of_keras_2(tmp_path):
    cost = count_cost(load_architecture(write_h5(tmp_path / "old.h5", backbone())))
    assert (cost.multiply_adds, cost.without_bn) == (MULTIPLY_ADDS, 27 * 4 + 9 * 4)
    assert cost.total == cost.without_bn + 16


def test_a_model_inside_another_one_whose_calls_keras_2_counts_from_1(tmp_path):
    inner = backbone()
    described = functional(
        layer("InputLayer", "image", batch_input_shape=[None, 8, 8, 3]),
        {**inner, "inbound_nodes": [[["image", 0, 0, {}]]]},
        layer("GlobalAveragePooling2D", "pool", [("base", 1)], data_format="channels_last"),
        layer("Dense", "dense", ["pool"], units=5, activation={"class_name": "function", "config": "softmax"}),
        output="dense",
        kind="Functional",
    )
    cost = count_cost(load_architecture(write_h5(tmp_path / "old.h5", described)))
    assert cost.multiply_adds == MULTIPLY_ADDS + 4 * 5


def test_a_sequential_model_whose_first_layer_has_the_input_shape(tmp_path):
    first = layer("Conv2D", "conv", **CONV, batch_input_shape=[None, 8, 8, 3])
    rest = [layer("Flatten", "flat"), layer("Dense", "dense", units=5, activation="custom_activation")]
    for config in ({"name": "sequential", "layers": [first, *rest]}, [first, *rest]):  # Keras 2.2, and before
        path = write_h5(tmp_path / "old.h5", {"class_name": "Sequential", "config": config})
        cost = count_cost(load_architecture(path))
        assert cost.multiply_adds == 64 * 27 * 4 + 256 * 5


def test_the_layers_and_arguments_of_keras_1(tmp_path):
    convolution = {
        "nb_filter": 4, "nb_row": 3, "nb_col": 3, "subsample": [2, 2], "border_mode": "same", "dim_ordering": "tf",
        "init": "glorot_uniform", "W_regularizer": None, "bias": False, "activation": "relu",
    }  # fmt: skip
    described = functional(
        layer("InputLayer", "in", batch_input_shape=[None, 8, 8, 3], input_dtype="float32"),
        layer("Convolution2D", "a", ["in"], **convolution),
        layer("Convolution2D", "b", ["in"], **convolution),
        layer("Merge", "merge", ["a", "b"], mode="concat", concat_axis=-1, mode_type="raw", dot_axes=-1),
        layer("BatchNormalization", "bn", ["merge"], mode=0, axis=-1, gamma_regularizer=None),
        layer("MaxPooling2D", "pool", ["bn"], pool_size=[2, 2], border_mode="valid", dim_ordering="tf"),
        layer("Flatten", "flat", ["pool"]),
        layer("Dropout", "drop", ["flat"], p=0.5),
        layer("Dense", "dense", ["drop"], output_dim=5, bias=True, input_dim=None, init="uniform"),
        output="dense",
    )
    cost = count_cost(load_architecture(write_h5(tmp_path / "old.h5", described, "1.2.2")))
    assert cost.multiply_adds == 2 * 16 * 27 * 4 + 4 * 8 * 5
    assert cost.total == 2 * 27 * 4 + 4 * 8 + 4 * 8 * 5 + 5


def test_files_of_today_cost_the_same_in_every_format(tmp_path):
    base = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), include_top=False, pooling="avg")
    inputs = keras.Input((3, 32, 32, 3))
    x = layers.Bidirectional(layers.LSTM(4))(layers.TimeDistributed(base)(layers.Rescaling(1 / 127.5)(inputs)))
    model = keras.Model(inputs, layers.Dense(3)(x))
    expected = count_cost(model)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"video{suffix}")
        assert count_cost(str(tmp_path / f"video{suffix}")).to_json() == expected.to_json()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("Lambda", "cannot be built"), ("Mystery", "mystery is a layer that Keras 3 does not have: Mystery")],
)
def test_layers_that_cannot_be_built_are_refused_in_one_sentence(kind, sentence, tmp_path):
    described = functional(
        layer("InputLayer", "in", batch_input_shape=[None, 8, 8, 3]),
        layer(kind, kind.lower(), ["in"], function=["4wEAAAA=", None, None], function_type="lambda"),
        output=kind.lower(),
    )
    with pytest.raises(SepnetsError, match=sentence) as caught:
        load_architecture(write_h5(tmp_path / "odd.h5", described))
    assert "\n" not in str(caught.value)


def test_weights_alone_do_not_say_what_to_count(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(SepnetsError, match="does not describe their network; name the network instead"):
        load_architecture(tmp_path / "w.weights.h5")
