"""Xception: Chollet 2017, "Deep Learning with Depthwise Separable Convolutions", arXiv:1610.02357."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.models.alpha import check_alpha, scale_filters
from keras_sepnets.models.blocks import (
    Tensor,
    check_choice,
    classification_head,
    network_input,
    segmented_convolution,
)
from keras_sepnets.models.weights import Published, load_weights

DEFAULT_SIZE = 299
MINIMUM_SIZE = 7
STEM_FILTERS = (32, 64)
INTERMEDIATE_ACTIVATIONS = (None, "linear", "relu", "elu")
ORDERS = ("spatial_first", "pointwise_first")
FC_UNITS = (4096, 4096)


class Module(NamedTuple):
    """One module of Figure 5: repeated ReLU and separable convolution, with a shortcut around them."""

    filters: tuple[int, ...]  # of each separable convolution at alpha = 1
    leading_relu: bool = True  # False in the first module, which follows the stem's ReLU
    downsample: bool = True  # 3x3 max pooling, stride 2, and a 1x1 stride 2 convolution as shortcut


# Figure 5. The middle flow's module is repeated 8 times; the exit flow ends in two separable convolutions.
ENTRY_FLOW = (Module((128, 128), leading_relu=False), Module((256, 256)), Module((728, 728)))
MIDDLE_MODULE = Module((728, 728, 728), downsample=False)
EXIT_MODULE = Module((728, 1024))
EXIT_FILTERS = (1536, 2048)


def build_xception(
    *,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "xception",
    alpha: float = 1.0,
    dropout: float = 0.5,
    include_preprocessing: bool = True,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
    intermediate_activation: str | None = None,
    intermediate_batch_norm: bool = False,
    residual: bool = True,
    middle_repeats: int = 8,
    segments: int | None = None,
    order: str = "spatial_first",
    fully_connected: bool = False,
) -> keras.Model:
    """Build Xception (arXiv:1610.02357, Figure 5), the same function as `keras.applications.Xception`.

    Args:
        include_top: Whether the network ends in global average pooling, dropout and a classifier; True by default.
        weights: None (the default) for random initialization, "imagenet" for the weights that keras.applications
            publishes, or the path of a weight file or run folder; see `models.weights.load_weights`.
        input_tensor: Keras tensor to use as the input; None (the default) for a new `keras.Input`.
        input_shape: (height, width, channels), each side at least 7 px, or None for any size;
            (299, 299, 3) by default, (None, None, 3) without top.
        pooling: Without top: "avg" or "max" for global pooling to a vector; None (the default) for the last
            feature map.
        classes: Number of classes; 1000 by default, as in ImageNet.
        classifier_activation: Activation of the classifier, "softmax" by default; None for logits.
        name: Name of the model.
        alpha: Width multiplier, any positive number, 1 (the paper) by default; every filter count becomes
            `int(filters * alpha)`.
        dropout: Dropout rate before the classifier, from 0 up to, not including, 1; .5 (the paper)
            by default.
        include_preprocessing: Whether the first layer scales pixels from 0..255 to -1..1; True by default.
        bn_momentum: Momentum of batch norm's moving averages; .99 by default, as in keras.applications. Under
            `model.fit` from random weights, validation stands at chance until the averages have forgotten their
            initial values, for hundreds of steps; a short training needs .9.
        bn_epsilon: Added to the variance in batch norm; .001 by default, as in keras.applications.
        intermediate_activation: Between the depthwise and the pointwise step: "linear" (no activation), "relu" or
            "elu" (section 4.7, Figure 10). None (the default) follows the paper for each `order`: "linear" if the
            spatial step comes first, "relu" if the pointwise step does.
        intermediate_batch_norm: Whether there is batch norm between the two steps, before that activation; False
            (the paper) by default. MobileNet has both.
        residual: Whether modules have shortcuts; True (the paper) by default, False in section 4.6 and Figure 9.
        middle_repeats: Number of middle-flow modules, 0 or more; 8 (the paper) by default.
        segments: Number of channel groups in each spatial step, on the spectrum of section 5: 1 is a standard 3x3
            convolution, 3 or 4 are typical of Inception; None (the paper) means one per channel, a depthwise
            convolution.
        order: "spatial_first" (the paper) for depthwise-separable convolutions, or "pointwise_first" for the
            "extreme" Inception module (Figure 4), with a ReLU after both steps.
        fully_connected: Whether two layers of `int(4096 * alpha)` ReLU units precede the classifier (optional in
            Figure 5; section 4.3 on JFT); False by default.

    Input shape:
        (batch, height, width, channels), pixels 0..255, or -1..1 with `include_preprocessing=False`.

    Output shape:
        (batch, classes); without top (batch, height', width', int(2048 * alpha)), or pooled.

    Returns:
        A functional Keras model of stock layers.

    Raises:
        SepnetsError: An argument is out of its range; the message names it.

    Example:
        >>> build_xception(alpha=0.25, input_shape=(64, 64, 1), classes=10).output_shape
        (None, 10)
    """
    check_alpha(alpha, smallest=min(STEM_FILTERS))
    check_choice("intermediate_activation", intermediate_activation, INTERMEDIATE_ACTIVATIONS)
    check_choice("order", order, ORDERS)
    if middle_repeats < 0:
        raise SepnetsError(
            f"middle_repeats is a number of modules, 0 or more. Received: middle_repeats={middle_repeats}"
        )
    inputs, x = network_input(
        input_shape,
        input_tensor,
        default_size=DEFAULT_SIZE,
        minimum_size=MINIMUM_SIZE,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
    )
    batch_norm = partial(layers.BatchNormalization, momentum=bn_momentum, epsilon=bn_epsilon)
    sepconv = partial(
        separable_convolution,
        alpha=alpha,
        batch_norm=batch_norm,
        intermediate_activation=intermediate_activation,
        intermediate_batch_norm=intermediate_batch_norm,
        segments=segments,
        order=order,
    )

    for number, (filters, stride) in enumerate(zip(STEM_FILTERS, (2, 1), strict=True), start=1):
        conv = f"block1_conv{number}"
        x = layers.Conv2D(scale_filters(filters, alpha), 3, strides=stride, use_bias=False, name=conv)(x)
        x = batch_norm(name=f"{conv}_bn")(x)
        x = layers.ReLU(name=f"{conv}_relu")(x)

    modules = (*ENTRY_FLOW, *middle_repeats * (MIDDLE_MODULE,), EXIT_MODULE)
    for number, module in enumerate(modules, start=2):
        x = xception_module(
            x, module, name=f"block{number}", residual=residual, sepconv=sepconv, batch_norm=batch_norm
        )
    for number, filters in enumerate(EXIT_FILTERS, start=1):
        conv = f"block{len(modules) + 2}_sepconv{number}"
        x = sepconv(x, filters, name=conv)
        x = layers.ReLU(name=f"{conv}_relu")(x)
    x = classification_head(
        x,
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        dropout=dropout,
        fc_units=tuple(scale_filters(units, alpha) for units in FC_UNITS) if fully_connected else (),
    )
    return load_weights(keras.Model(inputs, x, name=name), weights, PUBLISHED, alpha=alpha)


def xception_module(
    x: Tensor, module: Module, *, name: str, residual: bool, sepconv: Callable, batch_norm: Callable
) -> Tensor:
    """Separable convolutions, each after a ReLU, and the shortcut around them (Figure 5)."""
    shortcut = x
    for number, filters in enumerate(module.filters, start=1):
        if module.leading_relu or number > 1:
            x = layers.ReLU(name=f"{name}_sepconv{number}_relu")(x)
        x = sepconv(x, filters, name=f"{name}_sepconv{number}")
    if module.downsample:
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    if not residual:
        return x
    if module.downsample:
        shortcut = layers.Conv2D(x.shape[-1], 1, strides=2, use_bias=False, name=f"{name}_shortcut")(shortcut)
        shortcut = batch_norm(name=f"{name}_shortcut_bn")(shortcut)
    return layers.Add(name=f"{name}_add")([x, shortcut])


def separable_convolution(
    x: Tensor,
    filters: int,
    *,
    name: str,
    alpha: float,
    batch_norm: Callable,
    intermediate_activation: str | None,
    intermediate_batch_norm: bool,
    segments: int | None,
    order: str,
) -> Tensor:
    """Spatial and pointwise step in either order, what may stand between them, batch norm; no biases."""
    filters = scale_filters(filters, alpha)
    if intermediate_activation is None:
        intermediate_activation = "relu" if order == "pointwise_first" else "linear"
    if order == "pointwise_first":
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
    else:
        x = segmented_convolution(x, segments, name=name)
    if intermediate_batch_norm:
        x = batch_norm(name=f"{name}_intermediate_bn")(x)
    if intermediate_activation != "linear":
        x = layers.Activation(intermediate_activation, name=f"{name}_intermediate")(x)
    if order == "pointwise_first":
        x = segmented_convolution(x, segments, name=name)
    else:
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
    return batch_norm(name=f"{name}_bn")(x)


def _published_file(_alpha: float, _size: int, include_top: bool) -> str:
    return f"xception_weights_tf_dim_ordering_tf_kernels{'' if include_top else '_notop'}.h5"


def _published_layers() -> Iterator[tuple[str, ...]]:
    for conv in ("block1_conv1", "block1_conv2"):
        yield from ((conv,), (f"{conv}_bn",))
    modules = (*ENTRY_FLOW, *8 * (MIDDLE_MODULE,), EXIT_MODULE, Module(EXIT_FILTERS, downsample=False))
    for block, module in enumerate(modules, start=2):
        for number in range(1, len(module.filters) + 1):
            conv = f"block{block}_sepconv{number}"
            yield from ((f"{conv}_depthwise", f"{conv}_pointwise"), (f"{conv}_bn",))
        if module.downsample:
            yield from ((f"block{block}_shortcut",), (f"block{block}_shortcut_bn",))
    yield ("predictions",)


def flows(stages: Sequence[str]) -> dict[str, str]:
    """Return the last stage of each of the paper's three flows (Figure 5), from the stages in order."""
    return {"entry_flow": stages[3], "middle_flow": stages[-3], "exit_flow": stages[-1]}


PUBLISHED = Published(
    url="https://storage.googleapis.com/tensorflow/keras-applications/xception",
    file=_published_file,
    alphas=(1.0,),
    sizes=(DEFAULT_SIZE,),
    first_layer="block1_conv1",
    layers=tuple(_published_layers()),
)
