"""Inception modules, and the path from them to separable convolutions (Figures 1 to 4 of Xception's paper).

A tower is a tuple of rows; a module concatenates the outputs of parallel towers. All tensors are channels_last.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from keras import layers

from keras_sepnets.models.alpha import scale_filters
from keras_sepnets.models.blocks import Tensor, segmented_convolution


class Conv(NamedTuple):
    """A convolution without bias, then batch norm and ReLU."""

    filters: int
    kernel: int | tuple[int, int] = 1  # (height, width)
    stride: int = 1
    padding: str = "same"


class Pool(NamedTuple):
    """3x3 pooling: "max" with stride 2 and without padding, "avg" with stride 1, which keeps the size."""

    kind: str


Fork: TypeAlias = list[Conv]  # parallel convolutions of one input, concatenated
Tower: TypeAlias = tuple[Conv | Pool | Fork, ...]


def conv_unit(x: Tensor, conv: Conv, *, batch_norm: Callable, alpha: float = 1.0, name: str) -> Tensor:
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(
        scale_filters(conv.filters, alpha),
        conv.kernel,
        strides=conv.stride,
        padding=conv.padding,
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    x = batch_norm(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def inception_module(x: Tensor, towers: tuple[Tower, ...], *, unit: Callable, name: str) -> Tensor:
    """Concatenate the outputs of parallel towers on `x` (N, H, W, C); `unit` is a bound `conv_unit`."""
    outputs = []
    for tower_number, tower in enumerate(towers, start=1):
        y = x
        for row_number, row in enumerate(tower, start=1):
            y = run_row(y, row, unit=unit, name=f"{name}_tower{tower_number}_{row_number}")
        outputs.append(y)
    return layers.Concatenate(name=name)(outputs)


def run_row(x: Tensor, row: Conv | Pool | Fork, *, unit: Callable, name: str) -> Tensor:
    """Run one row of a tower."""
    if isinstance(row, Conv):
        return unit(x, row, name=name)
    if isinstance(row, Pool):
        if row.kind == "max":
            return layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
        return layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    forks = [unit(x, conv, name=f"{name}{letter}") for letter, conv in zip("ab", row, strict=True)]
    return layers.Concatenate(name=name)(forks)


PLAIN_UNIT = partial(conv_unit, batch_norm=layers.BatchNormalization)


def canonical_module(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Figure 1: a canonical Inception module with `filters` filters in each convolution.

    Four towers: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; average pooling, 1x1. (N, H, W, C) to (N, H, W, 4 * filters).
    """
    one, three = Conv(filters), Conv(filters, 3)
    towers = ((one,), (one, three), (one, three, three), (Pool("avg"), one))
    return inception_module(x, towers, unit=PLAIN_UNIT, name=name)


def simplified_module(x: Tensor, filters: int, *, towers: int = 3, name: str) -> Tensor:
    """Figure 2: towers of 1x1 and 3x3 convolutions only, each with `filters` filters.

    (N, H, W, C) to (N, H, W, towers * filters). A ReLU follows both steps, as in Inception.
    """
    tower = (Conv(filters), Conv(filters, 3))
    return inception_module(x, towers * (tower,), unit=PLAIN_UNIT, name=name)


def segmented_module(x: Tensor, filters: int, *, segments: int | None = 3, name: str) -> Tensor:
    """Figure 3: one 1x1 convolution, then 3x3 convolutions on segments of its output.

    The same function as `simplified_module` with one tower per segment and `filters` filters in total.
    (N, H, W, C) to (N, H, W, filters).
    """
    x = PLAIN_UNIT(x, Conv(filters), name=f"{name}_pointwise")
    x = segmented_convolution(x, segments, name=name)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def extreme_module(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Figure 4: one 1x1 convolution, then one 3x3 convolution for each channel of its output.

    (N, H, W, C) to (N, H, W, filters).
    """
    return segmented_module(x, filters, segments=None, name=name)
