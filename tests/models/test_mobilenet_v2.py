import keras
import pytest
from parity import assert_same_outputs, copy_weights, double_precision, randomize

from keras_sepnets import SepnetsError, build_mobilenet_v2, count_cost
from keras_sepnets.models import mobilenet_v2
from keras_sepnets.models.keras_internals import operation_of

SMALL = {"alpha": 0.35, "input_shape": (32, 32, 3), "classes": 4}


def layer_names(include_top):
    names = {"Conv1": ["stem"], "bn_Conv1": ["stem_bn"], "Conv_1": ["last"], "Conv_1_bn": ["last_bn"]}
    for number in range(17):
        prefix = f"block_{number}" if number else "expanded_conv"
        for step in ("expand", "depthwise", "project") if number else ("depthwise", "project"):
            names[f"{prefix}_{step}"] = [f"block{number + 1}_{step}"]
            names[f"{prefix}_{step}_BN"] = [f"block{number + 1}_{step}_bn"]
    return names | ({"predictions": ["predictions"]} if include_top else {})


def build_pair(alpha, head, size, **options):
    shape = (size, size, 3)
    with double_precision():
        reference = keras.applications.MobileNetV2(weights=None, input_shape=shape, alpha=alpha, **head)
        ours = build_mobilenet_v2(input_shape=shape, alpha=alpha, **head, **options)
    randomize(reference, seed=3)
    copy_weights(reference, ours, layer_names(head["include_top"]))
    return ours, reference


@pytest.mark.parametrize(
    ("alpha", "head", "size"),
    [
        (0.35, {"include_top": True, "classes": 10}, 96),
        (0.75, {"include_top": False, "pooling": None}, 97),
        pytest.param(1.0, {"include_top": False, "pooling": "avg"}, 75, marks=pytest.mark.long),
        pytest.param(1.3, {"include_top": False, "pooling": "max"}, 64, marks=pytest.mark.long),
        (1.4, {"include_top": True, "classes": 10}, 33),
        (0.1, {"include_top": True, "classes": 10}, 64),
    ],
)
def test_agrees_with_keras_applications(alpha, head, size):
    assert_same_outputs(*build_pair(alpha, head, size), size)


@pytest.mark.parametrize(
    "option", [{"residual": None}, {"residual": "expansion"}, {"bottleneck_activation": "relu6"}]
)
def test_parity_check_notices_every_option(option):
    pair = build_pair(0.35, {"include_top": True, "classes": 10}, 64, **option)
    with pytest.raises(AssertionError):
        assert_same_outputs(*pair, 64)


# Parameters without batch norm, trainable, total
@pytest.mark.parametrize(
    ("alpha", "without_bn", "trainable", "total", "multiply_adds"),
    [
        (1.0, 3_470_760, 3_504_872, 3_538_984, 300_774_272),
        (1.4, 6_060_840, 6_108_776, 6_156_712, 582_195_824),
        (0.35, 1_663_048, 1_677_128, 1_691_208, 59_285_808),
    ],
)
def test_counts_are_exact(alpha, without_bn, trainable, total, multiply_adds):
    cost = count_cost(build_mobilenet_v2(alpha=alpha))
    assert (cost.without_bn, cost.trainable, cost.total) == (without_bn, trainable, total)
    assert cost.multiply_adds == multiply_adds
    assert cost.not_counted == ()


def test_table_2_has_17_bottlenecks_of_which_10_have_a_shortcut():
    model = build_mobilenet_v2(**SMALL)
    adds = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert len(mobilenet_v2.BLOCKS) == 17
    assert adds == [f"block{number}_add" for number in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]


def test_shortcuts_between_expansions_connect_the_wide_layers():
    model = build_mobilenet_v2(**SMALL, residual="expansion")
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert [add.name for add in adds] == [f"block{n + 1}_expand_add" for n in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
    first = adds[0]
    assert first.input[0] is model.get_layer("block4_expand_relu").output
    assert first.input[1] is model.get_layer("block3_expand_relu").output
    assert model.get_layer("block7_expand_add").input[1] is model.get_layer("block6_expand_add").output
    for add in adds:
        assert (
            add.output.shape[-1] == 6 * model.get_layer(add.name.replace("expand_add", "expand")).input.shape[-1]
        )


def test_without_residuals_nothing_is_added():
    model = build_mobilenet_v2(**SMALL, residual=None)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert model.count_params() == build_mobilenet_v2(**SMALL).count_params()


@pytest.mark.parametrize("activation", [None, "relu6"])
def test_bottlenecks_are_linear_unless_asked_for(activation):
    model = build_mobilenet_v2(**SMALL, bottleneck_activation=activation)
    assert len([layer for layer in model.layers if layer.name.endswith("project_relu")]) == (
        17 if activation else 0
    )
    kind = keras.layers.ReLU if activation else keras.layers.BatchNormalization
    assert isinstance(operation_of(model.get_layer("block3_add").input[0]), kind)


def test_filters_are_multiples_of_8_and_never_below_90_percent():
    for wanted, given in ((3, 8), (12, 16), (19.6, 24), (84, 88), (100, 104), (1792, 1792)):
        assert mobilenet_v2.round_filters(wanted) == given
    for wanted in range(1, 2000):
        assert mobilenet_v2.round_filters(wanted) % 8 == 0
        assert mobilenet_v2.round_filters(wanted) >= 0.9 * wanted


def test_last_convolution_keeps_its_width_below_alpha_1():
    assert build_mobilenet_v2(include_top=False, alpha=0.35).output_shape[-1] == 1280
    assert build_mobilenet_v2(include_top=False, alpha=1.4).output_shape[-1] == 1792


def test_any_size_from_one_pixel_up():
    assert build_mobilenet_v2(**{**SMALL, "input_shape": (1, 1, 2)}).output_shape == (None, 4)
    with pytest.raises(SepnetsError, match="at least 1x1 px"):
        build_mobilenet_v2(**{**SMALL, "input_shape": (0, 8, 3)})


def test_dropout_and_batch_norm_settings_reach_the_layers():
    model = build_mobilenet_v2(**SMALL, dropout=0.3, bn_momentum=0.5, bn_epsilon=0.1)
    assert model.get_layer("dropout").rate == 0.3
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.5, 0.1)}
    assert build_mobilenet_v2(**SMALL).get_layer("dropout").rate == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"alpha": 0}, "positive number. Received: alpha=0"),
        ({"residual": True}, 'residual is "bottleneck", "expansion" or None. Received: residual=True'),
        ({"bottleneck_activation": "relu"}, "Received: bottleneck_activation='relu'"),
    ],
)
def test_bad_arguments_are_named(arguments, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        build_mobilenet_v2(**arguments)
