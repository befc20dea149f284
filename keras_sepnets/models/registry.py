"""The networks by name, and building a network from its settings."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from keras_sepnets.base.machine import without_values
from keras_sepnets.models import inception_v3, mobilenet, mobilenet_v2, xception
from keras_sepnets.models.alpha import scale_filters
from keras_sepnets.models.initialization import initialize_by_name
from keras_sepnets.models.weights import Published, load_weights
from keras_sepnets.settings.schema import ModelConfig


def _scaled(alpha: float, *, layer: str, filters: int) -> int:
    return scale_filters(filters, alpha)


def _no_flows(stages: Sequence[str]) -> dict[str, str]:
    return {}


class Network(NamedTuple):
    """A builder with its paper, picture sizes and published weights."""

    build: Callable[..., keras.Model]
    default_size: int  # px, as in the paper
    minimum_size: int  # px; below that, a layer has no output
    source: str
    published: Published
    # Returns the last stage of each part that spans several of the given stages.
    flows: Callable[[Sequence[str]], dict[str, str]] = _no_flows
    # (alpha, layer, its filters at alpha 1) -> the filters of the layer; not for spatial convolutions in Xception.
    filters_at: Callable[..., int] = _scaled


NETWORKS = {
    "mobilenet": Network(
        mobilenet.build_mobilenet,
        mobilenet.DEFAULT_SIZE,
        mobilenet.MINIMUM_SIZE,
        "Howard et al. 2017, arXiv:1704.04861, Table 1",
        mobilenet.PUBLISHED,
    ),
    "mobilenet_v2": Network(
        mobilenet_v2.build_mobilenet_v2,
        mobilenet_v2.DEFAULT_SIZE,
        mobilenet_v2.MINIMUM_SIZE,
        "Sandler et al. 2018, arXiv:1801.04381, Table 2",
        mobilenet_v2.PUBLISHED,
        filters_at=mobilenet_v2.filters_at,
    ),
    "xception": Network(
        xception.build_xception,
        xception.DEFAULT_SIZE,
        xception.MINIMUM_SIZE,
        "Chollet 2017, arXiv:1610.02357, Figure 5",
        xception.PUBLISHED,
        xception.flows,
    ),
    "inception_v3": Network(
        inception_v3.build_inception_v3,
        inception_v3.DEFAULT_SIZE,
        inception_v3.MINIMUM_SIZE,
        "Szegedy et al. 2016, arXiv:1512.00567, Table 1",
        inception_v3.PUBLISHED,
    ),
}


@functools.lru_cache(maxsize=64)  # the runs of an ablation share a few networks
def build_shapes(config: ModelConfig, image_size: int | None = None) -> keras.Model:
    """Return the network of `config`, for two classes, with layers and shapes but no values.

    TensorFlow keeps the number of threads that it starts with, and making variables starts it; here it does not
    start.

    Args:
        config: The network's name and settings.
        image_size: Height and width in pixels; by default the paper's.
    """
    with without_values():
        return build_network(
            config, image_size=image_size or NETWORKS[config.name].default_size, classes=2, seed=None
        )


def build_network(
    config: ModelConfig,
    *,
    image_size: int,
    classes: int,
    seed: int | None,
    dropout_seed: int | None = None,
    weights: str | None = None,
    dtype_policy: str = "float32",
) -> keras.Model:
    """Return the network of `config` for RGB pictures.

    Args:
        config: The network's name and settings; `bn_momentum` None means the builder's default.
        image_size: Height and width in pixels.
        classes: Number of classes.
        seed: Seed of the initial weights, which depend only on it and the layers' names, so that layers of the
            same name agree across variants; None where the weights do not matter.
        dropout_seed: Seed of dropout; None for the same.
        weights: Weights to load afterwards, see `load_weights`; `model.load_report` lists what was loaded.
        dtype_policy: Keras dtype policy, such as "mixed_bfloat16"; the classifier is always float32.
    """
    settings = config.model_dump(exclude={"name"})
    if settings["bn_momentum"] is None:
        del settings["bn_momentum"]
    network = NETWORKS[config.name]
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(before if dtype_policy == "float32" else dtype_policy)
        model = network.build(input_shape=(image_size, image_size, 3), classes=classes, **settings)
    finally:
        keras.config.set_dtype_policy(before)
    if seed is not None:
        initialize_by_name(model, seed, dropout_seed=dropout_seed)
    if weights is not None:
        load_weights(model, weights, network.published, alpha=config.alpha)
    return model
