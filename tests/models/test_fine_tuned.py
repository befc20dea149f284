"""Files of people's own fine-tuned networks: a backbone of keras.applications with a head of their own."""

import functools
from contextlib import ExitStack

import keras
import numpy as np
import pytest
from keras import layers
from parity import randomize, write_legacy

from keras_sepnets import build_mobilenet, build_mobilenet_v2, build_xception
from keras_sepnets.models import mobilenet, mobilenet_v2, xception
from keras_sepnets.models.matching import match_layers, values_of
from keras_sepnets.models.weight_files import read_layers

SIZE = (32, 32, 3)
NETWORKS = {
    "mobilenet": (keras.applications.MobileNet, build_mobilenet, 0.25, mobilenet.PUBLISHED),
    "mobilenet_v2": (keras.applications.MobileNetV2, build_mobilenet_v2, 0.35, mobilenet_v2.PUBLISHED),
}
HEADS = {
    "dense": lambda: [layers.Dense(3, activation="softmax")],
    "two": lambda: [
        layers.Dense(3, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(3, activation="softmax"),
    ],
    "bn": lambda: [layers.BatchNormalization(), layers.Dense(3, activation="softmax")],
}
SUFFIXES = (".keras", ".h5", ".weights.h5")


def sequential(base, pooling, head):
    return keras.Sequential([keras.Input(SIZE), layers.RandomFlip(), base, pooling, *head])


def functional(base, pooling, head):
    inputs = keras.Input(SIZE)
    x = base(inputs / 127.5 - 1, training=False)
    for layer in (pooling, *head):
        x = layer(x)
    return keras.Model(inputs, x)


def flat(base, pooling, head):
    x = base.output
    for layer in (pooling, *head):
        x = layer(x)
    return keras.Model(base.input, x)


class Subclass(keras.Model):
    def __init__(self, base, pooling, head):
        super().__init__()
        self.base, self.pooling, self.head = base, pooling, head

    def call(self, x):
        x = self.pooling(self.base(x))
        for layer in self.head:
            x = layer(x)
        return x


@functools.cache
def make(name):
    """Return a backbone of keras.applications, ours with three classes, and the published layers."""
    theirs, ours, alpha, published = NETWORKS[name]
    base = theirs(input_shape=SIZE, include_top=False, weights=None, alpha=alpha)
    randomize(base, seed=3)
    return base, ours(input_shape=SIZE, classes=3, alpha=alpha), published


@pytest.fixture
def network():
    return make("mobilenet")


def save(model, folder, suffix):
    path = folder / f"tuned{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    return path


def match_file(path, ours, published):
    """Return how a file fills our network, and with which values."""
    with ExitStack() as stack:
        match = match_layers(ours, read_layers(path, stack), published)
        return match, values_of(ours, match)


def assert_has_backbone(match, values, base):
    assert match.misfit is None
    found = [array for name, arrays in values.items() if name != "predictions" for array in arrays]
    for ours, theirs in zip(found, base.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "shape"), [("mobilenet", sequential), ("mobilenet", flat), ("mobilenet_v2", functional)]
)
@pytest.mark.parametrize("head", HEADS)
def test_the_backbone_is_taken_and_the_classifier_only_if_it_is_the_whole_head(
    name, shape, head, suffix, tmp_path
):
    base, ours, published = make(name)
    model = shape(base, layers.GlobalAveragePooling2D(), HEADS[head]())
    match, values = match_file(save(model, tmp_path, suffix), ours, published)
    assert_has_backbone(match, values, base)
    if head == "dense":
        assert (match.fresh, match.unused) == ((), ())
        for ours, theirs in zip(values["predictions"], model.layers[-1].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    else:
        assert match.fresh == ("predictions",)
        assert len(match.unused) == 2


@pytest.mark.parametrize("frozen", [1.0, 0.6])
@pytest.mark.parametrize("shape", [sequential, flat])
def test_frozen_layers_change_the_order_of_variables_in_keras_2_files(network, shape, frozen, tmp_path):
    base, ours, published = network
    for layer in base.layers[: int(frozen * len(base.layers))]:
        layer.trainable = False
    try:
        path = save(shape(base, layers.GlobalAveragePooling2D(), HEADS["dense"]()), tmp_path, ".h5")
    finally:
        for layer in base.layers:
            layer.trainable = True
    match, values = match_file(path, ours, published)
    assert_has_backbone(match, values, base)
    assert match.fresh == ()


def test_weights_alone_of_a_nested_model_in_keras_2s_format(network, tmp_path):
    base, ours, published = network
    write_legacy(sequential(base, layers.GlobalAveragePooling2D(), HEADS["bn"]()), tmp_path / "weights.h5")
    match, values = match_file(tmp_path / "weights.h5", ours, published)
    assert_has_backbone(match, values, base)
    assert match.fresh == ("predictions",)


@pytest.mark.long
def test_a_subclassed_model_and_one_that_was_trained(network, tmp_path):
    base, ours, published = network
    model = Subclass(base, layers.GlobalAveragePooling2D(), HEADS["dense"]())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(np.zeros((2, *SIZE), "float32"), np.zeros(2))
    match, values = match_file(save(model, tmp_path, ".weights.h5"), ours, published)
    assert_has_backbone(match, values, base)
    assert match.fresh == ()


def test_layers_before_the_backbone_are_part_of_what_the_classifier_needs(network, tmp_path):
    base, ours, published = network
    normalization = layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 2, 3])
    for first in (normalization, layers.BatchNormalization(), layers.Conv2D(3, 3, padding="same", use_bias=False)):
        model = keras.Sequential(
            [keras.Input(SIZE), first, base, layers.GlobalAveragePooling2D(), *HEADS["dense"]()]
        )
        for suffix in SUFFIXES:
            match, values = match_file(save(model, tmp_path, suffix), ours, published)
            assert_has_backbone(match, values, base)
            assert (match.fresh == ()) == (not first.weights)


