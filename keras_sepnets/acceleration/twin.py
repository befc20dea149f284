"""A network for training that computes the same as ours, faster.

Keras 3's BatchNormalization on TensorFlow is made of single operations, and on CPUs it takes more of a training
step than the convolutions. A twin has TensorFlow's fused operation in its place, and shares every variable with
the network that it was made from: what is trained in the one is trained in the other, and the other is saved.
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

PRECISIONS = ("float32", "bfloat16")
MOST_WIDENING = 4 / 3  # that the speed of whole registers pays for
CHANNEL_BY_CHANNEL = (
    layers.BatchNormalization,
    layers.ReLU,
    layers.Add,
    layers.MaxPooling2D,
    layers.ZeroPadding2D,
)


def accelerate(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return a twin of a functional model of ours that trains faster, with the same variables.

    Batch normalization is TensorFlow's fused operation; padding before a stride is left to the convolution where
    that is the same (even sizes). In bfloat16 728 channels get 8 of zeros, as oneDNN is fast with multiples of 16.
    Everything else is shared with the model.

    Args:
        model: As our builders return it.
        precision: Of what goes into convolutions over all channels and comes out of them: "float32", or "bfloat16"
            for processors that multiply matrices of these (AMX, AVX512-BF16). Variables, the statistics of batch
            norm, sums and depthwise convolutions stay float32.

    Returns:
        A model with other layers of the same names and the model's own variables.

    Raises:
        SepnetsError: There is no such precision, or the model is none of float32 or float64.
    """
    if precision not in PRECISIONS:
        raise SepnetsError(f"precision is {' or '.join(PRECISIONS)}. Received: precision={precision!r}")
    if model.dtype_policy.name not in ("float32", "float64"):
        raise SepnetsError(f"Only a model of float32 can be accelerated. Received: {model.dtype_policy.name}")
    folded = _foldable_paddings(model)
    narrow = precision == "bfloat16"
    wide = _widened(model) if narrow else set()
    rectifiers = _rectifiers(model) if narrow else {}

    def replace(layer: layers.Layer) -> layers.Layer:
        if layer.name in rectifiers:
            relu = rectifiers[layer.name]
            consumers = _consumers(model, relu)
            goes_on_narrow = bool(consumers) and all(map(_is_dense, consumers))
            return RectifiedBatchNormalization(layer, relu, "bfloat16" if goes_on_narrow else "float32")
        if type(layer) is layers.BatchNormalization:
            return FusedBatchNormalization(layer)
        if layer.name in folded or layer in rectifiers.values():
            return Nothing(layer)
        if _is_convolution(layer):
            same, narrowed, widened = layer.name in folded.values(), narrow and _is_dense(layer), layer in wide
            if same or narrowed or widened or not wide.isdisjoint(_producers(model, layer)):
                return FusedConvolution(layer, same=same, narrow=narrowed, wide=widened)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW with TensorFlow's fused operation for a variable's update in place of a dozen."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take Keras' arguments, and Keras' name, by which a checkpoint knows the variables."""
        super().__init__(*args, **({"name": "adam_w"} | options))

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update a variable and its moments."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.constant(self.beta_1, variable.dtype) ** step,
            beta2_power=tf.constant(self.beta_2, variable.dtype) ** step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def _is_dense(layer: layers.Layer) -> bool:
    """Tell whether a layer is a convolution over all channels, and nothing else."""
    plain = type(layer) is layers.Conv2D and layer.groups == 1 and not layer.use_bias
    return plain and layer.activation is keras.activations.linear


def _is_pointwise(layer: layers.Layer) -> bool:
    return _is_dense(layer) and layer.kernel_size == (1, 1)


def _is_depthwise(layer: layers.Layer) -> bool:
    plain = type(layer) is layers.DepthwiseConv2D and layer.depth_multiplier == 1 and not layer.use_bias
    return plain and layer.activation is keras.activations.linear


def _is_convolution(layer: layers.Layer) -> bool:
    return _is_dense(layer) or _is_depthwise(layer)


def _consumers(model: keras.Model, layer: layers.Layer) -> list[keras.Operation]:
    operations = set(model.operations)  # which are not layers only
    return [node.operation for node in layer._outbound_nodes if node.operation in operations]


def _producers(model: keras.Model, layer: layers.Layer) -> list[keras.Operation]:
    operations = set(model.operations)
    parents = [node.operation for inbound in layer._inbound_nodes for node in inbound.parent_nodes]
    return [producer for producer in parents if producer in operations]


def _rectifiers(model: keras.Model) -> dict[str, layers.ReLU]:
    """Return the batch norms that only a ReLU follows, with that."""
    found = {}
    for layer in model.layers:
        consumers = _consumers(model, layer)
        if type(layer) is layers.BatchNormalization and len(consumers) == 1 and type(consumers[0]) is layers.ReLU:
            found[layer.name] = consumers[0]
    return found


def _foldable_paddings(model: keras.Model) -> dict[str, str]:
    """Return the layers that pad even sizes at their end for a convolution of stride 2, with that."""
    found = {}
    for layer in model.layers:
        if not isinstance(layer, layers.ZeroPadding2D) or layer.padding != ((0, 1), (0, 1)):
            continue
        height, width = layer.input.shape[1:3]
        consumers = _consumers(model, layer)
        if None in (height, width) or height % 2 or width % 2 or len(consumers) != 1:
            continue
        (conv,) = consumers
        fits = _is_convolution(conv) and conv.kernel_size == (3, 3) and conv.strides == (2, 2)
        if fits and conv.padding == "valid":
            found[layer.name] = conv.name
    return found


def _widened(model: keras.Model) -> set[layers.Layer]:
    """Return the layers whose results are to have channels of 0 up to a multiple of what oneDNN is fast with.

    Such channels begin in 1x1 convolutions, which are products of matrices in bfloat16, and end in the next ones.
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
        consumers = _consumers(model, layer)
        ends = all(_is_pointwise(consumer) or consumer in found for consumer in consumers)
        begins = _is_pointwise(layer) or all(producer in found for producer in _producers(model, layer))
        # TensorFlow 2.21 aborts where it fuses a convolution whose kernel is padded with the layer after it.
        is_fused = _is_convolution(layer) and not (_is_pointwise(layer) or all(map(_is_pointwise, consumers)))
        return bool(consumers) and ends and begins and not is_fused

    while gone := {layer for layer in found if not stays(layer)}:
        found -= gone
    return found
