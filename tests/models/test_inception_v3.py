"""Inception V3 and the modules that lead from it to separable convolutions (Xception, Figures 1 to 4)."""

import keras
import numpy as np
import pytest
from parity import assert_same_outputs, double_precision, randomize

from keras_sepnets import SepnetsError, build_inception_v3, count_cost
from keras_sepnets.models.inception_modules import (
    canonical_module,
    extreme_module,
    segmented_module,
    simplified_module,
)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ({"include_top": True, "classes": 10}, 75),
        pytest.param({"include_top": False, "pooling": "avg"}, 96, marks=pytest.mark.long),
    ],
)
def test_agrees_with_keras_applications(head, size):
    with double_precision():
        reference = keras.applications.InceptionV3(weights=None, input_shape=(size, size, 3), **head)
        ours = build_inception_v3(input_shape=(size, size, 3), **head)
    randomize(reference, seed=5)
    ours.set_weights(reference.get_weights())
    assert_same_outputs(ours, reference, size)


def test_counts_are_those_of_keras():
    cost = count_cost(build_inception_v3())
    assert (cost.without_bn, cost.trainable, cost.total) == (23_800_136, 23_817_352, 23_851_784)
    assert cost.multiply_adds == 5_713_216_096
    assert cost.not_counted == ()


def test_smallest_size_and_width():
    model = build_inception_v3(alpha=0.125, input_shape=(75, 75, 1), classes=3, dropout=0.1, bn_momentum=0.7)
    assert model.output_shape == (None, 3)
    assert model.get_layer("stem_1_conv").filters == 4
    assert model.get_layer("mixed10").output.shape[-1] == 2048 // 8
    assert (model.get_layer("dropout").rate, model.get_layer("stem_1_bn").momentum) == (0.1, 0.7)
    with pytest.raises(SepnetsError, match=r"at least 75x75 px.*Received: 74x75"):
        build_inception_v3(input_shape=(74, 75, 3))
    with pytest.raises(SepnetsError, match=r"alpha is too small"):
        build_inception_v3(alpha=0.01)


def model_of(module, *arguments, channels=5, **options):
    inputs = keras.Input((9, 9, channels))
    return keras.Model(inputs, module(inputs, *arguments, name="m", **options))


def test_figure_1_has_four_towers():
    model = model_of(canonical_module, 6)
    assert model.output_shape == (None, 9, 9, 24)
    kernels = sorted(
        (layer.name.split("_")[1], layer.kernel_size)
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    one, three = (1, 1), (3, 3)
    assert kernels == [
        ("tower1", one),
        ("tower2", one),
        ("tower2", three),
        ("tower3", one),
        ("tower3", three),
        ("tower3", three),
        ("tower4", one),
    ]
    assert isinstance(model.get_layer("m_tower4_1_pool"), keras.layers.AveragePooling2D)


def test_figure_3_is_a_strictly_equivalent_reformulation_of_figure_2():
    towers, segments = model_of(simplified_module, 4, towers=3), model_of(segmented_module, 12, segments=3)
    randomize(towers, seed=8)

    def joined(step, kind):  # the weights of the three towers side by side
        weights = [towers.get_layer(f"m_tower{n}_{step}_{kind}").get_weights() for n in (1, 2, 3)]
        return [np.concatenate(variable, axis=-1) for variable in zip(*weights, strict=True)]

    segments.get_layer("m_pointwise_conv").set_weights(joined(1, "conv"))
    segments.get_layer("m_pointwise_bn").set_weights(joined(1, "bn"))
    for number in (1, 2, 3):
        spatial = towers.get_layer(f"m_tower{number}_2_conv").get_weights()
        segments.get_layer(f"m_segment{number}").set_weights(spatial)
    segments.get_layer("m_bn").set_weights(joined(2, "bn"))
    pixels = np.random.default_rng(0).normal(size=(2, 9, 9, 5)).astype("float32")
    expected = towers.predict_on_batch(pixels)
    assert expected.std() > 0.1
    np.testing.assert_allclose(segments.predict_on_batch(pixels), expected, atol=1e-5)


def test_figure_4_has_one_spatial_convolution_per_channel():
    model = model_of(extreme_module, 12)
    assert isinstance(model.get_layer("m_depthwise"), keras.layers.DepthwiseConv2D)
    relus = [layer.name for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    assert relus == ["m_pointwise_relu", "m_relu"], "both steps are followed by a ReLU"
    assert count_cost(model).multiply_adds == 81 * (5 * 12 + 9 * 12)
