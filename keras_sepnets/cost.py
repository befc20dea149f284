"""Parameters and multiply-adds of a Keras model, as exact integers.

One fused multiply-add counts 1; convolutions and dense layers only. Biases, batch norm, activations, pooling
and additions count 0, as in the papers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers


@dataclass(frozen=True)
class Cost:
    """What a model costs for one picture."""

    total: int  # parameters as `model.summary()` prints them
    trainable: int  # as Xception's paper counts
    without_bn: int  # as MobileNets' papers count
    multiply_adds: int
    not_counted: tuple[str, ...]  # names of layers of a type that this counter does not know

    def to_json(self) -> dict:
        """Return the content of cost.json."""
        return {
            "parameters": {
                "total": self.total,
                "trainable": self.trainable,
                "without_bn": self.without_bn,
            },
            "multiply_adds": self.multiply_adds,
            "not_counted": list(self.not_counted),
        }


def _convolution(layer: layers.Conv2D | layers.DepthwiseConv2D) -> int:
    # The kernel is (h, w, in / groups, out), of a depthwise convolution (h, w, in, multiplier): either way
    # every one of its entries is used once per output position.
    return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])


def _dense(layer: layers.Dense) -> int:
    return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])


MULTIPLY_ADDS: dict[type, Callable[..., int]] = {
    layers.Conv2D: _convolution,
    layers.DepthwiseConv2D: _convolution,
    layers.Dense: _dense,
}
FREE = (
    layers.InputLayer,
    layers.Rescaling,
    layers.ZeroPadding2D,
    layers.BatchNormalization,
    layers.Activation,
    layers.ReLU,
    layers.Add,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Dropout,
)


def count_cost(model: keras.Model) -> Cost:
    """Count a functional model with a fixed input size; layers of unknown type are named, not guessed.

    Args:
        model: A functional Keras model whose input has a fixed height and width.

    Returns:
        Parameters in the papers' three conventions and multiply-adds for one picture.
    """
    multiply_adds = 0
    not_counted = []
    for layer in model.layers:
        if type(layer) in MULTIPLY_ADDS:
            multiply_adds += MULTIPLY_ADDS[type(layer)](layer)
        elif not isinstance(layer, FREE):
            not_counted.append(layer.name)
    batch_norm = sum(
        layer.count_params() for layer in model.layers if isinstance(layer, layers.BatchNormalization)
    )
    total = model.count_params()
    return Cost(
        total=total,
        trainable=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        without_bn=total - batch_norm,
        multiply_adds=multiply_adds,
        not_counted=tuple(not_counted),
    )
