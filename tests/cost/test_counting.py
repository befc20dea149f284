"""Costs against closed forms that walk over positions and channels one by one, independent of the counter."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from keras_sepnets import SepnetsError, build_mobilenet, build_xception, count_cost
from keras_sepnets.models.stages import stage_of

LAYER = settings(max_examples=30, deadline=None)
SIDES = st.tuples(st.integers(5, 17), st.integers(5, 17))
KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADDING = st.sampled_from(["same", "valid"])
STRIDES_AND_DILATION = st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])


def positions(side, kernel, stride, padding, dilation=1):
    """The positions of a kernel's first entry along one side, counted by walking."""
    reach = dilation * (kernel - 1)
    if padding == "same":
        return len(range(0, side, stride))
    return len([start for start in range(0, side, stride) if start + reach < side])


def cost_of(layer, shape):
    inputs = keras.Input(shape)
    return count_cost(keras.Model(inputs, layer(inputs)))


@LAYER
@given(SIDES, KERNELS, STRIDES_AND_DILATION, PADDING, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_convolution(sides, kernel, stride_dilation, padding, groups, inputs_per_group, outputs_per_group):
    stride, dilation = stride_dilation
    places = np.prod([positions(s, k, stride, padding, dilation) for s, k in zip(sides, kernel, strict=True)])
    assume(places > 0)
    layer = layers.Conv2D(
        groups * outputs_per_group, kernel, stride, padding, groups=groups, dilation_rate=dilation
    )
    cost = cost_of(layer, (*sides, groups * inputs_per_group))
    multiply_adds = 0
    for _group in range(groups):
        for _output in range(outputs_per_group):
            multiply_adds += places * np.prod(kernel) * inputs_per_group
    assert cost.multiply_adds == multiply_adds
    assert (
        cost.total == np.prod(kernel) * inputs_per_group * groups * outputs_per_group + groups * outputs_per_group
    )
    assert cost.layers[-1].type == f"{'grouped ' if groups > 1 else ''}conv {kernel[0]}x{kernel[1]}"


@LAYER
@given(
    SIDES,
    st.integers(1, 4),
    STRIDES_AND_DILATION,
    PADDING,
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_depthwise_and_separable_convolution(
    sides, kernel, stride_dilation, padding, channels, multiplier, filters
):
    stride, dilation = stride_dilation
    places = np.prod([positions(side, kernel, stride, padding, dilation) for side in sides])
    assume(places > 0)
    options = {
        "strides": stride, "padding": padding, "depth_multiplier": multiplier, "dilation_rate": dilation
    }  # fmt: skip
    depthwise = places * kernel * kernel * channels * multiplier
    pointwise = places * channels * multiplier * filters
    cost = cost_of(layers.DepthwiseConv2D(kernel, **options), (*sides, channels))
    assert cost.multiply_adds == depthwise
    assert cost.layers[-1].type == f"depthwise conv {kernel}x{kernel}"
    cost = cost_of(layers.SeparableConv2D(filters, kernel, **options), (*sides, channels))
    assert cost.multiply_adds == depthwise + pointwise
    assert cost.not_counted == ()


@LAYER
@given(SIDES, KERNELS, st.integers(1, 3), PADDING, st.integers(1, 4), st.integers(1, 4))
def test_transposed_convolution_meets_its_kernel_once_per_input_position(
    sides, kernel, stride, padding, channels, filters
):
    cost = cost_of(layers.Conv2DTranspose(filters, kernel, stride, padding), (*sides, channels))
    assert cost.multiply_adds == sides[0] * sides[1] * channels * filters * kernel[0] * kernel[1]


@LAYER
@given(st.lists(st.integers(1, 5), max_size=3), st.integers(1, 9), st.integers(1, 9))
def test_dense_is_applied_to_every_position(leading, features, units):
    cost = cost_of(layers.Dense(units), (*leading, features))
    assert cost.multiply_adds == np.prod(leading, dtype=int) * features * units
    assert (cost.total, cost.layers[-1].type) == (features * units + units, "dense")


def test_channels_first_has_the_same_cost():
    first = layers.Conv2D(4, 3, data_format="channels_first")
    assert cost_of(first, (3, 9, 7)).multiply_adds == 7 * 5 * 9 * 3 * 4


def test_papers_worked_example():
    """6x6x3 input, five 3x3 filters, valid: 2160 against 432 + 240."""
    inputs = keras.Input((6, 6, 3))
    standard = layers.Conv2D(5, 3, use_bias=False)(inputs)
    separable = layers.Conv2D(5, 1, use_bias=False)(layers.DepthwiseConv2D(3, use_bias=False)(inputs))
    assert count_cost(keras.Model(inputs, standard)).multiply_adds == 2160
    assert count_cost(keras.Model(inputs, separable)).multiply_adds == 432 + 240


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 3, 5]))
@settings(max_examples=10, deadline=None)
def test_separable_costs_one_over_n_plus_one_over_k_squared(channels, filters, kernel):
    """MobileNets, section 3.1."""
    shape = (8, 8, channels)
    standard = cost_of(layers.Conv2D(filters, kernel, padding="same"), shape).multiply_adds
    separable = cost_of(layers.SeparableConv2D(filters, kernel, padding="same"), shape).multiply_adds
    assert separable / standard == pytest.approx(1 / filters + 1 / kernel**2)


