"""What all networks share: the input, a scaled filter count, the head. All tensors are channels_last."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import layers

from keras_sepnets.errors import SepnetsError, one_line

Tensor: TypeAlias = keras.KerasTensor


def network_input(
    input_shape: tuple[int | None, int | None, int] | None,
    input_tensor: Any,
    *,
    default_size: int,
    minimum_size: int,
    include_top: bool,
    include_preprocessing: bool,
) -> tuple[Any, Tensor]:
    """Return the model's inputs and the first feature map: pixels, scaled from 0..255 to -1..1 on request.

    Args:
        input_shape: (height, width, channels), or None for the network's own (any size without top).
        input_tensor: A Keras tensor to build on instead of a new input, or None.
        default_size: Height and width in pixels when nothing is given.
        minimum_size: The smallest height or width in pixels for which every layer has an output.
        include_top: Whether a classifier follows.
        include_preprocessing: Whether the first layer scales raw 0..255 pixels to -1..1.

    Raises:
        SepnetsError: The shape is malformed or smaller than `minimum_size`.
    """
    if keras.config.image_data_format() != "channels_last":
        raise SepnetsError(
            "These networks are built for channels_last pictures; call "
            'keras.config.set_image_data_format("channels_last") or change keras.json. '
            f'Received: image_data_format="{keras.config.image_data_format()}"'
        )
    if input_tensor is None:
        size = default_size if include_top else None
        x = inputs = keras.Input(check_shape(input_shape or (size, size, 3), minimum_size), name="image")
    else:
        x = input_tensor
        if not isinstance(x, keras.KerasTensor):
            x = keras.Input(tensor=x, name="image")
        if input_shape is not None and tuple(input_shape) != tuple(x.shape[1:]):
            raise SepnetsError(
                f"input_shape contradicts input_tensor, whose pictures are {tuple(x.shape[1:])}; "
                f"leave one of them out. Received: input_shape={tuple(input_shape)}"
            )
        check_shape(x.shape[1:], minimum_size)
        inputs = keras.utils.get_source_inputs(x)
    if include_preprocessing:
        x = layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(x)
    return inputs, x


def check_shape(shape: Any, minimum_size: int) -> tuple[int | None, int | None, int]:
    """Return (height, width, channels) if the network is defined for it; raise SepnetsError if not."""
    if len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 1:
        raise SepnetsError(
            "An input shape is (height, width, channels), channels last, with at least one channel; "
            f"height and width may be None. Received: input_shape={tuple(shape)}"
        )
    if any(side is not None and side < minimum_size for side in shape[:2]):
        raise SepnetsError(
            f"This network needs pictures of at least {minimum_size}x{minimum_size} px: below that a layer "
            f"has nothing left to look at. Received: {shape[0]}x{shape[1]} px"
        )
    height, width, channels = shape
    return height, width, channels


def check_alpha(alpha: float, smallest: int) -> None:
    """Raise SepnetsError unless `alpha` is positive and leaves the narrowest layer at least one filter."""
    if not (math.isfinite(alpha) and alpha > 0):
        raise SepnetsError(f"alpha, the width multiplier, is a positive number. Received: alpha={alpha}")
    if scale_filters(smallest, alpha) < 1:
        raise SepnetsError(
            f"alpha is too small: the layer with {smallest} filters at alpha 1 would have none; "
            f"use at least {1 / smallest:g}. Received: alpha={alpha}"
        )


def scale_filters(filters: int, alpha: float) -> int:
    """Return the filter count at width `alpha`, rounded down as in MobileNets' reference code."""
    return int(filters * alpha)


def classification_head(
    x: Tensor,
    *,
    include_top: bool,
    pooling: str | None,
    classes: int,
    classifier_activation: str | Callable | None,
    dropout: float,
) -> Tensor:
    """Pool `x` (N, H, W, C) and classify it to (N, classes); without top only pool it, if asked to."""
    if pooling not in (None, "avg", "max"):
        raise SepnetsError(f'pooling is None, "avg" or "max". Received: pooling={pooling!r}')
    if not 0 <= dropout < 1:
        raise SepnetsError(f"dropout is a rate from 0 up to, not including, 1. Received: dropout={dropout}")
    if include_top:
        if classes < 1:
            raise SepnetsError(f"A classifier needs at least one class. Received: classes={classes}")
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        return layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def load_weights(model: keras.Model, weights: str | None) -> keras.Model:
    """Load a weights file into `model`; None keeps the random initialization.

    Raises:
        SepnetsError: The file does not exist, or `weights="imagenet"`, which is not offered yet.
    """
    if weights is None:
        return model
    if weights == "imagenet":
        raise SepnetsError(
            'Published ImageNet weights are not offered yet; pass weights=None or the path of a ".weights.h5" '
            'or ".keras" file of this network. Received: weights="imagenet"'
        )
    try:
        model.load_weights(weights)
    except (OSError, ValueError) as error:
        raise SepnetsError(
            f"These weights do not load into {model.name}: {one_line(error)}. Received: weights={weights!r}"
        ) from error
    return model
