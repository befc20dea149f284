import keras
import numpy as np
import pytest
from parity import assert_same_outputs, copy_weights, randomize

from keras_sepnets import SepnetsError, build_xception, count_cost
from keras_sepnets.models.blocks import segmented_convolution

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
        pytest.param({"include_top": True, "classes": 10}, 75, marks=pytest.mark.long),
        ({"include_top": False, "pooling": None}, 75),
        ({"include_top": False, "pooling": "avg"}, 72),
        pytest.param({"include_top": False, "pooling": "max"}, 75, marks=pytest.mark.long),
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
        ({"segments": 0}, "Received: segments=0"),
        ({"segments": 2.5}, "Received: segments=2.5"),
        ({"order": "depth_first"}, 'order is "spatial_first" or "pointwise_first". Received: order=.depth_first'),
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


class TestSegments:
    """The spectrum between a standard convolution (one segment) and a depthwise one (one per channel)."""

    def test_one_segment_is_the_standard_convolution(self):
        """3x3 C -> C followed by a linear 1x1 C -> F is one standard 3x3 convolution C -> F."""
        ours = build_xception(**SMALL, segments=1)
        randomize(ours, seed=9)
        standard = {}
        for layer in ours.layers:
            if layer.name.endswith("_pointwise"):
                spatial = ours.get_layer(layer.name.replace("pointwise", "spatial")).kernel.numpy()
                standard[layer.name] = np.einsum("hwcd,de->hwce", spatial, layer.kernel.numpy()[0, 0])
        assert len(standard) == 13

        def replace(layer):
            if layer.name not in standard:
                return type(layer).from_config(layer.get_config())
            return keras.layers.Conv2D(layer.filters, 3, padding="same", use_bias=False, name=layer.name)

        def call(layer, x, **options):
            return x if layer.name.endswith("_spatial") else layer(x, **options)

        reference = keras.models.clone_model(ours, clone_function=replace, call_function=call)
        for layer in reference.layers:
            if layer.name in standard:
                layer.set_weights([standard[layer.name]])
            elif layer.weights and not layer.name.endswith("_spatial"):
                layer.set_weights(ours.get_layer(layer.name).get_weights())
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
        expected = reference(pixels, training=False).numpy()
        assert expected.std() > 1e-3
        np.testing.assert_allclose(ours(pixels, training=False), expected, atol=1e-5)

    def test_one_segment_per_channel_is_the_grouped_convolution_with_as_many_groups(self):
        """An independent form: Keras' grouped convolution, at the end of the spectrum and within it."""
        x = np.random.default_rng(0).normal(size=(2, 9, 9, 6)).astype("float32")
        for segments in (6, 3):
            inputs = keras.Input((9, 9, 6))
            model = keras.Model(inputs, segmented_convolution(inputs, segments, name="s"))
            grouped = keras.layers.Conv2D(6, 3, padding="same", groups=segments, use_bias=False)
            grouped.build(x.shape)
            if segments == 6:
                kernel = model.get_layer("s_depthwise").kernel.numpy().transpose(0, 1, 3, 2)
            else:
                parts = [model.get_layer(f"s_segment{number}").kernel.numpy() for number in (1, 2, 3)]
                kernel = np.concatenate(parts, axis=-1)
            grouped.set_weights([kernel])
            np.testing.assert_allclose(model(x), grouped(x), atol=1e-5)

    @pytest.mark.parametrize("order", ["spatial_first", "pointwise_first"])
    def test_more_segments_than_channels_are_the_default_network(self, order):
        names = [
            [layer.name for layer in build_xception(**SMALL, order=order, segments=k).layers]
            for k in (None, 10**6)
        ]
        assert names[0] == names[1]

    @pytest.mark.parametrize("segments", [1, 2, 3, 4, 7])
    def test_channels_are_mixed_within_a_segment_only(self, segments):
        inputs = keras.Input((5, 5, 7))
        model = keras.Model(inputs, segmented_convolution(inputs, segments, name="s"))
        base = np.zeros((1, 5, 5, 7), "float32")
        reached = []
        for channel in range(7):
            x = base.copy()
            x[..., channel] = 1
            reached.append(frozenset(np.flatnonzero(np.abs(model(x).numpy()).sum((0, 1, 2)) > 0)))
        groups = set(reached)
        assert len(groups) == segments
        assert sorted(channel for group in groups for channel in group) == list(range(7))
        assert {len(group) for group in groups} <= {7 // segments, 7 // segments + 1}
        assert all(channel in group for channel, group in enumerate(reached))

    def test_multiply_adds_fall_from_standard_to_depthwise(self):
        costs = [count_cost(build_xception(**SMALL, segments=k)).multiply_adds for k in (1, 2, 4, 16, None)]
        assert costs == sorted(costs, reverse=True)
        assert len(set(costs)) == 5

    def test_default_is_one_segment_per_channel_spatial_first(self):
        model = build_xception(**SMALL)
        kinds = {type(layer) for layer in model.layers if "sepconv" in layer.name and layer.weights}
        assert keras.layers.DepthwiseConv2D in kinds
        sepconv = [layer.name for layer in model.layers if layer.name.startswith("block2_sepconv1")]
        assert sepconv == ["block2_sepconv1_depthwise", "block2_sepconv1_pointwise", "block2_sepconv1_bn"]

    def test_pointwise_first_has_a_relu_after_both_steps(self):
        model = build_xception(**SMALL, order="pointwise_first")
        names = [layer.name for layer in model.layers]
        start = names.index("block5_sepconv1_relu")
        assert names[start : start + 6] == [
            "block5_sepconv1_relu",
            "block5_sepconv1_pointwise",
            "block5_sepconv1_intermediate",
            "block5_sepconv1_depthwise",
            "block5_sepconv1_bn",
            "block5_sepconv2_relu",
        ]
        assert model.get_layer("block5_sepconv1_intermediate").activation is keras.activations.relu
        linear = build_xception(**SMALL, order="pointwise_first", intermediate_activation="linear")
        assert not [layer.name for layer in linear.layers if layer.name.endswith("_intermediate")]

    def test_saved_networks_open_with_plain_keras(self, tmp_path):
        model = build_xception(**SMALL, segments=3)
        model.save(tmp_path / "m.keras")
        pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(loaded(pixels), model(pixels))


def test_fully_connected_layers_stand_before_the_classifier():
    model = build_xception(**SMALL, fully_connected=True)
    assert [model.get_layer(name).units for name in ("fc1", "fc2")] == [512, 512]
    assert model.get_layer("fc1").activation is keras.activations.relu
    assert model.get_layer("fc1").input is model.get_layer("avg_pool").output
    assert model.get_layer("dropout").input is model.get_layer("fc2").output
    assert "fc1" not in [layer.name for layer in build_xception(**SMALL).layers]
    full = build_xception(include_top=True, fully_connected=True, middle_repeats=0, input_shape=(32, 32, 3))
    assert full.get_layer("fc1").units == full.get_layer("fc2").units == 4096
