"""The twin of a network computes what the network does: outputs, gradients, moving statistics."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from short_networks import short_networks
from warm import run_code

from keras_sepnets import (
    SepnetsError,
    build_inception_v3,
    build_mobilenet,
    build_mobilenet_v2,
    build_xception,
    evaluate,
    train,
)
from keras_sepnets.acceleration.fused_layers import rectify
from keras_sepnets.acceleration.twin import FusedAdamW, accelerate
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.optimization import decayed_variables
from keras_sepnets.training.phases import freeze
from keras_sepnets.training.plan import make_plan


def short(build):
    """Return a builder of a network of a few blocks, which has every kind of block that the whole one has."""

    def build_short(size):
        with short_networks():
            return build(size)

    return build_short


NETWORKS = {
    "mobilenet": short(
        lambda size: build_mobilenet(alpha=0.25, input_shape=(size, size, 3), classes=5, dropout=0.0)
    ),
    "conv mobilenet": short(
        lambda size: build_mobilenet(
            alpha=0.125, input_shape=(size, size, 3), classes=5, dropout=0.0, separable=False
        )
    ),
    "mobilenet_v2": short(lambda size: build_mobilenet_v2(alpha=0.35, input_shape=(size, size, 3), classes=5)),
    "xception": short(
        lambda size: build_xception(
            alpha=0.25, input_shape=(size, size, 3), classes=5, dropout=0.0, middle_repeats=1
        )
    ),
    "inception_v3": short(
        lambda size: build_inception_v3(alpha=0.125, input_shape=(size, size, 3), classes=5, dropout=0.0)
    ),
}
NAMES = [pytest.param(name, marks=pytest.mark.long) if name == "inception_v3" else name for name in NETWORKS]


@contextlib.contextmanager
def floatx(name):
    before = keras.config.floatx()
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def smooth(model):
    """A network without the corners of ReLUs and maxima, at which rounding can flip a gradient."""

    def replace(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation("softplus", name=layer.name)
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D.from_config(layer.get_config())
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=replace)


def varied(model):
    """Give scales, offsets and statistics values as after some training, so that none is trivial."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return model


def step(model, pictures, labels):
    """The loss, the gradient of every trained variable, and all variables after a step of training."""
    before = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        probabilities = model(pictures, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    after = {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    for variable, value in before:
        variable.assign(value)
    return (
        loss.numpy(),
        {v.path: g.numpy() for v, g in zip(model.trainable_variables, gradients, strict=True)},
        after,
    )


def assert_equal_steps(model, twin, pictures, labels, tolerance):
    loss, gradients, statistics = step(model, pictures, labels)
    twin_loss, twin_gradients, twin_statistics = step(twin, pictures, labels)
    assert twin_loss == pytest.approx(loss, rel=tolerance)
    assert twin_gradients.keys() == gradients.keys()
    assert twin_statistics.keys() == statistics.keys()
    for found, expected in ((twin_gradients, gradients), (twin_statistics, statistics)):
        for path, values in expected.items():
            scale = max(np.abs(values).max(), 1e-3)
            np.testing.assert_allclose(found[path] / scale, values / scale, atol=tolerance, err_msg=path)


def batch(size, count, seed=0):
    random = np.random.default_rng(seed)
    return random.random((count, size, size, 3)) * 255, random.integers(0, 5, count)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "count"), [(96, 3), (81, 1)])
def test_in_float64_a_twin_is_equal(name, size, count):
    """Even and odd sizes, a batch of one; training, inference, and partly frozen."""
    with floatx("float64"):
        model = varied(NETWORKS[name](size))
        twin = accelerate(model)
        pictures, labels = batch(size, count)
        np.testing.assert_allclose(twin(pictures), model(pictures), rtol=1e-10)
        assert_equal_steps(model, twin, pictures, labels, 1e-10)
        for part in (model, twin):
            freeze(part, "block2" if "inception" not in name else "stem")
        assert_equal_steps(model, twin, pictures, labels, 1e-10)
        freeze(model, None)


@pytest.mark.parametrize("name", NAMES)
def test_in_float32_a_twin_is_near_the_float64_network(name):
    pictures, labels = batch(96, 8)
    with floatx("float64"):
        exact = varied(smooth(NETWORKS[name](96)))
        loss, gradients, statistics = step(exact, pictures, labels)
    model = smooth(NETWORKS[name](96))
    model.set_weights(exact.get_weights())
    for network in (model, accelerate(model)):
        found, found_gradients, found_statistics = step(network, pictures.astype(np.float32), labels)
        assert found == pytest.approx(loss, rel=1e-5)
        for path, values in statistics.items():
            np.testing.assert_allclose(found_statistics[path], values, rtol=1e-5, atol=1e-5, err_msg=path)
        error = sum(float(((found_gradients[path] - values) ** 2).sum()) for path, values in gradients.items())
        size = sum(float((values**2).sum()) for values in gradients.values())
        assert error < 2e-5**2 * size


