"""Compares a network with an independent implementation that has the same weights."""

import contextlib

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format  # the only writer of Keras 2's weight files in Keras 3


def randomize(model: keras.Model, seed: int) -> None:
    """Randomize batch norm's weights and statistics, and scale kernels so that signals reach the end."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if variable.name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            depthwise = variable.name == "depthwise_kernel" or variable.shape[-1] == 1
            fan_in = np.prod(variable.shape[:2] if depthwise else variable.shape[:-1])
            variable.assign(random.normal(0, np.sqrt(2 / fan_in), variable.shape))
    ranges = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.2, 0.2), "moving_variance": (0.5, 1.5)}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                variable.assign(random.uniform(*ranges[variable.name], variable.shape))


@contextlib.contextmanager
def double_precision():
    """Build models in float64, so that rounding neither hides a difference nor looks like one."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def copy_weights(source: keras.Model, target: keras.Model, names: dict[str, list[str]]) -> None:
    """Copy the weights of each layer of `source` to the layers of `target` that divide them among themselves."""
    for name, targets in names.items():
        weights = source.get_layer(name).get_weights()
        for target_name in targets:
            variables = target.get_layer(target_name).weights
            target.get_layer(target_name).set_weights(
                [weights.pop(0).reshape(variable.shape) for variable in variables]
            )
        assert not weights
    with_weights = {layer.name for layer in target.layers if layer.weights}
    assert with_weights == {name for targets in names.values() for name in targets}


def assert_same_outputs(ours: keras.Model, reference: keras.Model, size: int, precision: float = 1e-5) -> None:
    """Raise AssertionError unless both give the same outputs to `precision` for random pixels."""
    pixels = np.random.default_rng(7).uniform(0, 255, (2, size, size, 3)).astype(ours.dtype)
    # Called eagerly: predict would trace both networks first, which takes ten times as long.
    expected = keras.ops.convert_to_numpy(reference(pixels / 127.5 - 1, training=False))
    actual = keras.ops.convert_to_numpy(ours(pixels, training=False))
    assert actual.shape == expected.shape
    assert np.std(expected) > 1e-3, "outputs that do not vary prove nothing"
    tolerance = precision * max(1, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def write_legacy(model, path, *, old_names=False):
    """Write Keras 2's weights-only file, optionally with other layer names than today's."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        if old_names:
            names = [*file.attrs["layer_names"]]
            for name in names:
                file.move(name, f"old_{name}")
            file.attrs["layer_names"] = [f"old_{name}".encode() for name in names]
