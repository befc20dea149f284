"""MobileNetV2: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_sepnets.models.alpha import check_alpha, round_filters
from keras_sepnets.models.blocks import Tensor, check_choice, classification_head, network_input
from keras_sepnets.models.weights import Published, load_weights

DEFAULT_SIZE = 224
MINIMUM_SIZE = 1
STEM_FILTERS = 32
LAST_FILTERS = 1280
RESIDUALS = ("bottleneck", "expansion", None)
BOTTLENECK_ACTIVATIONS = (None, "relu6")


class Row(NamedTuple):
    """A row of Table 2: `n` bottlenecks, the first with stride `s`."""

    t: int  # expansion factor, of the block's input channels
    c: int  # filters of the linear bottleneck at alpha = 1
    n: int
    s: int


# Table 2. Section 3.4 speaks of 19 bottlenecks; the table has 17.
ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)


class Block(NamedTuple):
    """One bottleneck; a row of Table 2 expands to `n` of them."""

    expansion: int
    filters: int
    stride: int


BLOCKS = tuple(Block(row.t, row.c, row.s if number == 0 else 1) for row in ROWS for number in range(row.n))


def build_mobilenet_v2(
    *,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "mobilenet_v2",
    alpha: float = 1.0,
    dropout: float = 0.0,
    include_preprocessing: bool = True,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
    residual: str | None = "bottleneck",
    bottleneck_activation: str | None = None,
) -> keras.Model:
    """Build MobileNetV2 (arXiv:1801.04381, Table 2), the same function as `keras.applications.MobileNetV2`.

    Args:
        include_top: Whether the network ends in global average pooling, dropout and a classifier; True by default.
        weights: None (the default) for random initialization, "imagenet" for the weights that keras.applications
            publishes, or the path of a weight file or run folder; see `models.weights.load_weights`.
        input_tensor: Keras tensor to use as the input; None (the default) for a new `keras.Input`.
        input_shape: (height, width, channels), each side at least 1 px, or None for any size; (224, 224, 3) by
            default, (None, None, 3) without top.
        pooling: Without top: "avg" or "max" for global pooling to a vector; None (the default) for the last
            feature map.
        classes: Number of classes; 1000 by default, as in ImageNet.
        classifier_activation: Activation of the classifier, "softmax" by default; None for logits.
        name: Name of the model.
        alpha: Width multiplier (section 4), any positive number, 1 by default, .35 to 1.4 in the paper; filter
            counts are rounded to multiples of 8, and the last convolution keeps its 1280 filters below alpha 1.
        dropout: Dropout rate before the classifier, from 0 up to, not including, 1; 0 by default, as the paper
            mentions none.
        include_preprocessing: Whether the first layer scales pixels from 0..255 to -1..1; True by default.
        bn_momentum: Momentum of batch norm's moving averages; .99 by default (.999 in keras.applications). Under
            `model.fit` from random weights, validation stands at chance until the averages have forgotten their
            initial values, for hundreds of steps (thousands with .999); a short training needs .9.
        bn_epsilon: Added to the variance in batch norm; .001 by default, as in keras.applications.
        residual: "bottleneck" (the paper) for a shortcut around each block that keeps its shape; "expansion" for
            shortcuts between the wide layers of these blocks, from the expansion of one block to that of the next,
            each after its ReLU6; None for no shortcuts (Figure 6b).
        bottleneck_activation: After the projection's batch norm: None (the paper) for a linear bottleneck, or
            "relu6" (Figure 6a).

    Input shape:
        (batch, height, width, channels), pixels 0..255, or -1..1 with `include_preprocessing=False`.

    Output shape:
        (batch, classes); without top (batch, height / 32, width / 32, 1280 or more), or pooled.

    Returns:
        A functional Keras model of stock layers.

    Raises:
        SepnetsError: An argument is out of its range; the message names it.

    Example:
        >>> build_mobilenet_v2(alpha=0.35, input_shape=(32, 32, 3), classes=10).output_shape
        (None, 10)
    """
    check_alpha(alpha)
    check_choice("residual", residual, RESIDUALS)
    check_choice("bottleneck_activation", bottleneck_activation, BOTTLENECK_ACTIVATIONS)
    inputs, x = network_input(
        input_shape,
        input_tensor,
        default_size=DEFAULT_SIZE,
        minimum_size=MINIMUM_SIZE,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
    )
    batch_norm = partial(layers.BatchNormalization, momentum=bn_momentum, epsilon=bn_epsilon)
    convolution = partial(layers.Conv2D, padding="same", use_bias=False)

    x = convolution(round_filters(STEM_FILTERS * alpha), 3, strides=2, name="stem")(x)
    x = batch_norm(name="stem_bn")(x)
    x = layers.ReLU(6, name="stem_relu")(x)
    expanded = None  # the wide layer that is added to the next expansion
    for number, block in enumerate(BLOCKS, start=1):
        x, expanded = bottleneck_block(
            x,
            block,
            alpha=alpha,
            residual=residual,
            shortcut=expanded,
            bottleneck_activation=bottleneck_activation,
            convolution=convolution,
            batch_norm=batch_norm,
            name=f"block{number}",
        )
    x = convolution(round_filters(LAST_FILTERS * max(1.0, alpha)), 1, name="last")(x)
    x = batch_norm(name="last_bn")(x)
    x = layers.ReLU(6, name="last_relu")(x)
    x = classification_head(
        x,
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        dropout=dropout,
    )
    return load_weights(keras.Model(inputs, x, name=name), weights, PUBLISHED, alpha=alpha)


def bottleneck_block(
    x: Tensor,
    block: Block,
    *,
    alpha: float,
    residual: str | None,
    shortcut: Tensor | None,
    bottleneck_activation: str | None,
    convolution: Callable,
    batch_norm: Callable,
    name: str,
) -> tuple[Tensor, Tensor | None]:
    """1x1 expansion, 3x3 depthwise convolution, 1x1 linear projection (Table 1, Figure 4d).

    Args:
        x: (N, H, W, C).
        block: Expansion, filters and stride.
        shortcut: With `residual="expansion"`, the previous block's wide layer, of this expansion's shape.

    Returns:
        The bottleneck and, with `residual="expansion"`, the wide layer if the next block adds it.
    """
    keeps_shape = block.stride == 1 and x.shape[-1] == round_filters(int(block.filters * alpha))
    bottleneck = x
    if block.expansion != 1:
        x = convolution(block.expansion * x.shape[-1], 1, name=f"{name}_expand")(x)
        x = batch_norm(name=f"{name}_expand_bn")(x)
        x = layers.ReLU(6, name=f"{name}_expand_relu")(x)
        if shortcut is not None:
            x = layers.Add(name=f"{name}_expand_add")([x, shortcut])
    wide = x if keeps_shape and block.expansion != 1 and residual == "expansion" else None
    x = layers.DepthwiseConv2D(3, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise")(
        x
    )
    x = batch_norm(name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = convolution(round_filters(int(block.filters * alpha)), 1, name=f"{name}_project")(x)
    x = batch_norm(name=f"{name}_project_bn")(x)
    if bottleneck_activation:
        x = layers.ReLU(6, name=f"{name}_project_relu")(x)
    if residual == "bottleneck" and keeps_shape:
        x = layers.Add(name=f"{name}_add")([x, bottleneck])
    return x, wide


def filters_at(alpha: float, *, layer: str, filters: int) -> int:
    """Return the filters at width `alpha` of the 1x1 and first convolution with `filters` filters at alpha 1."""
    if layer == "last":
        return round_filters(filters * max(1.0, alpha))
    if layer == "stem":
        return round_filters(filters * alpha)
    expansion = ROWS[1].t if layer.endswith("_expand") else 1
    return expansion * round_filters(int(filters // expansion * alpha))


def _published_file(alpha: float, size: int, include_top: bool) -> str:
    if alpha > 1:  # published for 224 px only
        size = 224
    top = "" if include_top else "_no_top"
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{size}{top}.h5"


def _published_layers() -> Iterator[tuple[str]]:
    yield from (("stem",), ("stem_bn",))
    for number, block in enumerate(BLOCKS, start=1):
        for step in ("expand", "depthwise", "project")[block.expansion == 1 :]:
            yield from ((f"block{number}_{step}",), (f"block{number}_{step}_bn",))
    yield from (("last",), ("last_bn",), ("predictions",))


PUBLISHED = Published(
    url="https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2",
    file=_published_file,
    alphas=(1.0, 0.35, 0.5, 0.75, 1.3, 1.4),
    sizes=(224, 192, 160, 128, 96),
    first_layer="stem",
    layers=tuple(_published_layers()),
)
