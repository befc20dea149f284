"""Initial weights that depend only on a seed and a layer's name, so that variants of a network can be paired."""

import hashlib

import keras


def initialize_by_name(model: keras.Model, seed: int, *, dropout_seed: int | None = None) -> None:
    """Redraw every kernel and dropout seed of `model` from (seed, layer name), with the layer's own initializer.

    Two networks that share a layer (name and shape) then start with the same weights in it, whatever else they
    contain. Keras' own seeding depends on how many layers were created before. `dropout_seed` takes the place of
    `seed` for dropout.
    """
    for layer in model.layers:
        layer_seed = _seed_of_layer(seed, layer.name)
        if isinstance(layer, keras.layers.Dropout):
            if layer.rate > 0:
                own_seed = layer_seed if dropout_seed is None else _seed_of_layer(dropout_seed, layer.name)
                layer.seed_generator.state.assign([own_seed, 0])
        elif getattr(layer, "kernel", None) is not None:
            name = "depthwise_initializer" if hasattr(layer, "depthwise_initializer") else "kernel_initializer"
            initializer = getattr(layer, name)
            initializer = type(initializer).from_config({**initializer.get_config(), "seed": layer_seed})
            layer.kernel.assign(initializer(layer.kernel.shape, dtype=layer.kernel.dtype))


def _seed_of_layer(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
