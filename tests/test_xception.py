import keras
import numpy as np
import pytest
from parity import assert_same_outputs, copy_weights, randomize

from keras_sepnets import SepnetsError, build_xception, count_cost

SMALL = {"alpha": 0.125, "middle_repeats": 1, "input_shape": (32, 32, 3), "classes": 4}


def layer_names(reference, include_top):
    names = {}
    separable = keras.layers.SeparableConv2D
    for layer in reference.layers:
        if isinstance(layer, separable):
            names[layer.name] = [f"{layer.name}_depthwise", f"{layer.name}_pointwise"]
        elif isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1):  # unnamed shortcuts
            block = {128: 2, 256: 3, 728: 4, 1024: 13}[layer.filters]
            norm = next(n for n in reference.layers if n.input is layer.output)
            names[layer.name] = [f"block{block}_shortcut"]
            names[norm.name] = [f"block{block}_shortcut_bn"]
        elif layer.weights and layer.name not in names:
            names[layer.name] = [layer.name]
    return names


def build_pair(head, size, **options):
    reference = keras.applications.Xception(weights=None, input_shape=(size, size, 3), **head)
    randomize(reference, seed=2)
    ours = build_xception(input_shape=(size, size, 3), **head, **options)
    copy_weights(reference, ours, layer_names(reference, head["include_top"]))
    return ours, reference


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ({"include_top": True, "classes": 10}, 72),
        ({"include_top": True, "classes": 10}, 75),
        ({"include_top": False, "pooling": None}, 75),
        ({"include_top": False, "pooling": "avg"}, 72),
        ({"include_top": False, "pooling": "max"}, 75),
    ],
)
def test_agrees_with_keras_applications(head, size):
    assert_same_outputs(*build_pair(head, size), size)


def test_parity_check_notices_an_activation_between_the_steps():
    pair = build_pair({"include_top": False, "pooling": "avg"}, 72, intermediate_activation="relu")
    with pytest.raises(AssertionError):
        assert_same_outputs(*pair, 72)


def test_counts_are_the_papers():
    cost = count_cost(build_xception())
    assert (cost.without_bn, cost.trainable, cost.total) == (22_801_424, 22_855_952, 22_910_480)
    assert cost.multiply_adds == 8_357_403_496
    assert cost.not_counted == ()


def test_has_36_convolution_layers_in_14_modules():
    model = build_xception(input_shape=(71, 71, 3))
    on_the_main_path = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and "shortcut" not in layer.name
    ]
    assert len(on_the_main_path) == 36
    assert {name.split("_")[0] for name in on_the_main_path} == {f"block{n}" for n in range(1, 15)}


def test_default_has_no_activation_between_depthwise_and_pointwise():
    model = build_xception(**SMALL)
    depthwise = model.get_layer("block2_sepconv1_depthwise")
    assert model.get_layer("block2_sepconv1_pointwise").input is depthwise.output


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_intermediate_activation_stands_in_every_separable_convolution(activation):
    model = build_xception(**SMALL, intermediate_activation=activation)
    depthwise = [layer.name for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    for name in depthwise:
        between = model.get_layer(name.replace("depthwise", "intermediate"))
        assert between.input is model.get_layer(name).output
        assert between.activation is keras.activations.get(activation)
        assert model.get_layer(name.replace("depthwise", "pointwise")).input is between.output
    assert model.count_params() == build_xception(**SMALL).count_params()


def test_without_residuals_there_is_no_shortcut():
    model = build_xception(**SMALL, residual=False)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert not [layer.name for layer in model.layers if "shortcut" in layer.name]
    assert model.count_params() < build_xception(**SMALL).count_params()


@pytest.mark.parametrize("repeats", [0, 1, 3])
def test_middle_repeats_count_the_modules(repeats):
    model = build_xception(**{**SMALL, "middle_repeats": repeats})
    three = {n.name.split("_")[0] for n in model.layers if n.name.endswith("sepconv3_pointwise")}
    assert len(three) == repeats


def test_alpha_scales_every_filter_count():
    model = build_xception(alpha=0.5, middle_repeats=1, include_top=False)
    assert model.output_shape[-1] == 1024
    assert model.get_layer("block1_conv1").filters == 16
    assert model.get_layer("block5_sepconv1_pointwise").filters == 364


def test_smallest_size_is_the_true_minimum():
    assert build_xception(**{**SMALL, "input_shape": (7, 7, 1)}).output_shape == (None, 4)
    with pytest.raises(SepnetsError, match=r"at least 7x7 px.*Received: 6x6"):
        build_xception(**{**SMALL, "input_shape": (6, 6, 1)})


def test_dropout_is_half_by_default():
    assert build_xception(**SMALL).get_layer("dropout").rate == 0.5
    assert build_xception(**SMALL, dropout=0.1).get_layer("dropout").rate == 0.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"intermediate_activation": "gelu"}, "Received: intermediate_activation='gelu'"),
        ({"middle_repeats": -1}, "Received: middle_repeats=-1"),
        ({"alpha": 0.001}, "Received: alpha=0.001"),
    ],
)
def test_bad_arguments_are_named(arguments, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        build_xception(**arguments)


def test_preprocessing_is_part_of_the_network():
    model = build_xception(**SMALL)
    without = build_xception(**SMALL, include_preprocessing=False)
    without.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(model(pixels), without(pixels / 127.5 - 1), atol=1e-6)
