"""The networks by name, and a network from its settings."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_sepnets.config import ModelConfig
from keras_sepnets.models import inception_v3, mobilenet, mobilenet_v2, xception
from keras_sepnets.models.initialization import initialize_by_name


class Network(NamedTuple):
    """A builder, the sizes that its paper and its arithmetic give, and the paper."""

    build: Callable[..., keras.Model]
    default_size: int  # px, of the paper
    minimum_size: int  # px, below which a layer has no output
    source: str


NETWORKS = {
    "mobilenet": Network(
        mobilenet.build_mobilenet,
        mobilenet.DEFAULT_SIZE,
        mobilenet.MINIMUM_SIZE,
        "Howard et al. 2017, arXiv:1704.04861, Table 1",
    ),
    "mobilenet_v2": Network(
        mobilenet_v2.build_mobilenet_v2,
        mobilenet_v2.DEFAULT_SIZE,
        mobilenet_v2.MINIMUM_SIZE,
        "Sandler et al. 2018, arXiv:1801.04381, Table 2",
    ),
    "xception": Network(
        xception.build_xception,
        xception.DEFAULT_SIZE,
        xception.MINIMUM_SIZE,
        "Chollet 2017, arXiv:1610.02357, Figure 5",
    ),
    "inception_v3": Network(
        inception_v3.build_inception_v3,
        inception_v3.DEFAULT_SIZE,
        inception_v3.MINIMUM_SIZE,
        "Szegedy et al. 2016, arXiv:1512.00567, Table 1",
    ),
}


def build_network(config: ModelConfig, *, image_size: int, classes: int, seed: int | None) -> keras.Model:
    """Return the network of `config` for RGB pictures.

    Args:
        config: The network's name and settings; `bn_momentum` None means the builder's default.
        image_size: Height and width in pixels.
        classes: Number of classes.
        seed: Of the weights, which depend on it and the layers' names only, so that layers of one name agree
            across variants; None where weights do not matter.
    """
    settings = config.model_dump(exclude={"name"})
    if settings["bn_momentum"] is None:
        del settings["bn_momentum"]
    network = NETWORKS[config.name]
    model = network.build(input_shape=(image_size, image_size, 3), classes=classes, **settings)
    if seed is not None:
        initialize_by_name(model, seed)
    return model
