"""Initial weights that depend only on a seed and a layer's name, so that variants of a network can be paired."""

import hashlib

import keras


def initialize_by_name(model: keras.Model, seed: int) -> None:
    """Redraw every kernel and dropout seed of `model` from (seed, layer name), with the layer's own initializer.

    Two networks that share a layer (name and shape) then start with the same weights in it, whatever else they
    contain. Keras' own seeding depends on how many layers were created before.
    """
    for layer in model.layers:
        layer_seed = int.from_bytes(hashlib.sha256(f"{seed}/{layer.name}".encode()).digest()[:4], "big") >> 1
        if isinstance(layer, keras.layers.Dropout):
            if layer.rate > 0:
                layer.seed_generator.state.assign([layer_seed, 0])
        elif getattr(layer, "kernel", None) is not None:
            name = "depthwise_initializer" if hasattr(layer, "depthwise_initializer") else "kernel_initializer"
            initializer = getattr(layer, name)
            initializer = type(initializer).from_config({**initializer.get_config(), "seed": layer_seed})
            layer.kernel.assign(initializer(layer.kernel.shape, dtype=layer.kernel.dtype))
