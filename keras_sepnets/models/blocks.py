"""Parts that the networks share: input, segmented convolution, head. All tensors are channels_last."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import layers

from keras_sepnets.base.errors import SepnetsError

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
    """Return the model's inputs and its first tensor: the pixels, scaled if `include_preprocessing`.

    Args:
        input_shape: (height, width, channels); None for the network's default, which is any size without top.
        input_tensor: Keras tensor to use as the input; None for a new `keras.Input`.
        default_size: Default height and width in pixels.
        minimum_size: Smallest height and width in pixels for which every layer has an output.
        include_top: Whether a classifier follows.
        include_preprocessing: Whether the first layer scales pixels from 0..255 to -1..1.

    Raises:
        SepnetsError: The shape is malformed or smaller than `minimum_size`.
    """
    if keras.config.image_data_format() != "channels_last":
        raise SepnetsError(
            "These networks need channels_last pictures; call "
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
                f"input_shape contradicts input_tensor, which has pictures of shape {tuple(x.shape[1:])}; "
                f"leave one of them out. Received: input_shape={tuple(input_shape)}"
            )
        check_shape(x.shape[1:], minimum_size)
        inputs = keras.utils.get_source_inputs(x)
    if include_preprocessing:
        x = layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")(x)
    return inputs, x


def check_shape(shape: Any, minimum_size: int) -> tuple[int | None, int | None, int]:
    """Return (height, width, channels); raise SepnetsError if the network is not defined for it."""
    if len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 1:
        raise SepnetsError(
            "An input shape is (height, width, channels), channels last, with at least one channel; "
            f"height and width may be None. Received: input_shape={tuple(shape)}"
        )
    if any(side is not None and side < minimum_size for side in shape[:2]):
        raise SepnetsError(
            f"This network needs pictures of at least {minimum_size}x{minimum_size} px: below that, a layer "
            f"has no output. Received: {shape[0]}x{shape[1]} px"
        )
    height, width, channels = shape
    return height, width, channels


def segmented_convolution(x: Tensor, segments: int | None, *, name: str) -> Tensor:
    """Apply a 3x3 convolution without bias that mixes channels only within each of `segments` groups.

    This is the spectrum in Xception's paper (sections 1.1 and 5): one segment is a standard convolution, 3 or 4
    are typical of Inception, one per channel is a depthwise convolution. Segments differ by at most one channel in
    size. Each segment is a separate convolution, because Keras runs grouped ones through XLA on CPUs, which takes
    many times as long (scripts/benchmark_segments.py). With dozens of segments, the graph has thousands of layers
    and takes long to build.

    Args:
        x: (N, H, W, C).
        segments: Number of segments, 1 to C; None or a larger number means C.
        name: Prefix of the layers' names.

    Returns:
        (N, H, W, C).
    """
    channels = x.shape[-1]
    if segments is not None and (segments < 1 or segments != int(segments)):
        raise SepnetsError(
            f"segments is a number of channel groups: an integer from 1 up, or None. Received: segments={segments}"
        )
    if segments is None or segments >= channels:
        return layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    if segments == 1:
        return layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_spatial")(x)
    ends = [channels * number // segments for number in range(1, segments)]
    parts = [
        layers.Conv2D(part.shape[-1], 3, padding="same", use_bias=False, name=f"{name}_segment{number}")(part)
        for number, part in enumerate(keras.ops.split(x, ends, axis=-1), start=1)
    ]
    return layers.Concatenate(name=f"{name}_segments")(parts)


def check_choice(argument: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise SepnetsError unless `value` is one of the choices of an argument."""
    if value not in choices:
        known = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices]
        raise SepnetsError(f"{argument} is {', '.join(known[:-1])} or {known[-1]}. Received: {argument}={value!r}")


def classification_head(
    x: Tensor,
    *,
    include_top: bool,
    pooling: str | None,
    classes: int,
    classifier_activation: str | Callable | None,
    dropout: float,
    fc_units: tuple[int, ...] = (),
) -> Tensor:
    """Pool `x` (N, H, W, C) and classify it to (N, classes); without top, only apply `pooling`.

    `fc_units` are the units of fully connected ReLU layers between pooling and classifier; the other arguments are
    those of the builders.
    """
    check_choice("pooling", pooling, (None, "avg", "max"))
    if not 0 <= dropout < 1:
        raise SepnetsError(f"dropout is a rate from 0 up to, not including, 1. Received: dropout={dropout}")
    if include_top:
        if classes < 1:
            raise SepnetsError(f"A classifier needs at least one class. Received: classes={classes}")
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        for number, units in enumerate(fc_units, start=1):
            x = layers.Dense(units, activation="relu", name=f"fc{number}")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        # Half precision is too coarse for probabilities and their logarithms.
        dtype = "float32" if keras.config.dtype_policy().name.startswith("mixed") else None
        return layers.Dense(classes, activation=classifier_activation, dtype=dtype, name="predictions")(x)
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x
