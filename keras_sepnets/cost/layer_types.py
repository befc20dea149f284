"""How Keras' layers are counted: their names in tables of cost, and which have multiply-adds."""

import math
from collections.abc import Callable
from typing import Any

from keras import layers


def type_of(layer: Any) -> str:
    """Return the type of a layer in the terms of MobileNets' Table 2, or the name of its class."""
    kind = type(layer)
    if kind is layers.BatchNormalization:
        return "batch norm"
    if kind not in COUNTED:
        return kind.__name__
    grouped = ["grouped"] if getattr(layer, "groups", 1) > 1 else []
    size = getattr(layer, "kernel_size", ())
    return " ".join([*grouped, COUNTED[kind][0], *(["x".join(map(str, size))] if size else [])])


def _positions(layer: Any, shape: tuple[int, ...]) -> int:
    """Return the number of positions (pixels) of a tensor of `shape`, which includes the batch."""
    return math.prod(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])


def _convolution(layer: Any, _inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    # The kernel is (h, w, in / groups, out), that of a depthwise convolution (h, w, in, multiplier): either way,
    # each entry is used once per output position.
    return math.prod(layer.kernel.shape) * _positions(layer, outputs)


def _separable(layer: Any, _inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    entries = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return entries * _positions(layer, outputs)


def _transposed(layer: Any, inputs: tuple[int, ...], _outputs: tuple[int, ...]) -> int:
    return math.prod(layer.kernel.shape) * _positions(layer, inputs)


def _recurrent(layer: Any, inputs: tuple[int, ...], _outputs: tuple[int, ...]) -> int:
    return (math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape)) * inputs[1]


def _bidirectional(layer: layers.Bidirectional, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    return sum(COUNTED[type(way)][1](way, inputs, outputs) for way in (layer.forward_layer, layer.backward_layer))


def _dense(layer: layers.Dense, inputs: tuple[int, ...], _outputs: tuple[int, ...]) -> int:
    return math.prod(layer.kernel.shape) * math.prod(inputs[1:-1])


# The name of each type of layer, and the function that counts its multiply-adds.
COUNTED: dict[type, tuple[str, Callable[..., int]]] = {
    layers.Conv1D: ("conv", _convolution),
    layers.Conv2D: ("conv", _convolution),
    layers.Conv3D: ("conv", _convolution),
    layers.DepthwiseConv1D: ("depthwise conv", _convolution),
    layers.DepthwiseConv2D: ("depthwise conv", _convolution),
    layers.SeparableConv1D: ("separable conv", _separable),
    layers.SeparableConv2D: ("separable conv", _separable),
    layers.Conv1DTranspose: ("transposed conv", _transposed),
    layers.Conv2DTranspose: ("transposed conv", _transposed),
    layers.Conv3DTranspose: ("transposed conv", _transposed),
    layers.Dense: ("dense", _dense),
    layers.LSTM: ("LSTM", _recurrent),
    layers.GRU: ("GRU", _recurrent),
    layers.SimpleRNN: ("simple RNN", _recurrent),
    layers.Bidirectional: ("bidirectional", _bidirectional),
}
# Classes of keras.layers without multiply-adds: those that overwrite their input, and the others.
IN_PLACE = frozenset((
    "Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "ELU", "Flatten",
    "GaussianDropout", "GaussianNoise", "Identity", "LeakyReLU", "Normalization", "PReLU", "ReLU",
    "Rescaling", "Reshape", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"
))  # fmt: skip
FREE = frozenset((
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "Add", "Average",
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "CenterCrop", "Concatenate", "Cropping1D",
    "Cropping2D", "Cropping3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GroupNormalization", "InputLayer",
    "LayerNormalization", "Maximum", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Minimum", "Multiply",
    "Permute", "RandomBrightness", "RandomContrast", "RandomCrop", "RandomErasing", "RandomFlip",
    "RandomRotation", "RandomTranslation", "RandomZoom", "RepeatVector", "Resizing", "RMSNormalization",
    "Subtract", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D",
    "ZeroPadding2D", "ZeroPadding3D"
))  # fmt: skip
# Functions of keras.ops without multiply-adds, by the names of their classes, which are not public.
FREE_OPERATIONS = frozenset((
    "Absolute", "Add", "AveragePool", "Cast", "Clip", "Concatenate", "Divide", "Elu", "Exp", "ExpandDims",
    "Gelu", "GetItem", "HardSigmoid", "HardSilu", "LeakyRelu", "Log", "Max", "Maximum", "MaxPool", "Mean",
    "Min", "Minimum", "Multiply", "Negative", "Pad", "Power", "Relu", "Relu6", "Reshape", "Resize", "Rsqrt",
    "Sigmoid", "Silu", "Softmax", "Split", "Sqrt", "Square", "Squeeze", "Stack", "Subtract", "Sum", "Tanh",
    "Transpose", "TrueDivide"
))  # fmt: skip


def is_counted(operation: Any) -> bool:
    """Whether the multiply-adds of a layer are known."""
    if type(operation) is layers.Bidirectional:
        return {type(operation.forward_layer), type(operation.backward_layer)} <= COUNTED.keys()
    return type(operation) in COUNTED


def is_recurrent(operation: Any) -> bool:
    """Whether a layer runs over the steps of a sequence."""
    return isinstance(operation, (layers.RNN, layers.Bidirectional))


def is_in_place(operation: Any) -> bool:
    """Whether a layer can overwrite its input with its output."""
    return _is_stock(operation, IN_PLACE)


def is_free(operation: Any) -> bool:
    """Whether a layer or a function of keras.ops is known to have no multiply-adds."""
    if isinstance(operation, layers.Layer):
        return _is_stock(operation, IN_PLACE) or _is_stock(operation, FREE)
    return type(operation).__name__ in FREE_OPERATIONS


def _is_stock(operation: Any, names: frozenset[str]) -> bool:
    """Whether a layer's class is one of these in keras.layers, not another class of the same name."""
    kind = type(operation)
    return kind.__name__ in names and getattr(layers, kind.__name__, None) is kind
