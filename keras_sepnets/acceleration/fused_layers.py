"""Layers that replace stock ones in a twin: same function, same variables, faster operations."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

REGISTER = 16  # channels; in bfloat16, oneDNN's batch norm is 5 times slower if they are not a multiple of it


def wide_channels(channels: int) -> int:
    """Round up to the next number of channels with which oneDNN is fast."""
    return -(-channels // REGISTER) * REGISTER


class _Replacement(layers.Layer):
    """A layer that replaces a stock one in a twin, with its name and settings."""

    def __init__(self, layer: layers.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable, autocast=False)
        self.built = True


class Nothing(_Replacement):
    """Placeholder for a layer that was merged into another one."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x


class FusedBatchNormalization(_Replacement):
    """Batch normalization over (N, H, W) as TensorFlow's fused operation, equal to Keras'.

    The input may have more channels than the variables: these are 0 and stay 0.
    """

    def __init__(self, layer: layers.BatchNormalization) -> None:
        super().__init__(layer)
        self.gamma, self.beta = layer.gamma, layer.beta
        self.moving_mean, self.moving_variance = layer.moving_mean, layer.moving_variance
        self.momentum, self._epsilon = layer.momentum, layer.epsilon

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        return input_shape

    def call(self, x: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Normalize, and in training update the moving averages."""
        return tf.cast(self._normalize(x, training), self.compute_dtype)

    def _normalize(self, x: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the result in the dtype of x, or in float32 where oneDNN is slow in bfloat16."""
        if x.dtype == tf.bfloat16 and x.shape[-1] % REGISTER:
            x = tf.cast(x, tf.float32)
        mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        gamma = tf.ones_like(mean) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros_like(mean) if self.beta is None else tf.convert_to_tensor(self.beta)
        own, channels = mean.shape[0], x.shape[-1]
        mean, variance, gamma, beta = (_widen(values, [channels]) for values in (mean, variance, gamma, beta))
        is_float64 = x.dtype == tf.float64  # for which there is no fused operation
        if not (training and self.trainable):
            if is_float64:
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
        if is_float64:
            batch_mean, batch_variance = tf.nn.moments(x, [0, 1, 2])
            y = tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, self._epsilon)
            mean = mean * self.momentum + batch_mean * (1 - self.momentum)
            variance = variance * self.momentum + batch_variance * (1 - self.momentum)
        else:
            # This operation averages the unbiased variance, Keras the biased one.
            count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
            bias = tf.maximum(count - 1, 1) / count
            y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=mean,
                variance=variance / bias,
                epsilon=self._epsilon,
                exponential_avg_factor=1 - self.momentum,
                is_training=True,
            )
            variance *= bias
        self.moving_mean.assign(mean[:own])
        self.moving_variance.assign(variance[:own])
        return y


class RectifiedBatchNormalization(FusedBatchNormalization):
    """Batch normalization and the ReLU after it, which also converts from and to bfloat16."""

    def __init__(self, layer: layers.BatchNormalization, relu: layers.ReLU, result: str) -> None:
        """Merge a batch norm with the ReLU after it; `result` is the dtype of the output."""
        super().__init__(layer)
        self._highest = float("inf") if relu.max_value is None else float(relu.max_value)
        self._result = tf.as_dtype(result)

    def compute_output_spec(
        self, x: keras.KerasTensor, training: Any = None, mask: Any = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, dtype=self._result.name)

    def call(self, x: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        return rectify(self._normalize(x, training), self._highest, self._result)


def rectify(x: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    """Return min(max(x, 0), highest) as dtype `result`; it and its gradient take one pass over memory each."""

    @tf.custom_gradient
    def rectified(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        y = _clip(x, highest, result)
        narrower = x if x.dtype.size < y.dtype.size else y
        return y, lambda gradient: _clip_gradient(gradient, narrower, highest, x.dtype)

    return rectified(x)


# Layers of the same shape share the compiled function.
@tf.function(jit_compile=True, autograph=False)
def _clip(x: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(x, tf.zeros([], x.dtype), tf.constant(highest, x.dtype)), result)


@tf.function(jit_compile=True, autograph=False)
def _clip_gradient(gradient: tf.Tensor, x: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    gradient, x = tf.cast(gradient, tf.float32), tf.cast(x, tf.float32)
    return tf.cast(tf.where((x > 0) & (x < highest), gradient, tf.zeros_like(gradient)), result)


class FusedConvolution(_Replacement):
    """A convolution without bias that can also pad, multiply in bfloat16, and add output channels of zeros."""

    def __init__(
        self,
        layer: layers.Conv2D | layers.DepthwiseConv2D,
        *,
        same: bool,
        narrow: bool = False,
        wide: bool = False,
    ) -> None:
        """Replace a stock convolution.

        Args:
            layer: The stock layer.
            same: Whether to pad like TensorFlow's "SAME", which pads the end first.
            narrow: Whether to multiply in bfloat16 and return it.
            wide: Whether to add output channels of zeros, up to a multiple of 16.
        """
        super().__init__(layer)
        self.kernel = layer.kernel
        self.is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
        self._strides, self._dilation = layer.strides, layer.dilation_rate
        self._padding = "SAME" if same else layer.padding.upper()
        self._filters = layer.kernel.shape[-2] if self.is_depthwise else layer.kernel.shape[-1]
        if wide:
            self._filters = wide_channels(self._filters)
        self._is_narrow = narrow

    def compute_output_spec(self, x: keras.KerasTensor) -> keras.KerasTensor:
        sides = [
            side and -(-(side - (self._padding == "VALID") * dilation * (kernel - 1)) // stride)
            for side, kernel, stride, dilation in zip(
                x.shape[1:3], self.kernel.shape[:2], self._strides, self._dilation, strict=True
            )
        ]
        dtype = "bfloat16" if self._is_narrow else self.compute_dtype
        return keras.KerasTensor((x.shape[0], *sides, self._filters), dtype=dtype)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        dtype = tf.bfloat16 if self._is_narrow else tf.as_dtype(self.compute_dtype)
        kernel, channels = self.kernel.value, x.shape[-1]
        if self.is_depthwise:
            kernel = _widen(kernel, [*kernel.shape[:2], channels, 1])
            return tf.nn.depthwise_conv2d(
                tf.cast(x, dtype), kernel, [1, *self._strides, 1], self._padding, dilations=self._dilation
            )
        kernel = tf.cast(_widen(kernel, [*kernel.shape[:2], channels, self._filters]), dtype)
        if not self._is_narrow or kernel.shape[:2] != (1, 1):
            return tf.nn.conv2d(tf.cast(x, dtype), kernel, self._strides, self._padding, dilations=self._dilation)
        if self._strides != (1, 1):
            x = tf.nn.avg_pool2d(x, 1, self._strides, "VALID")  # picks pixels faster than a slice
        rows = tf.reshape(tf.cast(x, dtype), [-1, channels])
        result = tf.reshape(rows @ kernel[0, 0], tf.concat([tf.shape(x)[:-1], [self._filters]], 0))
        return tf.ensure_shape(result, (*x.shape[:-1], self._filters))


def _widen(values: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Pad an array with zeros at the end of each axis, up to a shape."""
    paddings = [(0, wide - own) for own, wide in zip(values.shape, shape, strict=True)]
    return tf.pad(values, paddings) if any(more for _, more in paddings) else values