def test_a_fused_batch_norm_is_that_of_a_float64_reference():
    """Outputs, gradients and moving statistics, with the biased variance that Keras averages."""
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (4, 5, 7, 6))
    results = {}
    for name in ("float64", "float32"):
        with floatx(name):
            inputs = keras.Input((5, 7, 6))
            model = varied(keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.7, name="bn")(inputs)))
            network = accelerate(model) if name == "float32" else model
            with tf.GradientTape() as tape:
                variable = tf.Variable(x.astype(name))
                y = network(variable, training=True)
                loss = tf.reduce_sum(y * tf.cast(tf.reshape(tf.range(tf.size(y)), tf.shape(y)) % 7, y.dtype))
            sources = [variable, *(part.value for part in network.trainable_variables)]
            results[name] = [y.numpy(), *(part.numpy() for part in tape.gradient(loss, sources))]
            results[name] += [part.numpy() for part in network.non_trainable_variables]
    for ours, reference in zip(results["float32"], results["float64"], strict=True):
        np.testing.assert_allclose(ours, reference, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("momentum", [0.5, 0.0])
def test_a_batch_of_one_pixel_has_no_variance(momentum):
    inputs = keras.Input((1, 1, 2))
    model = keras.Model(inputs, keras.layers.BatchNormalization(momentum=momentum, name="bn")(inputs))
    accelerate(model)(np.ones((1, 1, 1, 2), np.float32), training=True)
    np.testing.assert_allclose(model.get_layer("bn").moving_variance, [momentum, momentum])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_twin_shares_all_variables_and_leaves_no_trace(precision, tmp_path):
    model = NETWORKS["mobilenet"](32)
    twin = accelerate(model, precision)
    assert [id(variable) for variable in twin.variables] == [id(variable) for variable in model.variables]
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_near(name):
    """Outputs, and the moving statistics after a step."""
    model = varied(NETWORKS[name](96))
    twin = accelerate(model, "bfloat16")
    pictures, labels = batch(96, 8)
    near, exact = (network(pictures).numpy() for network in (twin, model))
    assert np.abs(near - exact).mean() < 0.05  # of probabilities
    assert not np.array_equal(near, exact)
    statistics, expected = (step(network, pictures, labels)[2] for network in (twin, model))
    for path, values in expected.items():
        np.testing.assert_allclose(statistics[path], values, rtol=0.05, atol=0.05, err_msg=path)


@pytest.mark.parametrize("highest", [6.0, float("inf")])
@pytest.mark.parametrize(("source", "result"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_a_rectifier_is_that_of_tensorflow(highest, source, result):
    x = tf.cast(tf.reshape(tf.linspace(-10.0, 10.0, 96), [2, 3, 4, 4]), source)
    weights = tf.cast(tf.reshape(tf.range(96), x.shape), result)
    expected = tf.nn.relu6 if highest == 6 else tf.nn.relu
    values = []
    for rectified in (lambda x: rectify(x, highest, tf.as_dtype(result)), lambda x: tf.cast(expected(x), result)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = rectified(x)
            loss = tf.reduce_sum(y * weights)
        values.append((y, tape.gradient(loss, x)))
    for ours, theirs in zip(*values, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.long
def test_bfloat16_trains():
    twin = accelerate(NETWORKS["mobilenet"](64), "bfloat16")
    pictures, labels = batch(64, 8)
    twin.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    losses = [twin.train_on_batch(pictures, labels) for _ in range(12)]
    assert losses[-1] < losses[0] / 2
    assert {variable.dtype for variable in twin.trainable_variables} == {"float32"}


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.long)])
def test_a_twin_compiled_by_xla_computes_the_same(precision):
    """As GPUs may train it; 24 channels are widened in bfloat16."""
    pictures, labels = batch(16, 8)
    found = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        x = inputs = keras.Input((16, 16, 3))
        for filters in (32, 24):
            x = keras.layers.Conv2D(filters, 1, strides=2, use_bias=False)(x)
            x = keras.layers.BatchNormalization(momentum=0.5)(x)
            x = keras.layers.ReLU(6.0)(x)
        x = keras.layers.Conv2D(8, 1, use_bias=False)(x)
        outputs = keras.layers.Dense(5, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
        network = keras.Model(inputs, outputs)
        twin = accelerate(network, precision)
        # With a large epsilon, steps follow the gradients and not only their signs, which rounding can flip.
        optimizer = FusedAdamW(0.01, epsilon=0.1)
        twin.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=jit_compile)
        losses = [twin.train_on_batch(pictures, labels) for _ in range(2)]
        statistics = [variable.numpy() for variable in network.non_trainable_variables]
        found.append([*losses, twin.test_on_batch(pictures, labels), *statistics])
    tolerance = {"float32": 1e-4, "bfloat16": 2e-2}[precision]
    for plain, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=tolerance, atol=tolerance)


def test_only_paddings_of_even_sizes_are_left_to_the_convolution():
    even, odd = (accelerate(NETWORKS["mobilenet"](size)) for size in (96, 93))
    assert type(even.get_layer("block2_pad")).__name__ == "Nothing"
    assert type(odd.get_layer("block2_pad")).__name__ == "ZeroPadding2D"


def test_channels_are_added_where_every_layer_that_reads_them_can_drop_them():
    model = build_xception(alpha=0.125, input_shape=(96, 96, 3), classes=5, middle_repeats=1)
    twin = accelerate(model, "bfloat16")
    twin.compile("sgd", "sparse_categorical_crossentropy")
    twin.test_on_batch(*batch(96, 2))  # on which TensorFlow's inference fusions once aborted
    channels = {layer.name: layer.output.shape[-1] for layer in twin.layers}
    assert model.get_layer("block5_sepconv1_bn").output.shape[-1] == 91
    wide = ("block5_sepconv1_depthwise", "block5_sepconv1_bn", "block6_sepconv1_depthwise")
    assert {channels[name] for name in wide} == {96}
    assert {channels[name] for name in ("block1_conv1", "block6_sepconv2_bn")} == {4, 128}
    for alpha in (0.125, 0.6):  # at .6 a split reads 38 channels
        segments = build_xception(
            alpha=alpha, input_shape=(96, 96, 3), classes=5, middle_repeats=0, segments=2, include_top=False
        )
        twin = accelerate(segments, "bfloat16")  # its concatenations cannot drop channels
        assert [layer.output.shape for layer in twin.layers] == [layer.output.shape for layer in segments.layers]
        assert twin.output.dtype == "float32"


def test_unknown_precisions_are_refused():
    model = NETWORKS["mobilenet"](32)
    with pytest.raises(SepnetsError, match="precision is float32 or bfloat16"):
        accelerate(model, "float16")


@pytest.mark.usefixtures("_short_networks")
def test_an_accelerated_run_saves_a_network_of_stock_layers(tiny_config, tmp_path):
    training = tiny_config.training.model_copy(update={"accelerate": "on", "ema_momentum": 0.9})
    result = train(tiny_config.model_copy(update={"training": training}), output=tmp_path / "run")
    network = result.run.load_model()
    assert {type(layer).__module__.split(".")[0] for layer in network.layers} == {"keras"}
    (row,) = result.run.read_history()
    validation = evaluate(result.run, "validation")
    assert validation.loss == pytest.approx(row["val_loss"], rel=1e-4)


REPLICAS = """
import keras, numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
from keras_sepnets import build_mobilenet
from keras_sepnets.acceleration.twin import accelerate
from short_networks import short_networks

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
pictures, labels = np.random.default_rng(0).random((8, 32, 32, 3), np.float32) * 255, np.arange(8) % 5
results = []
for form in (lambda model: model, accelerate):
    keras.utils.set_random_seed(0)
    with strategy.scope(), short_networks():
        network = build_mobilenet(
            alpha=0.125, input_shape=(32, 32, 3), classes=5, dropout=0.0, bn_momentum=0.5
        )
        trained = form(network)
        trained.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    history = trained.fit(tf.data.Dataset.from_tensors((pictures, labels)), verbose=0).history
    results.append([history["loss"], *(variable.numpy() for variable in network.variables)])
for stock, twin in zip(*results, strict=True):
    np.testing.assert_allclose(twin, stock, rtol=1e-3, atol=1e-3)
"""


@pytest.mark.long
def test_a_twin_trains_on_replicas_as_the_network_does():
    done = run_code(REPLICAS)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_fused_adamw_is_keras():
    """Equal up to float32 constants (1 - .999), with decay, clipping and averages; same variables and names."""
    variables = []
    for kind in (keras.optimizers.AdamW, FusedAdamW):
        mine = [
            keras.Variable(np.linspace(-1, 1, 6).reshape(shape), name="v", dtype="float32")
            for shape in ((2, 3), (6,))
        ]
        optimizer = kind(
            keras.optimizers.schedules.CosineDecay(0.1, 30),
            weight_decay=0.05,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=0.9,
        )
        optimizer.build(mine)
        optimizer.exclude_from_weight_decay(var_list=mine[1:])
        random = np.random.default_rng(0)
        apply = tf.function(optimizer.apply)
        for _ in range(20):
            apply([tf.constant(random.normal(0, 1, part.shape), part.dtype) for part in mine])
        variables.append([*mine, *optimizer.variables])
    keras_variables, ours = variables
    assert [variable.path for variable in ours] == [variable.path for variable in keras_variables]
    for one, other in zip(ours, keras_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5, err_msg=one.path)


def test_weight_decay_of_a_twin_is_that_of_the_network():
    model = NETWORKS["conv mobilenet"](96)
    for network in (model, NETWORKS["mobilenet_v2"](96)):
        names = [variable.path for variable in decayed_variables(network)]
        for precision in ("float32", "bfloat16"):
            twin = accelerate(network, precision)
            assert [variable.path for variable in decayed_variables(twin)] == names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"training.precision": "bfloat16", "training.accelerate": "off"},
            "Only an accelerated network multiplies in bfloat16",
        ),
        (
            {"training.precision": "mixed_float16", "training.accelerate": "on"},
            "An accelerated network trains in float32 or bfloat16",
        ),
    ],
)
def test_precisions_that_do_not_fit_are_refused(options, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        make_plan(load_config(options=options))
