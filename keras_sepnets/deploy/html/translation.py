"""Layers of Keras as the operations that `interpreter.js` knows."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.deploy.html.operations import Operation
from keras_sepnets.models.keras_internals import operation_of

Translator: TypeAlias = Callable[[Any, list[Operation]], Operation | list[Operation]]

ACTIVATIONS = ("relu", "relu6", "elu")
IGNORED = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout, layers.Identity)


def translate(layer: Any, inputs: Any) -> Operation | list[Operation]:
    """Return what computes the outputs of a layer from its inputs.

    Raises:
        SepnetsError: interpreter.js does not know the layer, or a setting of it.
    """
    sources = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if type(layer) in IGNORED:
        return sources[0]
    if type(layer) not in TRANSLATORS:
        raise _unsupported(layer)
    for source in sources:
        if source.kind == "pad" and type(layer) not in (layers.Conv2D, layers.DepthwiseConv2D):
            raise _unsupported(layer, "padding before it")
    return TRANSLATORS[type(layer)](layer, sources)


def _unsupported(layer: Any, setting: str | None = None) -> SepnetsError:
    what = f"{type(layer).__name__} with {setting}" if setting else f"layers of the type {type(layer).__name__}"
    return SepnetsError(
        f"An HTML page cannot compute {what}; export another format, or a network that this package builds. "
        f"Received: {layer.name}"
    )


def _require(layer: Any, **settings: Any) -> None:
    """Raise SepnetsError unless the settings of a layer are these."""
    for name, value in settings.items():
        given = getattr(layer, name)
        if given != value:
            raise _unsupported(layer, f"{name}={given!r}")


def _convolution(layer: Any, sources: list[Operation]) -> Operation:
    is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
    _require(layer, data_format="channels_last", dilation_rate=(1, 1))
    _require(layer, **({"depth_multiplier": 1} if is_depthwise else {"groups": 1}))
    kernel = _array(layer.kernel)
    kernel = kernel[..., 0] if is_depthwise else kernel
    if sources[0].kind == "pad" and layer.padding != "valid":
        raise _unsupported(layer, "padding before it")
    window = _window(layer, sources[0], layer.kernel_size)
    return _activated(
        layer,
        Operation(
            "depthwise" if is_depthwise else "conv",
            sources,
            (*window.pop("size"), kernel.shape[-1]),
            window,
            kernel,
            _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1]),
        ),
    )


def _pooling(layer: Any, sources: list[Operation]) -> Operation:
    _require(layer, data_format="channels_last")
    window = _window(layer, sources[0], layer.pool_size)
    kind = "max_pool" if isinstance(layer, layers.MaxPooling2D) else "average_pool"
    return Operation(kind, sources, (*window.pop("size"), sources[0].shape[-1]), window)


def _window(layer: Any, source: Operation, window: tuple[int, int]) -> dict[str, Any]:
    """Return window, strides, padding (top, left, bottom, right) and the size of the output."""
    strides, befores, afters, size = layer.strides, [], [], []
    for side, reach, stride in zip(source.shape[:2], window, strides, strict=True):
        missing = max(0, (-(-side // stride) - 1) * stride + reach - side) if layer.padding == "same" else 0
        befores.append(missing // 2)
        afters.append(missing - missing // 2)
        size.append((side + missing - reach) // stride + 1)
    return {"window": window, "strides": strides, "padding": (*befores, *afters), "size": size}


def _batch_norm(layer: Any, sources: list[Operation]) -> Operation:
    if layer.axis not in (-1, len(sources[0].shape)):
        raise _unsupported(layer, f"axis={layer.axis}")
    scale = 1 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * _array(layer.gamma)
    shift = -_array(layer.moving_mean) * scale
    if layer.center:
        shift = shift + _array(layer.beta)
    return Operation("affine", sources, sources[0].shape, {}, scale, shift)


def _rescaling(layer: Any, sources: list[Operation]) -> Operation:
    channels = sources[0].shape[-1]
    scale, offset = (np.broadcast_to(np.float64(value), (channels,)) for value in (layer.scale, layer.offset))
    return Operation("affine", sources, sources[0].shape, {}, scale, offset)


def _relu(layer: Any, sources: list[Operation]) -> Operation:
    _require(layer, negative_slope=0, threshold=0)
    if layer.max_value not in (None, 6):
        raise _unsupported(layer, f"max_value={layer.max_value!r}")
    return Operation(
        "activation", sources, sources[0].shape, activation="relu" if layer.max_value is None else "relu6"
    )


def _activation(layer: Any, sources: list[Operation]) -> Operation:
    return _activated(layer, sources[0])


def _activated(layer: Any, operation: Operation) -> Operation:
    """Return the operation followed by the activation of a layer."""
    name = getattr(layer.activation, "__name__", str(layer.activation))
    if name == "linear":
        return operation
    if name == "softmax" and len(operation.shape) == 1:
        return Operation("softmax", [operation], operation.shape)
    if name not in ACTIVATIONS:
        raise _unsupported(layer, f"the activation {name}")
    return Operation("activation", [operation], operation.shape, activation=name)


def _softmax(layer: Any, sources: list[Operation]) -> Operation:
    _require(layer, axis=-1)
    return Operation("softmax", sources, sources[0].shape)


def _add(layer: Any, sources: list[Operation]) -> Operation:
    if len({source.shape for source in sources}) > 1:
        raise _unsupported(layer, "inputs of different shapes")
    return Operation("add", sources, sources[0].shape)


def _concatenate(layer: Any, sources: list[Operation]) -> Operation:
    if layer.axis not in (-1, len(sources[0].shape)):
        raise _unsupported(layer, f"axis={layer.axis}")
    channels = sum(source.shape[-1] for source in sources)
    return Operation("concatenate", sources, (*sources[0].shape[:-1], channels))


def _split(layer: Any, sources: list[Operation]) -> list[Operation]:
    (source,), (height, width, channels) = sources, sources[0].shape
    if layer.axis not in (-1, 3):
        raise _unsupported(layer, f"axis={layer.axis}")
    given = layer.indices_or_sections
    ends = [
        *(range(channels // given, channels, channels // given) if isinstance(given, int) else given),
        channels,
    ]
    return [
        Operation("slice", [source], (height, width, end - begin), {"begin": begin})
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def _global_average(layer: Any, sources: list[Operation]) -> Operation:
    _require(layer, data_format="channels_last", keepdims=False)
    return Operation("mean", sources, sources[0].shape[-1:])


def _dense(layer: Any, sources: list[Operation]) -> Operation:
    kernel = _array(layer.kernel)
    if len(sources[0].shape) != 1:
        raise _unsupported(layer, f"an input of the shape {sources[0].shape}")
    bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
    return _activated(layer, Operation("dense", sources, kernel.shape[-1:], {}, kernel, bias))


def _zero_padding(layer: Any, sources: list[Operation]) -> Operation:
    _require(layer, data_format="channels_last")
    (top, bottom), (left, right) = layer.padding
    height, width, channels = sources[0].shape
    shape = (height + top + bottom, width + left + right, channels)
    return Operation("pad", sources, shape, {"padding": (top, left, bottom, right)})


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


TRANSLATORS: dict[type, Translator] = {
    layers.Conv2D: _convolution,
    layers.DepthwiseConv2D: _convolution,
    layers.MaxPooling2D: _pooling,
    layers.AveragePooling2D: _pooling,
    layers.BatchNormalization: _batch_norm,
    layers.Rescaling: _rescaling,
    layers.ReLU: _relu,
    layers.Activation: _activation,
    layers.Softmax: _softmax,
    layers.Add: _add,
    layers.Concatenate: _concatenate,
    layers.GlobalAveragePooling2D: _global_average,
    layers.Dense: _dense,
    layers.ZeroPadding2D: _zero_padding,
    type(operation_of(ops.split(keras.KerasTensor((None, 1, 1, 2)), 2, axis=-1)[0])): _split,
}
