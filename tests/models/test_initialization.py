import re

import keras
import numpy as np

from keras_sepnets.models.registry import build_network
from keras_sepnets.settings.schema import MobileNetConfig, XceptionConfig

SMALL = {"alpha": 0.125, "middle_repeats": 1}


def build(seed, **options):
    return build_network(XceptionConfig(**SMALL, **options), image_size=32, classes=3, seed=seed)


def weights(model):
    return {
        re.sub(r"seed_generator_\d+", "seed_generator", variable.path): keras.ops.convert_to_numpy(variable)
        for variable in model.variables
    }


def test_variants_share_the_weights_of_layers_of_one_name():
    plain, relu, flat = weights(build(0)), weights(build(0, intermediate_activation="relu")), None
    assert plain.keys() == relu.keys()
    assert all(np.array_equal(plain[path], relu[path]) for path in plain)
    flat = weights(build(0, residual=False))
    assert set(flat) < set(plain)
    assert all(np.array_equal(plain[path], flat[path]) for path in flat)


def test_seed_changes_every_kernel_and_dropout():
    first, second = weights(build(0)), weights(build(1))
    changed = {path for path in first if not np.array_equal(first[path], second[path])}
    kernels = {path for path in first if path.endswith("kernel") or "seed_generator" in path}
    assert changed == kernels
    assert len(kernels) > 20


def test_dropout_can_have_a_seed_of_its_own():
    def drawn(dropout_seed):
        config = XceptionConfig(**SMALL)
        return weights(build_network(config, image_size=32, classes=3, seed=1, dropout_seed=dropout_seed))

    first, *others = map(drawn, (None, 1, 2))
    changed = [{path for path in first if not np.array_equal(first[path], other[path])} for other in others]
    assert not changed[0]
    assert changed[1] == {path for path in first if "seed_generator" in path}


def test_layers_of_one_shape_start_differently():
    model = build_network(MobileNetConfig(alpha=0.25), image_size=32, classes=3, seed=0)
    one, other = (model.get_layer(f"block{n}_pointwise").kernel.numpy() for n in (7, 8))
    assert one.shape == other.shape
    assert not np.allclose(one, other)


def test_values_have_the_spread_of_the_layers_initializer():
    kernel = build(0).get_layer("block5_sepconv1_pointwise").kernel.numpy()
    limit = np.sqrt(6 / (kernel.shape[2] + kernel.shape[3]))  # Glorot uniform
    assert np.abs(kernel).max() <= limit
    assert np.isclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