def test_unknown_layers_and_functions_are_named_and_their_parameters_counted():
    class Mine(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1],))

        def call(self, x):
            return x * self.w

    class ReLU(layers.ReLU):
        """Not the stock layer, so it may do anything."""

    inputs = keras.Input((8, 8, 4))
    x = ReLU(name="stranger")(Mine(name="mine")(inputs))
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.ops.einsum("nhwc,nhwd->ncd", x, x)
    model = keras.Model(inputs, x)
    cost = count_cost(model)
    assert cost.not_counted[:3] == ("mine", "stranger", "attention")
    assert cost.not_counted[3].endswith("_einsum")
    assert cost.total == model.count_params()


class Mixing(layers.Layer):
    """Multiplies the channels of each pixel by a matrix."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x):
        return x @ self.matrix


class SlowMixing(Mixing):
    pass


class Blend(layers.Layer):
    def call(self, tensors):
        return sum(tensors)


def count_mixing(layer, input_shape, output_shape):
    _, height, width, channels = input_shape
    assert layer.matrix.shape == (channels, channels)
    assert output_shape == input_shape == (None, 8, 8, 4)
    return height * width * channels**2


class TestCounters:
    """The user's functions for layers that the package does not know."""

    inputs = keras.Input((8, 8, 4))

    def count(self, outputs, counters):
        return count_cost(keras.Model(self.inputs, outputs), counters=counters)

    def test_a_custom_layer_is_counted(self):
        cost = self.count(Mixing(name="mixing")(self.inputs), {Mixing: count_mixing})
        assert (cost.multiply_adds, cost.not_counted, cost.total) == (64 * 16, (), 16)
        assert cost.by("type")["Mixing"].multiply_adds == 64 * 16

    def test_a_subclass_needs_its_own_counter(self):
        outputs = SlowMixing(name="slow")(Mixing()(self.inputs))
        cost = self.count(outputs, {Mixing: count_mixing})
        assert (cost.multiply_adds, cost.not_counted) == (64 * 16, ("slow",))
        assert self.count(outputs, {Mixing: count_mixing, SlowMixing: count_mixing}).not_counted == ()

    def test_a_known_layer_can_be_counted_otherwise(self):
        outputs = layers.ReLU()(layers.Conv2D(2, 1)(self.inputs))
        counters = {layers.ReLU: lambda *_: 3, layers.Conv2D: lambda layer, before, after: before[-1] * after[-1]}
        assert self.count(outputs, counters).multiply_adds == 3 + 4 * 2

    def test_several_tensors_have_a_list_of_shapes(self):
        shapes = []
        outputs = Blend()([self.inputs, layers.ReLU()(self.inputs)])
        self.count(outputs, {Blend: lambda _layer, *both: shapes.extend(both) or 0})
        assert shapes == [[(None, 8, 8, 4), (None, 8, 8, 4)], (None, 8, 8, 4)]

    def test_a_nested_model_can_be_counted_as_one_layer(self):
        class Backbone(keras.Model):
            pass

        x = keras.Input((8, 8, 4))
        cost = self.count(Backbone(x, layers.Conv2D(2, 1)(x), name="inner")(self.inputs), {Backbone: lambda *_: 7})
        assert (cost.multiply_adds, cost.total, cost.layers[-1].name) == (7, 4 * 2 + 2, "inner")

    @pytest.mark.parametrize(
        ("counters", "sentence"),
        [
            (
                {Mixing: lambda *_: 1.5},
                r"counter of Mixing failed: .*integer.*Received: mixing with shapes \(None",
            ),
            ({Mixing: lambda _layer: 1}, "counter of Mixing failed: .*takes .layer, input_shape, output_shape"),
            ({"Mixing": count_mixing}, "counters maps classes of layers to functions.*Received: 'Mixing'"),
        ],
    )
    def test_a_counter_that_cannot_work_is_reported(self, counters, sentence):
        with pytest.raises(SepnetsError, match=sentence):
            self.count(Mixing(name="mixing")(self.inputs), counters)


