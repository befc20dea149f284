"""The networks by name, and a network from its settings."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_sepnets.config import ModelConfig
from keras_sepnets.models import mobilenet, xception
from keras_sepnets.models.initialization import initialize_by_name


class Network(NamedTuple):
    """A builder and the sizes that its paper and its arithmetic give."""

    build: Callable[..., keras.Model]
    default_size: int  # px, of the paper
    minimum_size: int  # px, below which a layer has no output


NETWORKS = {
    "mobilenet": Network(mobilenet.build_mobilenet, mobilenet.DEFAULT_SIZE, mobilenet.MINIMUM_SIZE),
    "xception": Network(xception.build_xception, xception.DEFAULT_SIZE, xception.MINIMUM_SIZE),
}


def build_network(config: ModelConfig, *, image_size: int, classes: int, seed: int) -> keras.Model:
    """Return the network of `config` for RGB pictures, initialized from `seed` and the layers' names.

    Args:
        config: The network's name and settings; `bn_momentum` None means the builder's default.
        image_size: Height and width in pixels.
        classes: Number of classes.
        seed: The same seed gives the same weights; layers of one name agree across variants.
    """
    settings = config.model_dump(exclude={"name"}, exclude_none=True)
    network = NETWORKS[config.name]
    model = network.build(input_shape=(image_size, image_size, 3), classes=classes, **settings)
    initialize_by_name(model, seed)
    return model
