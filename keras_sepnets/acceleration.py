"""A network for training that computes the same as ours, faster.

Keras 3's BatchNormalization on TensorFlow is made of single operations, and on CPUs it takes more of a training
step than the convolutions. A twin has TensorFlow's fused operation in its place, and shares every variable with
the network that it was made from: what is trained in the one is trained in the other, and the other is saved.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_sepnets.config import TrainingConfig
from keras_sepnets.errors import SepnetsError

PRECISIONS = ("float32", "bfloat16")
BFLOAT16_CHANNELS = 16  # oneDNN normalizes multiples of it fast in bfloat16, others 5 times slower than float32


def accelerate(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return a twin of a functional model of ours that trains faster, with the same variables.

    Batch normalization is TensorFlow's fused operation; padding before a stride is left to the convolution where
    that is the same (even sizes). Everything else is shared with the model.

    Args:
        model: As our builders return it.
        precision: Of what goes into 1x1 convolutions and comes out of them: "float32", or "bfloat16" for
            processors that multiply matrices of these (AMX, AVX512-BF16). Variables, the statistics of batch norm,
            sums and all other convolutions stay float32.

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
    rectifiers = _rectifiers(model) if narrow else {}

    def replace(layer: layers.Layer) -> layers.Layer:
        if layer.name in rectifiers:
            relu = rectifiers[layer.name]
            consumers = _consumers(model, relu)
            return _RectifiedBatchNormalization(
                layer, relu, bool(consumers) and all(map(_is_pointwise, consumers))
            )
        if type(layer) is layers.BatchNormalization:
            return _FusedBatchNormalization(layer)
        if layer.name in folded or layer in rectifiers.values():
            return _Nothing(layer)
        if layer.name in folded.values():
            return _SamePadded(layer)
        if narrow and _is_pointwise(layer):
            return _PointwiseBfloat16(layer)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


def trained_form(network: keras.Model, config: TrainingConfig) -> keras.Model:
    """Return the network itself or, where the settings say so, its accelerated twin."""
    return accelerate(network, config.precision) if config.accelerate == "on" else network


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


class _FusedBatchNormalization(layers.Layer):
    """Batch normalization over (N, H, W) as TensorFlow's fused operation, equal to Keras'."""

    def __init__(self, layer: layers.BatchNormalization) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable, autocast=False)
        self.gamma, self.beta = layer.gamma, layer.beta
        self.moving_mean, self.moving_variance = layer.moving_mean, layer.moving_variance
        self._momentum, self._epsilon = layer.momentum, layer.epsilon
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        return input_shape

    def call(self, x: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        return tf.cast(self._normalize(x, training), self.compute_dtype)

    def _normalize(self, x: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the result in the type of x, or in float32 where oneDNN has no fast bfloat16."""
        if x.dtype == tf.bfloat16 and x.shape[-1] % BFLOAT16_CHANNELS:
            x = tf.cast(x, tf.float32)
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


class _RectifiedBatchNormalization(_FusedBatchNormalization):
    """Batch normalization and the ReLU after it, which also takes numbers from and to bfloat16."""

    def __init__(self, layer: layers.BatchNormalization, relu: layers.ReLU, narrow: bool) -> None:
        super().__init__(layer)
        self._highest = float("inf") if relu.max_value is None else float(relu.max_value)
        self._result = tf.bfloat16 if narrow else tf.float32

    def compute_output_spec(
        self, x: keras.KerasTensor, training: Any = None, mask: Any = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, dtype=self._result.name)

    def call(self, x: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        return _rectify(self._normalize(x, training), self._highest, self._result)


def _rectify(x: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    """Return min(max(x, 0), highest) in another type; it and its gradient go once through the memory each."""

    @tf.custom_gradient
    def rectify(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        y = _clip(x, highest, result)
        return y, lambda gradient: _clip_gradient(gradient, y, highest, x.dtype)

    return rectify(x)


# Layers of the same shape share what is compiled.
@tf.function(jit_compile=True, autograph=False)
def _clip(x: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(x, tf.zeros([], x.dtype), tf.constant(highest, x.dtype)), result)


@tf.function(jit_compile=True, autograph=False)
def _clip_gradient(gradient: tf.Tensor, y: tf.Tensor, highest: float, result: tf.DType) -> tf.Tensor:
    gradient, y = tf.cast(gradient, tf.float32), tf.cast(y, tf.float32)
    return tf.cast(tf.where((y > 0) & (y < highest), gradient, tf.zeros_like(gradient)), result)


class _Nothing(layers.Layer):
    """The place of a layer whose work another one does."""

    def __init__(self, layer: layers.Layer) -> None:
        super().__init__(name=layer.name, autocast=False)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x


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
    """A 1x1 convolution as a product of bfloat16 matrices."""

    def __init__(self, layer: layers.Conv2D) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable, autocast=False)
        self.kernel = layer.kernel
        self._strides, self._filters = layer.strides, layer.filters
        self.built = True

    def compute_output_spec(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(_strided(x.shape, self._strides, self._filters), dtype="bfloat16")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self._strides != (1, 1):
            x = x[:, :: self._strides[0], :: self._strides[1]]
        channels = x.shape[-1]
        kernel = tf.reshape(tf.cast(self.kernel.value, tf.bfloat16), [channels, self._filters])
        rows = tf.reshape(tf.cast(x, tf.bfloat16), [-1, channels])
        result = tf.reshape(rows @ kernel, tf.concat([tf.shape(x)[:-1], [self._filters]], 0))
        return tf.ensure_shape(result, (None, *x.shape[1:-1], self._filters))


def _strided(input_shape: Sequence[int | None], strides: tuple[int, int], filters: int) -> tuple[int | None, ...]:
    sides = [side and -(-side // stride) for side, stride in zip(input_shape[1:3], strides, strict=True)]
    return (input_shape[0], *sides, filters)


def _is_pointwise(layer: layers.Layer) -> bool:
    return type(layer) is layers.Conv2D and layer.kernel_size == (1, 1) and not layer.use_bias


def _consumers(model: keras.Model, layer: layers.Layer) -> list[layers.Layer]:
    return [node.operation for node in layer._outbound_nodes if node.operation in model.layers]


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
        fits = isinstance(conv, layers.Conv2D | layers.DepthwiseConv2D) and conv.kernel_size == (3, 3)
        if fits and conv.strides == (2, 2) and conv.padding == "valid" and not conv.use_bias:
            found[layer.name] = conv.name
    return found