OTHER_FUNCTIONS = {
    "maximum": (layers.GlobalMaxPooling2D, lambda: [layers.Dense(3, activation="softmax")], SUFFIXES),
    "another function": (
        layers.GlobalAveragePooling2D,
        lambda: [layers.LeakyReLU(), layers.Dense(3, activation="softmax"), layers.UnitNormalization()],
        SUFFIXES,
    ),
    "sigmoid": (layers.GlobalAveragePooling2D, lambda: [layers.Dense(3, activation="sigmoid")], SUFFIXES[:2]),
    "logits": (layers.GlobalAveragePooling2D, lambda: [layers.Dense(3)], SUFFIXES[:2]),
    "tanh": (
        layers.GlobalAveragePooling2D,
        lambda: [layers.Activation("tanh"), layers.Dense(3, activation="softmax")],
        SUFFIXES[:2],
    ),
}


@pytest.mark.parametrize("name", OTHER_FUNCTIONS)
def test_a_classifier_of_another_function_stays_fresh(network, name, tmp_path):
    base, ours, published = network
    pooling, head, suffixes = OTHER_FUNCTIONS[name]
    for suffix in suffixes:
        match, values = match_file(save(sequential(base, pooling(), head()), tmp_path, suffix), ours, published)
        assert_has_backbone(match, values, base)
        assert match.fresh == ("predictions",)


def test_harmless_layers_leave_the_classifier_as_it_is(network, tmp_path):
    base, ours, published = network
    head = [layers.Dropout(0.1), layers.Flatten(), layers.Dense(3), layers.Softmax()]
    for suffix in SUFFIXES:
        model = sequential(base, layers.GlobalAveragePooling2D(), head)
        match, values = match_file(save(model, tmp_path, suffix), ours, published)
        assert_has_backbone(match, values, base)
        assert match.fresh == ()


def test_logits_are_taken_where_logits_are_asked_for(network, tmp_path):
    base, ours, _ = network
    _, build, alpha, _ = NETWORKS[ours.name]
    path = save(sequential(base, layers.GlobalAveragePooling2D(), HEADS["dense"]()), tmp_path, ".keras")
    model = build(input_shape=SIZE, classes=3, alpha=alpha, classifier_activation=None, weights=path)
    assert model.load_report.fresh == ()


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_xception_of_keras_applications(suffix, tmp_path):
    base = keras.applications.Xception(weights=None, include_top=False, input_shape=(71, 71, 3))
    model = keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")])
    ours = build_xception(input_shape=(71, 71, 3), classes=2)
    match, values = match_file(save(model, tmp_path, suffix), ours, xception.PUBLISHED)
    assert (match.misfit, match.fresh, match.unused) == (None, (), ())
    total = sum(array.size for arrays in values.values() for array in arrays)
    assert total == model.count_params()