def test_nested_models_count_as_if_they_were_flat_and_at_the_outer_size():
    backbone = build_mobilenet(include_top=False, alpha=0.25)
    inputs = keras.Input((96, 64, 3))
    nested = keras.Model(inputs, layers.Dense(7)(layers.GlobalMaxPooling2D()(backbone(inputs))))
    flat = build_mobilenet(include_top=False, pooling="max", alpha=0.25, input_shape=(96, 64, 3))
    sequential = keras.Sequential(
        [keras.Input((96, 64, 3)), backbone, layers.GlobalMaxPooling2D(), layers.Dense(7)]
    )
    dense = 256 * 7
    for model in (nested, sequential):
        cost = count_cost(model)
        assert cost.multiply_adds == count_cost(flat).multiply_adds + dense
        assert cost.peak_activation_bytes == count_cost(flat).peak_activation_bytes
        assert (cost.total, cost.not_counted) == (model.count_params(), ())
    assert {layer.stage for layer in count_cost(nested).layers} > {"mobilenet/stem", "mobilenet/block13"}


def test_shared_layers_work_twice_but_have_their_parameters_once():
    shared = layers.Conv2D(4, 3, padding="same")
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, shared(shared(inputs)))
    cost = count_cost(model)
    assert cost.multiply_adds == 2 * 64 * 9 * 16
    assert cost.total == model.count_params()


def test_counting_at_another_size():
    model = build_mobilenet(alpha=0.25)
    smaller = count_cost(model, (128, 128, 3))
    assert (
        smaller.multiply_adds == count_cost(build_mobilenet(alpha=0.25, input_shape=(128, 128, 3))).multiply_adds
    )
    assert smaller.input_shape == (128, 128, 3)
    assert count_cost(model).input_shape == (224, 224, 3), "the model itself must not change"


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            lambda: build_mobilenet(include_top=False, alpha=0.25),
            r"input_shape, such as \(224, 224, 3\).*\(None, None, 3\)",
        ),
        (lambda: keras.Sequential([layers.Dense(3)]), "do not expose their graph"),
        (lambda: None, "do not expose their graph.*NoneType"),
    ],
)
def test_models_that_cannot_be_counted_are_refused(model, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        count_cost(model())


FLAT = [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]


@pytest.mark.parametrize(
    ("model", "shape", "sentence"),
    [
        (lambda: build_mobilenet(alpha=0.25), (224, 224, 1), "stem was built for 3 values, not 1"),
        (
            lambda: build_mobilenet(alpha=0.25),
            (224, 224),
            r"shape of one picture.*Received: input_shape=\(224, 224\)",
        ),
        (lambda: build_xception(alpha=0.1, middle_repeats=0), (4, 4, 3), "xception does not work on this input"),
        (lambda: keras.Sequential(FLAT), (16, 16, 3), "dense.* was built for 192 values, not 768"),
        (lambda: build_mobilenet(alpha=0.25), (-3, 8, 3), "shape of one picture"),
    ],
)
def test_sizes_at_which_a_model_does_not_work_are_refused(model, shape, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        count_cost(model(), shape)


def test_models_with_several_inputs_and_outputs():
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = layers.Add()([layers.Conv2D(4, 1)(left), layers.Conv2D(4, 1)(right)])
    cost = count_cost(keras.Model([left, right], {"a": x, "b": layers.GlobalMaxPooling2D()(x)}))
    assert cost.multiply_adds == 2 * 64 * 12
    assert cost.input_shape == ((8, 8, 3), (8, 8, 3))
    with pytest.raises(SepnetsError, match="shape of one picture"):
        count_cost(keras.Model([left, right], x), (4, 4, 3))


def test_a_fixed_batch_does_not_change_the_cost_of_a_picture():
    inputs = keras.Input(batch_shape=(8, 16, 16, 3))
    x = keras.ops.reshape(layers.Conv2D(4, 3)(inputs), (8, -1))
    cost = count_cost(keras.Model(inputs, layers.Dense(2)(x)))
    assert cost.multiply_adds == 14 * 14 * 9 * 3 * 4 + 14 * 14 * 4 * 2


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        "EfficientNetB0",
        "ResNet50",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("DenseNet121", "NASNetMobile")),
    ],
)
def test_every_layer_of_other_networks_is_known(name):
    model = getattr(keras.applications, name)(weights=None)
    cost = count_cost(model, (224, 224, 3))
    assert cost.not_counted == ()
    assert cost.total == model.count_params()


