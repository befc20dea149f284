"""A twin of a network that computes the same function and trains faster.

On CPUs, Keras 3's BatchNormalization on TensorFlow, which is composed of many small operations, takes more of a
training step than the convolutions. A twin uses TensorFlow's fused operation instead. It shares every variable
with the network that it was made from: training the twin trains the network, and the network is what gets saved.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_sepnets.acceleration.fused_layers import (
    FusedBatchNormalization,
    FusedConvolution,
    Nothing,
    RectifiedBatchNormalization,
    wide_channels,
)
from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.models.keras_internals import adam_moments, consumers, producers

PRECISIONS = ("float32", "bfloat16")
MOST_WIDENING = 4 / 3  # above this ratio, extra channels cost more than full registers save
CHANNEL_BY_CHANNEL = (
    layers.BatchNormalization,
    layers.ReLU,
    layers.Add,
    layers.MaxPooling2D,
    layers.ZeroPadding2D,
)


def accelerate(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return a twin of a network that trains faster and shares its variables.

    Batch normalization becomes TensorFlow's fused operation. The convolution takes over the padding before a
    stride where both are equivalent (even sizes). In bfloat16, 728 channels are padded with 8 channels of zeros,
    as oneDNN is fast with multiples of 16. The twin shares all other layers with the model.

    Args:
        model: A functional model, as the builders of this package return it.
        precision: Of the inputs and outputs of convolutions that mix channels: "float32", or "bfloat16" for
            processors that multiply bfloat16 matrices (AMX, AVX512-BF16). Variables, the statistics of batch norm,
            sums and depthwise convolutions stay float32.

    Returns:
        A model whose layers have the same names and hold the model's own variables.

    Raises:
        SepnetsError: The precision is unknown, or the model is neither float32 nor float64.
    """
    if precision not in PRECISIONS:
        raise SepnetsError(f"precision is {' or '.join(PRECISIONS)}. Received: precision={precision!r}")
    if model.dtype_policy.name not in ("float32", "float64"):
        raise SepnetsError(
            f"Only a model in float32 or float64 can be accelerated. Received: {model.dtype_policy.name}"
        )
    folded = _foldable_paddings(model)
    narrow = precision == "bfloat16"
    wide = _widened(model) if narrow else set()
    rectifiers = _rectifiers(model) if narrow else {}

    def replace(layer: layers.Layer) -> layers.Layer:
        if layer.name in rectifiers:
            relu = rectifiers[layer.name]
            readers = consumers(model, relu)
            stays_narrow = bool(readers) and all(map(_is_dense, readers))
            return RectifiedBatchNormalization(layer, relu, "bfloat16" if stays_narrow else "float32")
        if type(layer) is layers.BatchNormalization:
            return FusedBatchNormalization(layer)
        if layer.name in folded or layer in rectifiers.values():
            return Nothing(layer)
        if _is_convolution(layer):
            same, narrowed, widened = layer.name in folded.values(), narrow and _is_dense(layer), layer in wide
            if same or narrowed or widened or not wide.isdisjoint(producers(model, layer)):
                return FusedConvolution(layer, same=same, narrow=narrowed, wide=widened)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW, updating each variable with one fused TensorFlow operation instead of a dozen."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take Keras' arguments; the name is Keras' too, because checkpoints identify variables by it."""
        super().__init__(*args, **({"name": "adam_w"} | options))

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update a variable and its moments."""
        first, second = adam_moments(self, variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.value.handle,
            v=second.value.handle,
            beta1_power=tf.constant(self.beta_1, variable.dtype) ** step,
            beta2_power=tf.constant(self.beta_2, variable.dtype) ** step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def _is_dense(layer: layers.Layer) -> bool:
    """Whether a layer is a convolution over all channels, without bias or activation."""
    plain = type(layer) is layers.Conv2D and layer.groups == 1 and not layer.use_bias
    return plain and layer.activation is keras.activations.linear


def _is_pointwise(layer: layers.Layer) -> bool:
    return _is_dense(layer) and layer.kernel_size == (1, 1)


def _is_depthwise(layer: layers.Layer) -> bool:
    plain = type(layer) is layers.DepthwiseConv2D and layer.depth_multiplier == 1 and not layer.use_bias
    return plain and layer.activation is keras.activations.linear


def _is_convolution(layer: layers.Layer) -> bool:
    return _is_dense(layer) or _is_depthwise(layer)


def _rectifiers(model: keras.Model) -> dict[str, layers.ReLU]:
    """Return the ReLU after each batch norm whose output only that ReLU reads."""
    found = {}
    for layer in model.layers:
        readers = consumers(model, layer)
        if type(layer) is layers.BatchNormalization and len(readers) == 1 and type(readers[0]) is layers.ReLU:
            found[layer.name] = readers[0]
    return found


def _foldable_paddings(model: keras.Model) -> dict[str, str]:
    """Return the layers that pad even sizes at the end, with the stride 2 convolution that can do so instead."""
    found = {}
    for layer in model.layers:
        if not isinstance(layer, layers.ZeroPadding2D) or layer.padding != ((0, 1), (0, 1)):
            continue
        height, width = layer.input.shape[1:3]
        readers = consumers(model, layer)
        if None in (height, width) or height % 2 or width % 2 or len(readers) != 1:
            continue
        (conv,) = readers
        fits = _is_convolution(conv) and conv.kernel_size == (3, 3) and conv.strides == (2, 2)
        if fits and conv.padding == "valid":
            found[layer.name] = conv.name
    return found


def _widened(model: keras.Model) -> set[layers.Layer]:
    """Return the layers whose output gets channels of zeros, up to a multiple of 16, with which oneDNN is fast.

    Such channels start in 1x1 convolutions, which are matrix products in bfloat16, and end in the next ones.
    """
    found = {
        layer
        for layer in model.layers
        if (_is_convolution(layer) or type(layer) in CHANNEL_BY_CHANNEL)
        and layer.output.shape[-1]
        < wide_channels(layer.output.shape[-1])
        <= MOST_WIDENING * layer.output.shape[-1]
        and not any(layer.output is output for output in model.outputs)
    }

    def stays(layer: layers.Layer) -> bool:
        readers = consumers(model, layer)
        ends = all(_is_pointwise(reader) or reader in found for reader in readers)
        begins = _is_pointwise(layer) or all(producer in found for producer in producers(model, layer))
        # TensorFlow 2.21 aborts where it fuses a convolution whose kernel is padded with the layer after it.
        is_fused = _is_convolution(layer) and not (_is_pointwise(layer) or all(map(_is_pointwise, readers)))
        return bool(readers) and ends and begins and not is_fused

    while dropped := {layer for layer in found if not stays(layer)}:
        found -= dropped
    return found
