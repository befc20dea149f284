import keras
import pytest
from parity import assert_same_outputs, copy_weights, randomize

from keras_sepnets import SepnetsError, build_mobilenet, count_cost
from keras_sepnets.models import mobilenet

HEADS = [
    {"include_top": True, "classes": 10},
    {"include_top": False, "pooling": None},
    {"include_top": False, "pooling": "avg"},
    {"include_top": False, "pooling": "max"},
]


def layer_names(include_top):
    names = {"conv1": ["stem"], "conv1_bn": ["stem_bn"]}
    for number in range(1, 14):
        for theirs, ours in (("dw", "depthwise"), ("pw", "pointwise")):
            names[f"conv_{theirs}_{number}"] = [f"block{number}_{ours}"]
            names[f"conv_{theirs}_{number}_bn"] = [f"block{number}_{ours}_bn"]
    return names | ({"conv_preds": ["predictions"]} if include_top else {})


def build_pair(alpha, head, size):
    reference = keras.applications.MobileNet(weights=None, input_shape=(size, size, 3), alpha=alpha, **head)
    randomize(reference, seed=1)
    ours = build_mobilenet(input_shape=(size, size, 3), alpha=alpha, **head)
    copy_weights(reference, ours, layer_names(head["include_top"]))
    return ours, reference


@pytest.mark.parametrize(
    ("alpha", "head", "size"),
    [
        pytest.param(0.25, HEADS[0], 64, marks=pytest.mark.long),
        (0.25, HEADS[0], 75),
        (0.25, HEADS[1], 75),
        pytest.param(0.5, HEADS[0], 75, marks=pytest.mark.long),
        (0.5, HEADS[2], 64),
        pytest.param(0.75, HEADS[1], 64, marks=pytest.mark.long),
        (0.75, HEADS[3], 75),
        (1.0, HEADS[0], 64),
        pytest.param(1.0, HEADS[1], 75, marks=pytest.mark.long),
        pytest.param(1.0, HEADS[3], 64, marks=pytest.mark.long),
    ],
)
def test_agrees_with_keras_applications(alpha, head, size):
    assert_same_outputs(*build_pair(alpha, head, size), size)


def test_parity_check_notices_one_wrong_stride(monkeypatch):
    blocks = list(mobilenet.BLOCKS)
    blocks[12] = blocks[12]._replace(stride=2)  # as the paper misprints it
    monkeypatch.setattr(mobilenet, "BLOCKS", tuple(blocks))
    pair = build_pair(0.25, HEADS[0], 64)
    with pytest.raises(AssertionError):
        assert_same_outputs(*pair, 64)


def test_parity_check_notices_one_wrong_activation():
    ours, reference = build_pair(0.25, HEADS[0], 64)
    for layer in (ours.get_layer("stem_bn"), reference.get_layer("conv1_bn")):
        layer.gamma.assign(4 * layer.gamma)  # so that values exceed the 6 of ReLU6
    assert_same_outputs(ours, reference, 64)
    ours.get_layer("stem_relu").max_value = None
    with pytest.raises(AssertionError):
        assert_same_outputs(ours, reference, 64)


# Parameters without batch norm, trainable, total
@pytest.mark.parametrize(
    ("alpha", "without_bn", "trainable", "total", "multiply_adds"),
    [
        (1.0, 4_210_088, 4_231_976, 4_253_864, 568_740_352),
        (0.75, 2_569_144, 2_585_560, 2_601_976, 325_400_448),
        (0.5, 1_320_648, 1_331_592, 1_342_536, 149_497_088),
        (0.25, 464_600, 470_072, 475_544, 41_030_272),
    ],
)
def test_counts_are_the_papers(alpha, without_bn, trainable, total, multiply_adds):
    model = build_mobilenet(alpha=alpha)
    cost = count_cost(model)
    assert (cost.without_bn, cost.trainable, cost.total) == (without_bn, trainable, total)
    assert cost.multiply_adds == multiply_adds
    assert cost.not_counted == ()
    assert model.count_params() == total


def test_conv_mobilenet_has_standard_convolutions():
    """Table 4; erratum 2: the paper's 4866 M leave the classifier out."""
    cost = count_cost(build_mobilenet(separable=False))
    assert (cost.without_bn, cost.trainable, cost.total) == (29_282_120, 29_294_088, 29_306_056)
    assert cost.multiply_adds == 4_867_293_184
    model = build_mobilenet(separable=False, alpha=0.25, input_shape=(64, 64, 3))
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    separable = build_mobilenet(alpha=0.25, input_shape=(64, 64, 3))
    assert model.get_layer("block12_conv").output.shape == separable.get_layer("block12_pointwise").output.shape


