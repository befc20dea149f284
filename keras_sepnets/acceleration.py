"""A network for training that computes the same as ours, faster.

Keras 3's BatchNormalization on TensorFlow is made of single operations, and on CPUs it takes more of a training
step than the convolutions. A twin has TensorFlow's fused operation in its place, and shares every variable with
the network that it was made from: what is trained in the one is trained in the other, and the other is saved.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_sepnets.config import TrainingConfig
from keras_sepnets.errors import SepnetsError

PRECISIONS = ("float32", "bfloat16")


def accelerate(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return a twin of a functional model of ours that trains faster, with the same variables.

    Batch normalization is TensorFlow's fused operation; padding before a stride is left to the convolution where
    that is the same (even sizes). Everything else is shared with the model.

    Args:
        model: As our builders return it.
        precision: Of the operands of 1x1 convolutions: "float32", or "bfloat16" for processors that multiply
            matrices of these (AMX, AVX512-BF16); variables, batch norm and depthwise convolutions stay float32.

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

    def replace(layer: layers.Layer) -> layers.Layer:
        if type(layer) is layers.BatchNormalization:
            return _FusedBatchNormalization(layer)
        if layer.name in folded:
            return layers.Identity(name=layer.name)
        if layer.name in folded.values():
            return _SamePadded(layer)
        if precision == "bfloat16" and _is_pointwise(layer):
            return _PointwiseBfloat16(layer)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


def trained_form(network: keras.Model, config: TrainingConfig) -> keras.Model:
    """Return the network itself or, where the settings say so, its accelerated twin."""
    return accelerate(network, config.precision) if config.accelerate else network


class _FusedBatchNormalization(layers.Layer):
    """Batch normalization over (N, H, W) as TensorFlow's fused operation, equal to Keras'."""

    def __init__(self, layer: layers.BatchNormalization) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)
        self.gamma, self.beta = layer.gamma, layer.beta
        self.moving_mean, self.moving_variance = layer.moving_mean, layer.moving_variance
        self._momentum, self._epsilon = layer.momentum, layer.epsilon
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        return input_shape

    def call(self, x: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        gamma = tf.ones_like(mean) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros_like(mean) if self.beta is None else tf.convert_to_tensor(self.beta)
        if not (training and self.trainable):
            if x.dtype == tf.float64:
                return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self._epsilon)
            return tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=mean,
                variance=variance,
                epsilon=self._epsilon,
                is_training=False,
            )[0]
        if x.dtype == tf.float64:  # for which there is no fused operation
            batch_mean, batch_variance = tf.nn.moments(x, [0, 1, 2])
            y = tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, self._epsilon)
        else:
            y, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self._epsilon, is_training=True
            )
            # It gives the unbiased variance, and Keras averages the biased one.
            count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
            batch_variance *= (count - 1) / count
        for moving, now, batch in (
            (self.moving_mean, mean, batch_mean),
            (self.moving_variance, variance, batch_variance),
        ):
            moving.assign(now * self._momentum + batch * (1 - self._momentum))
        return y


class _SamePadded(layers.Layer):
    """A convolution that pads by itself, at the end only, as for stride 2 and even sizes."""

    def __init__(self, layer: layers.Conv2D | layers.DepthwiseConv2D) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)
        self.kernel = layer.kernel
        self._strides = layer.strides
        self.is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
        self._filters = layer.kernel.shape[-2] if self.is_depthwise else layer.kernel.shape[-1]
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return _strided(input_shape, self._strides, self._filters)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        if self.is_depthwise:
            return tf.nn.depthwise_conv2d(x, kernel, [1, *self._strides, 1], "SAME")
        return tf.nn.conv2d(x, kernel, self._strides, "SAME")


class _PointwiseBfloat16(layers.Layer):
    """A 1x1 convolution as a product of bfloat16 matrices, of float32 in and out."""

    def __init__(self, layer: layers.Conv2D) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)
        self.kernel = layer.kernel
        self._strides, self._filters = layer.strides, layer.filters
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return _strided(input_shape, self._strides, self._filters)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self._strides != (1, 1):
            x = x[:, :: self._strides[0], :: self._strides[1]]
        channels = x.shape[-1]
        kernel = tf.reshape(tf.cast(self.kernel.value, tf.bfloat16), [channels, self._filters])
        rows = tf.reshape(tf.cast(x, tf.bfloat16), [-1, channels])
        product = tf.cast(rows @ kernel, x.dtype)
        result = tf.reshape(product, tf.concat([tf.shape(x)[:-1], [self._filters]], 0))
        return tf.ensure_shape(result, (None, *x.shape[1:-1], self._filters))


def _strided(input_shape: Sequence[int | None], strides: tuple[int, int], filters: int) -> tuple[int | None, ...]:
    sides = [side and -(-side // stride) for side, stride in zip(input_shape[1:3], strides, strict=True)]
    return (input_shape[0], *sides, filters)


def _is_pointwise(layer: layers.Layer) -> bool:
    return type(layer) is layers.Conv2D and layer.kernel_size == (1, 1) and not layer.use_bias


def _foldable_paddings(model: keras.Model) -> dict[str, str]:
    """Return the layers that pad even sizes at their end for a convolution of stride 2, with that."""
    found = {}
    for layer in model.layers:
        if not isinstance(layer, layers.ZeroPadding2D) or layer.padding != ((0, 1), (0, 1)):
            continue
        height, width = layer.input.shape[1:3]
        consumers = [node.operation for node in layer._outbound_nodes if node.operation in model.layers]
        if None in (height, width) or height % 2 or width % 2 or len(consumers) != 1:
            continue
        (conv,) = consumers
        fits = isinstance(conv, layers.Conv2D | layers.DepthwiseConv2D) and conv.kernel_size == (3, 3)
        if fits and conv.strides == (2, 2) and conv.padding == "valid" and not conv.use_bias:
            found[layer.name] = conv.name
    return found
