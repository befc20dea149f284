"""Reads the layers that a weight file describes in JSON, without building any. Files are not trusted."""

import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py

LARGEST_JSON = 2**26  # bytes; Xception in 64 segments, which has thousands of layers, needs a tenth
LARGEST_ARRAY = 2**30  # bytes, far above any kernel here; a hostile file may claim more


class LayerDescription(NamedTuple):
    """A layer as a file describes it."""

    name: str
    kind: str  # Keras' class
    config: Mapping[str, Any]
    channels: int | None  # of its input; None: not recorded, as by Keras 2
    path: str  # where Keras 3 keeps its weights in an HDF5 file

    def weight_shapes(self) -> list[tuple[int, ...]] | None:
        """Return the shapes of the layer's weights; none for other layers than the networks' own.

        Returns:
            The shapes in Keras' order; None if they are not recorded.

        Raises:
            ValueError: A shape is absurd.
        """
        if self.kind not in _SHAPES:
            return []
        if self.channels is None:
            return None
        shapes = list(_SHAPES[self.kind](self.config, self.channels))
        if any(type(side) is not int or side < 1 for shape in shapes for side in shape):
            raise ValueError(f"{self.name} has weights of impossible shapes")
        if any(4 * math.prod(shape) > LARGEST_ARRAY for shape in shapes):
            raise ValueError(f"{self.name} claims more than {LARGEST_ARRAY:,} bytes")
        return shapes


def read_architecture(file: Path) -> list[LayerDescription]:
    """Return the layers in a `.keras` file or a whole model's `.h5`, those of nested models in their place.

    Raises:
        ValueError, KeyError, OSError, TypeError: The file is damaged.
    """
    try:
        return list(_layers(read_description(file) or {}, ""))
    except RecursionError:
        raise ValueError("its description is nested too deeply") from None


def read_description(file: Path) -> dict[str, Any] | None:
    """Return Keras' description of the whole model in a `.keras` or `.h5` file; None if there are weights only."""
    text = _read_keras(file) if file.name.endswith(".keras") else _read_h5(file)
    return None if text is None else json.loads(text)


def keras_name(class_name: str) -> str:
    """Return the name that Keras gives to objects of a class, such as depthwise_conv2d."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_keras(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive, archive.open("config.json") as config:
        text = config.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON:
        raise ValueError(f"config.json has more than {LARGEST_JSON:,} bytes")
    return text


def _read_h5(file: Path) -> str | bytes | None:
    """Return the description that Keras 2, and Keras 3 in `.h5`, write next to a whole model's weights."""
    if not file.name.endswith((".h5", ".hdf5")):
        return None
    with h5py.File(file, "r") as root:
        if "model_config" not in root.attrs:
            return None
        if root.attrs.get_id("model_config").get_storage_size() > LARGEST_JSON:
            raise ValueError(f"model_config has more than {LARGEST_JSON:,} bytes")
        return root.attrs["model_config"]


def activation_name(description: Any) -> str:
    """Return the name of an activation, which is described by text, a function or None."""
    if isinstance(description, Mapping):
        inner = description.get("config")
        description = inner if isinstance(inner, str) else description.get("class_name")
    return str(description or "linear")


def layer_descriptions(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptions of a model's layers; Keras 1 describes a sequential model by a list."""
    inside = model.get("config", {})
    return inside if isinstance(inside, list) else inside.get("layers", [])


def _layers(model: Mapping[str, Any], prefix: str) -> Iterator[LayerDescription]:
    numbers: Counter[str] = Counter()
    for layer in layer_descriptions(model):
        config, kind = layer["config"], keras_name(str(layer["class_name"]))
        path = f"{prefix}layers/{kind}" + (f"_{numbers[kind]}" if numbers[kind] else "")
        if ".ops" not in str(layer.get("module")):  # functions of keras.ops are no layers
            numbers[kind] += 1
        wrapped = config.get("layer") if isinstance(config, dict) else None
        if layer_descriptions(layer):
            yield from _layers(layer, f"{path}/")
        elif isinstance(wrapped, dict) and layer_descriptions(wrapped):  # such as TimeDistributed
            yield from _layers(wrapped, f"{path}/layer/")
        else:
            shape = (layer.get("build_config") or {}).get("input_shape")
            channels = shape[-1] if isinstance(shape, list) and shape else None
            yield LayerDescription(str(config.get("name", path)), str(layer["class_name"]), config, channels, path)


def _bias(config: Mapping[str, Any], filters: int) -> list[tuple[int, ...]]:
    return [(filters,)] if config["use_bias"] else []


def _convolution(config: Mapping[str, Any], channels: int) -> list[tuple[int, ...]]:
    filters = config["filters"]
    return [(*config["kernel_size"], channels // config["groups"], filters), *_bias(config, filters)]


def _depthwise(config: Mapping[str, Any], channels: int) -> list[tuple[int, ...]]:
    multiplier = config["depth_multiplier"]
    return [(*config["kernel_size"], channels, multiplier), *_bias(config, channels * multiplier)]


def _separable(config: Mapping[str, Any], channels: int) -> list[tuple[int, ...]]:
    multiplier, filters = config["depth_multiplier"], config["filters"]
    kernels = [(*config["kernel_size"], channels, multiplier), (1, 1, channels * multiplier, filters)]
    return [*kernels, *_bias(config, filters)]


def _batch_norm(config: Mapping[str, Any], channels: int) -> list[tuple[int, ...]]:
    return [(channels,)] * (2 + bool(config["scale"]) + bool(config["center"]))


def _dense(config: Mapping[str, Any], channels: int) -> list[tuple[int, ...]]:
    return [(channels, config["units"]), *_bias(config, config["units"])]


_SHAPES = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "BatchNormalization": _batch_norm,
    "Dense": _dense,
}
