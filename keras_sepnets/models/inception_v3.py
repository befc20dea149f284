"""Inception V3, the baseline of Xception's paper: Szegedy et al. 2016, arXiv:1512.00567, as Keras builds it."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_sepnets.models.alpha import check_alpha
from keras_sepnets.models.blocks import classification_head, network_input
from keras_sepnets.models.inception_modules import Conv, Pool, Tower, conv_unit, inception_module, run_row
from keras_sepnets.models.weights import Published, load_weights

DEFAULT_SIZE = 299
MINIMUM_SIZE = 75

STEM: Tower = (
    Conv(32, 3, stride=2, padding="valid"),
    Conv(32, 3, padding="valid"),
    Conv(64, 3),
    Pool("max"),
    Conv(80),
    Conv(192, 3, padding="valid"),
    Pool("max"),
)


def module_35x35(pool_filters: int) -> tuple[Tower, ...]:
    """Return the towers of Figure 5, but with a 5x5 convolution, as in Keras and TF-slim."""
    return (
        (Conv(64),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (Pool("avg"), Conv(pool_filters)),
    )


def module_17x17(filters: int) -> tuple[Tower, ...]:
    """Return the towers of Figure 6: 7x7 convolutions factorized into 1x7 and 7x1."""
    wide, high = (1, 7), (7, 1)
    return (
        (Conv(192),),
        (Conv(filters), Conv(filters, wide), Conv(192, high)),
        (Conv(filters), Conv(filters, high), Conv(filters, wide), Conv(filters, high), Conv(192, wide)),
        (Pool("avg"), Conv(192)),
    )


MODULE_8X8: tuple[Tower, ...] = (  # Figure 7
    (Conv(320),),
    (Conv(384), [Conv(384, (1, 3)), Conv(384, (3, 1))]),
    (Conv(448), Conv(384, 3), [Conv(384, (1, 3)), Conv(384, (3, 1))]),
    (Pool("avg"), Conv(192)),
)
REDUCTION_TO_17X17: tuple[Tower, ...] = (  # Figure 10
    (Conv(384, 3, stride=2, padding="valid"),),
    (Conv(64), Conv(96, 3), Conv(96, 3, stride=2, padding="valid")),
    (Pool("max"),),
)
REDUCTION_TO_8X8: tuple[Tower, ...] = (
    (Conv(192), Conv(320, 3, stride=2, padding="valid")),
    (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2, padding="valid")),
    (Pool("max"),),
)
MODULES = (  # Table 1
    *(module_35x35(pool_filters) for pool_filters in (32, 64, 64)),
    REDUCTION_TO_17X17,
    *(module_17x17(filters) for filters in (128, 160, 160, 192)),
    REDUCTION_TO_8X8,
    MODULE_8X8,
    MODULE_8X8,
)


def build_inception_v3(
    *,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "inception_v3",
    alpha: float = 1.0,
    dropout: float = 0.5,
    include_preprocessing: bool = True,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
) -> keras.Model:
    """Build Inception V3 (arXiv:1512.00567, Table 1), the same function as `keras.applications.InceptionV3`.

    It has no auxiliary classifier, and its batch norm has no gamma.

    Args:
        include_top: Whether the network ends in global average pooling, dropout and a classifier; True by default.
        weights: None (the default) for random initialization, "imagenet" for the weights that keras.applications
            publishes, or the path of a weight file or run folder; see `models.weights.load_weights`.
        input_tensor: Keras tensor to use as the input; None (the default) for a new `keras.Input`.
        input_shape: (height, width, channels), each side at least 75 px, or None for any size;
            (299, 299, 3) by default, (None, None, 3) without top.
        pooling: Without top: "avg" or "max" for global pooling to a vector; None (the default) for the last
            feature map.
        classes: Number of classes; 1000 by default, as in ImageNet.
        classifier_activation: Activation of the classifier, "softmax" by default; None for logits.
        name: Name of the model.
        alpha: Width multiplier, any positive number, 1 (the paper) by default; every filter count becomes
            `int(filters * alpha)`.
        dropout: Dropout rate before the classifier, from 0 up to, not including, 1; .5 by default, as in
            Xception's paper.
        include_preprocessing: Whether the first layer scales pixels from 0..255 to -1..1; True by default.
        bn_momentum: Momentum of batch norm's moving averages; .99 by default, as in keras.applications. Under
            `model.fit` from random weights, validation stands at chance until the averages have forgotten their
            initial values, for hundreds of steps; a short training needs .9.
        bn_epsilon: Added to the variance in batch norm; .001 by default, as in keras.applications.

    Input shape:
        (batch, height, width, channels), pixels 0..255, or -1..1 with `include_preprocessing=False`.

    Output shape:
        (batch, classes); without top (batch, height', width', 2048 at alpha 1), or pooled.

    Returns:
        A functional Keras model of stock layers.

    Raises:
        SepnetsError: An argument is out of its range; the message names it.

    Example:
        >>> build_inception_v3(alpha=0.25, input_shape=(75, 75, 3), classes=10).output_shape
        (None, 10)
    """
    check_alpha(alpha, smallest=32)
    inputs, x = network_input(
        input_shape,
        input_tensor,
        default_size=DEFAULT_SIZE,
        minimum_size=MINIMUM_SIZE,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
    )
    batch_norm = partial(layers.BatchNormalization, momentum=bn_momentum, epsilon=bn_epsilon, scale=False)
    unit = partial(conv_unit, batch_norm=batch_norm, alpha=alpha)

    for number, row in enumerate(STEM, start=1):
        x = run_row(x, row, unit=unit, name=f"stem_{number}")
    for number, towers in enumerate(MODULES):
        x = inception_module(x, towers, unit=unit, name=f"mixed{number}")
    x = classification_head(
        x,
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        dropout=dropout,
    )
    return load_weights(keras.Model(inputs, x, name=name), weights, PUBLISHED, alpha=alpha)


def _published_file(_alpha: float, _size: int, include_top: bool) -> str:
    return f"inception_v3_weights_tf_dim_ordering_tf_kernels{'' if include_top else '_notop'}.h5"


PUBLISHED = Published(
    url="https://storage.googleapis.com/tensorflow/keras-applications/inception_v3",
    file=_published_file,
    alphas=(1.0,),
    sizes=(DEFAULT_SIZE,),
    first_layer="stem_1_conv",
    layers=None,  # Keras' layers are only numbered, and its graph is the same as ours
)
