"""MobileNet: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks", arXiv:1704.04861."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_sepnets.models.alpha import check_alpha, scale_filters
from keras_sepnets.models.blocks import Tensor, classification_head, network_input
from keras_sepnets.models.weights import Published, load_weights

DEFAULT_SIZE = 224
MINIMUM_SIZE = 31
STEM_FILTERS = 32


class Block(NamedTuple):
    """One depthwise-separable block: two rows of Table 1."""

    filters: int  # pointwise output channels at alpha = 1
    stride: int = 1  # of the 3x3 depthwise convolution


# Table 1. Its last depthwise row prints stride 2, but 7x7 -> 7x7 requires stride 1.
BLOCKS = (
    Block(64),
    Block(128, 2),
    Block(128),
    Block(256, 2),
    Block(256),
    Block(512, 2),
    *5 * (Block(512),),
    Block(1024, 2),
    Block(1024),
)
# Numbers of blocks: "the 5 layers of separable filters with feature size 14x14x512" (section 4.2).
SHALLOW_LEAVES_OUT = range(7, 12)


def build_mobilenet(
    *,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mobilenet",
    alpha: float = 1.0,
    dropout: float = 1e-3,
    include_preprocessing: bool = True,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
    separable: bool = True,
    shallow: bool = False,
) -> keras.Model:
    """Build MobileNet (arXiv:1704.04861, Table 1), the same function as `keras.applications.MobileNet`.

    Args:
        include_top: Whether the network ends in global average pooling, dropout and a classifier; True by default.
        weights: None (the default) for random initialization, "imagenet" for the weights that keras.applications
            publishes, or the path of a weight file or run folder; see `models.weights.load_weights`.
        input_tensor: Keras tensor to use as the input; None (the default) for a new `keras.Input`.
        input_shape: (height, width, channels), each side at least 31 px, or None for any size;
            (224, 224, 3) by default, (None, None, 3) without top.
        pooling: Without top: "avg" or "max" for global pooling to a vector; None (the default) for the last
            feature map.
        classes: Number of classes; 1000 by default, as in ImageNet.
        classifier_activation: Activation of the classifier, "softmax" by default; None for logits.
        name: Name of the model.
        alpha: Width multiplier (section 3.3), any positive number, 1 by default; every filter count becomes
            `int(filters * alpha)`.
        dropout: Dropout rate before the classifier, from 0 up to, not including, 1; .001 by default, as in
            keras.applications.
        include_preprocessing: Whether the first layer scales pixels from 0..255 to -1..1; True by default.
        bn_momentum: Momentum of batch norm's moving averages; .99 by default, as in keras.applications. Under
            `model.fit` from random weights, validation stands at chance until the averages have forgotten their
            initial values, for hundreds of steps; a short training needs .9.
        bn_epsilon: Added to the variance in batch norm; .001 by default, as in keras.applications.
        separable: True (the paper) for depthwise-separable blocks; False for blocks of one standard 3x3
            convolution, as in the Conv MobileNet of Table 4.
        shallow: Whether to leave out the five 14x14x512 blocks, as in the Shallow MobileNet of Table 5; False by
            default.

    Input shape:
        (batch, height, width, channels), pixels 0..255, or -1..1 with `include_preprocessing=False`.

    Output shape:
        (batch, classes); without top (batch, height', width', int(1024 * alpha)), or pooled.

    Returns:
        A functional Keras model of stock layers.

    Raises:
        SepnetsError: An argument is out of its range; the message names it.

    Example:
        >>> build_mobilenet(alpha=0.5, input_shape=(64, 64, 3), classes=10).output_shape
        (None, 10)
    """
    check_alpha(alpha, smallest=STEM_FILTERS)
    inputs, x = network_input(
        input_shape,
        input_tensor,
        default_size=DEFAULT_SIZE,
        minimum_size=MINIMUM_SIZE,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
    )
    batch_norm = partial(layers.BatchNormalization, momentum=bn_momentum, epsilon=bn_epsilon)

    stem_filters = scale_filters(STEM_FILTERS, alpha)
    x = layers.Conv2D(stem_filters, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = batch_norm(name="stem_bn")(x)
    x = layers.ReLU(6, name="stem_relu")(x)
    build_block = separable_block if separable else standard_block
    for number, block in enumerate(BLOCKS, start=1):
        if not (shallow and number in SHALLOW_LEAVES_OUT):
            x = build_block(x, block, alpha=alpha, batch_norm=batch_norm, name=f"block{number}")
    x = classification_head(
        x,
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        dropout=dropout,
    )
    return load_weights(keras.Model(inputs, x, name=name), weights, PUBLISHED, alpha=alpha)


def separable_block(x: Tensor, block: Block, *, alpha: float, batch_norm: Callable, name: str) -> Tensor:
    """3x3 depthwise, then 1x1 convolution, each followed by batch norm and ReLU6 (Figure 3, right)."""
    x, padding = pad_for_stride(x, block.stride, name=name)
    x = layers.DepthwiseConv2D(3, strides=block.stride, padding=padding, use_bias=False, name=f"{name}_depthwise")(
        x
    )
    x = batch_norm(name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(scale_filters(block.filters, alpha), 1, use_bias=False, name=f"{name}_pointwise")(x)
    x = batch_norm(name=f"{name}_pointwise_bn")(x)
    return layers.ReLU(6, name=f"{name}_pointwise_relu")(x)


def standard_block(x: Tensor, block: Block, *, alpha: float, batch_norm: Callable, name: str) -> Tensor:
    """3x3 standard convolution, batch norm and ReLU6 (Figure 3, left)."""
    x, padding = pad_for_stride(x, block.stride, name=name)
    filters = scale_filters(block.filters, alpha)
    x = layers.Conv2D(filters, 3, strides=block.stride, padding=padding, use_bias=False, name=f"{name}_conv")(x)
    x = batch_norm(name=f"{name}_conv_bn")(x)
    return layers.ReLU(6, name=f"{name}_conv_relu")(x)


def pad_for_stride(x: Tensor, stride: int, *, name: str) -> tuple[Tensor, str]:
    """Pad for a 3x3 convolution as Keras and Caffe do: with stride 2, at the end only, even for odd sizes."""
    if stride == 1:
        return x, "same"
    return layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x), "valid"


def _published_file(alpha: float, size: int, include_top: bool) -> str:
    width = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}[alpha]
    return f"mobilenet_{width}_{size}_tf{'' if include_top else '_no_top'}.h5"


PUBLISHED = Published(
    url="https://storage.googleapis.com/tensorflow/keras-applications/mobilenet",
    file=_published_file,
    alphas=(1.0, 0.75, 0.5, 0.25),
    sizes=(224, 192, 160, 128),
    first_layer="stem",
    layers=(
        ("stem",),
        ("stem_bn",),
        *(
            (f"block{number}_{step}",)
            for number in range(1, len(BLOCKS) + 1)
            for step in ("depthwise", "depthwise_bn", "pointwise", "pointwise_bn")
        ),
        ("predictions",),
    ),
)