def test_shallow_mobilenet_leaves_five_blocks_out():
    """Table 5."""
    cost = count_cost(build_mobilenet(shallow=True))
    assert (cost.without_bn, cost.multiply_adds) == (2_876_328, 307_323_392)
    shallow = build_mobilenet(shallow=True, alpha=0.25, input_shape=(64, 64, 3))
    blocks = {layer.name.split("_")[0] for layer in shallow.layers if layer.name.startswith("block")}
    assert blocks == {f"block{number}" for number in (1, 2, 3, 4, 5, 6, 12, 13)}


@pytest.mark.parametrize(("size", "multiply_adds"), [(192, 418_121_728), (160, 290_675_200), (128, 186_400_768)])
def test_resolution_multiplier_scales_multiply_adds_only(size, multiply_adds):
    cost = count_cost(build_mobilenet(input_shape=(size, size, 3)))
    assert (cost.multiply_adds, cost.total) == (multiply_adds, 4_253_864)


def test_smallest_size_is_the_true_minimum():
    assert build_mobilenet(input_shape=(31, 31, 1), alpha=0.25, classes=2).output_shape == (None, 2)
    with pytest.raises(SepnetsError, match=r"at least 31x31 px.*Received: 30x64"):
        build_mobilenet(input_shape=(30, 64, 3))


def test_any_size_without_top_and_any_channels():
    model = build_mobilenet(include_top=False, input_shape=(None, None, 5), alpha=0.25)
    assert model.input_shape == (None, None, None, 5)
    assert model.output_shape == (None, None, None, 256)
    assert build_mobilenet(include_top=False).input_shape == (None, None, None, 3)


def test_dropout_is_before_the_classifier_only_in_training():
    model = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), classes=3, dropout=0.7)
    assert model.get_layer("dropout").rate == 0.7
    assert model.get_layer("predictions").input is model.get_layer("dropout").output
    assert model.get_layer("dropout").input is model.get_layer("avg_pool").output
    head = keras.Model(model.get_layer("dropout").input, model.output)
    features = keras.ops.ones((1, 256))
    plain = [head(features, training=False) for _ in range(2)]
    dropped = [head(features, training=True) for _ in range(2)]
    assert keras.ops.all(plain[0] == plain[1])
    assert not keras.ops.all(dropped[0] == dropped[1])


def test_batch_norm_settings_reach_every_layer():
    model = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), bn_momentum=0.5, bn_epsilon=0.1)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 27
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.5, 0.1)}
    default = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3)).get_layer("stem_bn")
    assert (default.momentum, default.epsilon) == (0.99, 1e-3)


def test_input_tensor_is_built_upon():
    tensor = keras.Input((40, 40, 3))
    model = build_mobilenet(input_tensor=keras.layers.GaussianNoise(0.1)(tensor), alpha=0.25, classes=4)
    assert model.inputs[0] is tensor
    with pytest.raises(SepnetsError, match="contradicts input_tensor"):
        build_mobilenet(input_tensor=tensor, input_shape=(64, 64, 3))


def test_name_activation_and_preprocessing_can_be_chosen():
    model = build_mobilenet(
        name="mine",
        alpha=0.25,
        input_shape=(32, 32, 3),
        classes=3,
        classifier_activation=None,
        include_preprocessing=False,
    )
    assert model.name == "mine"
    assert model.get_layer("predictions").activation is keras.activations.linear
    assert "preprocessing" not in [layer.name for layer in model.layers]


def test_weights_from_a_file(tmp_path):
    path = str(tmp_path / "w.weights.h5")
    source = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), classes=3)
    source.save_weights(path)
    loaded = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), classes=3, weights=path)
    pixels = keras.random.uniform((1, 32, 32, 3), 0, 255)
    assert keras.ops.all(source(pixels) == loaded(pixels))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"alpha": 0}, "positive number. Received: alpha=0"),
        ({"alpha": -1.0}, "positive number. Received: alpha=-1.0"),
        ({"alpha": float("nan")}, "positive number"),
        ({"alpha": 0.03}, "use at least 0.03125. Received: alpha=0.03"),
        ({"pooling": "sum", "include_top": False}, "Received: pooling='sum'"),
        ({"classes": 0}, "Received: classes=0"),
        ({"dropout": 1.0}, "Received: dropout=1.0"),
        ({"input_shape": (64, 64)}, r"channels last.*Received: input_shape=\(64, 64\)"),
    ],
)
def test_bad_arguments_are_named(arguments, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        build_mobilenet(**arguments)