@pytest.mark.parametrize("trainable", [True, False])
def test_three_conventions(trainable):
    inputs = keras.Input((8, 8, 4))
    convolution = layers.Conv2D(2, 1, trainable=trainable)
    cost = count_cost(keras.Model(inputs, layers.BatchNormalization()(convolution(inputs))))
    assert (cost.without_bn, cost.trainable, cost.total) == (10, 14 if trainable else 4, 18)


def test_sums_by_type_and_stage_add_up_to_the_total():
    cost = count_cost(build_xception(alpha=0.25))
    for key in ("type", "stage"):
        groups = cost.by(key).values()
        assert sum(group.multiply_adds for group in groups) == cost.multiply_adds
        assert sum(group.total for group in groups) == cost.total
    stages = [f"block{number}" for number in range(1, 15)]
    assert list(cost.by("stage")) == ["image", "preprocessing", *stages, "avg_pool", "dropout", "predictions"]
    assert cost.by("type")["conv 3x3"].multiply_adds == 149 * 149 * 27 * 8 + 147 * 147 * 9 * 8 * 16


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("stem_bn", "stem"),
        ("block3_depthwise_bn", "block3"),
        ("block13_pointwise", "block13"),
        ("block_3_expand_BN", "block_3"),
        ("mixed10", "mixed10"),
        ("mixed9_tower2_2a_conv", "mixed9"),
        ("last_relu", "last"),
        ("avg_pool", "avg_pool"),
        ("conv2d_5", "conv2d_5"),
        ("block2a_expand_conv", "block2a"),
        ("global_average_pooling2d", "global_average_pooling2d"),
        ("backbone/block2_bn", "backbone/block2"),
    ],
)
def test_stage_is_what_a_name_begins_with(name, stage):
    assert stage_of(name) == stage


class TestPeak:
    """The most activations alive at once, of float32 values: 4 bytes each."""

    def test_a_chain_holds_a_layers_input_and_output(self):
        inputs = keras.Input((10, 10, 2))
        x = layers.Conv2D(8, 3, padding="same")(inputs)
        x = layers.Conv2D(4, 3, padding="same")(x)
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 4 * 100 * (8 + 4)

    def test_batch_norm_and_activation_overwrite_their_input(self):
        inputs = keras.Input((10, 10, 2))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1)(inputs)))
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 4 * 100 * (2 + 8)

    def test_unless_something_else_still_reads_their_input(self):
        inputs = keras.Input((10, 10, 2))
        x = layers.Conv2D(8, 1)(inputs)
        x = layers.Add()([x, layers.ReLU()(x)])
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 4 * 100 * (8 + 8 + 8)

    def test_a_shortcut_stays_alive_beside_the_path_around_it(self):
        inputs = keras.Input((10, 10, 4))
        x = layers.Conv2D(24, 1)(inputs)
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.Conv2D(4, 1)(x)
        with_shortcut = keras.Model(inputs, layers.Add()([x, inputs]))
        assert count_cost(with_shortcut).peak_activation_bytes == 4 * 100 * (4 + 24 + 24)
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 4 * 100 * (24 + 24)

    def test_an_output_that_nothing_reads_is_freed_at_once(self):
        inputs = keras.Input((10, 10, 4))
        half, _ = keras.ops.split(inputs, 2, axis=-1)
        x = layers.Conv2D(8, 1)(layers.Conv2D(4, 1)(half))
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 4 * 100 * (4 + 8)

    def test_bytes_converted_to_floats_need_memory(self):
        inputs = keras.Input((10, 10, 4), dtype="uint8")
        cost = count_cost(keras.Model(inputs, layers.Rescaling(1 / 255)(inputs)))
        assert cost.peak_activation_bytes == 4 * 100 * 4

    def test_half_precision_takes_half(self):
        inputs = keras.Input((10, 10, 2), dtype="float16")
        x = layers.Conv2D(8, 1, dtype="mixed_float16")(inputs)
        assert count_cost(keras.Model(inputs, x)).peak_activation_bytes == 2 * 100 * (2 + 8)

    def test_agrees_with_memory_replayed_by_hand_for_mobilenet(self):
        """The largest step of MobileNet 1.0 at 224 px pads the 112x112 map of 64 channels to 113x113."""
        assert count_cost(build_mobilenet()).peak_activation_bytes == 4 * 64 * (112**2 + 113**2)


def test_json_has_the_documented_keys():
    content = count_cost(build_mobilenet(alpha=0.25)).to_json()
    assert {"multiply_adds", "parameters", "by_type", "by_stage", "layers", "not_counted"} <= content.keys()
    assert content["parameters"] == {"total": 475_544, "trainable": 470_072, "without_bn": 464_600}
    assert content["layers"][2]["output_shape"] == [112, 112, 8]
