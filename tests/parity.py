"""Comparison of a network with an independent implementation that has been given the same weights."""

import keras
import numpy as np


def randomize(model: keras.Model, seed: int) -> None:
    """Give batch norm random weights and statistics, and kernels a size that keeps signals alive to the end."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if variable.name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            depthwise = variable.name == "depthwise_kernel" or variable.shape[-1] == 1
            fan_in = np.prod(variable.shape[:2] if depthwise else variable.shape[:-1])
            variable.assign(random.normal(0, np.sqrt(2 / fan_in), variable.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.2, 0.2), (0.5, 1.5))  # gamma, beta, mean, variance
            layer.set_weights([random.uniform(*bounds, size) for bounds in ranges])


def copy_weights(source: keras.Model, target: keras.Model, names: dict[str, list[str]]) -> None:
    """Copy the weights of each layer of `source` to the layers of `target` that share them among themselves."""
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


def assert_same_outputs(ours: keras.Model, reference: keras.Model, size: int) -> None:
    """Raise AssertionError unless both give the same outputs to 1e-5 for random pixels."""
    pixels = np.random.default_rng(7).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    expected = reference.predict_on_batch(pixels / 127.5 - 1)
    actual = ours.predict_on_batch(pixels)
    assert actual.shape == expected.shape
    assert np.std(expected) > 1e-3, "outputs that do not vary prove nothing"
    tolerance = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
