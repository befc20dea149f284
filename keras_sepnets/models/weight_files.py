"""Reads layers and arrays from weight files: Keras 3's two formats and Keras 2's. Files are not trusted."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.models.architecture import LARGEST_ARRAY, read_architecture
from keras_sepnets.models.loading import load_network

HEAD = ("fc1", "fc2", "predictions")  # this package's names for the layers of a classifier

# A layer's name and its variables in Keras' order, as arrays or as HDF5 datasets that are read later.
LayerWeights: TypeAlias = tuple[str, Sequence[Any]]


class Shape(NamedTuple):
    """Stands for an array whose values are not read."""

    shape: tuple[int, ...]


def read_layers(file: Path, model: keras.Model, stack: ExitStack) -> list[LayerWeights]:
    """Return the layers with weights in a file, in its order; `stack` keeps HDF5 files open and closes them."""
    if file.name.endswith(".keras"):
        return list(_layers_of(load_network(file)))
    if not file.name.endswith((".h5", ".hdf5")):
        raise SepnetsError(
            "Weights come from a run folder or a file ending in .keras, .weights.h5 or .h5. "
            f"Received: weights={str(file)!r}"
        )
    root = stack.enter_context(h5py.File(file, "r"))
    if "layers" in root and "layer_names" not in root.attrs:
        return list(_read_weights_h5(_inside(root, "layers"), model))
    return list(_read_legacy_h5(_inside(root, "model_weights") if "model_weights" in root else root))


def read_shapes(file: Path, model: keras.Model, stack: ExitStack) -> list[LayerWeights] | None:
    """Return the layers with weights as `read_layers` does, but with arrays that may have nothing but a shape.

    A .keras file is not opened by Keras for this; None if it does not record its shapes.
    """
    if not file.name.endswith(".keras"):
        return read_layers(file, model, stack)
    shapes = {layer.name: layer.weight_shapes() for layer in read_architecture(file)}
    if not shapes or None in shapes.values():
        return None
    return [(name, [Shape(shape) for shape in found]) for name, found in shapes.items() if found]


def read_layer_names(file: Path) -> list[str]:
    """Return the names of all layers that a Keras 2 file lists; none of other files."""
    if not file.name.endswith((".h5", ".hdf5")):
        return []
    with h5py.File(file, "r") as root:
        group = _inside(root, "model_weights") if "model_weights" in root else root
        return _names(group, "layer_names") if "layer_names" in group.attrs else []


def _layers_of(model: keras.Model) -> Iterator[LayerWeights]:
    """Yield the layers of a model and of the models nested in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer)
        elif layer.weights:
            yield layer.name, layer.get_weights()


def _read_weights_h5(group: h5py.Group, model: keras.Model) -> Iterator[LayerWeights]:
    """Yield the layers of Keras 3's format, which identifies a layer by its class and its number in that class."""
    found = {}
    for key in group:
        layer = _inside(group, key)
        variables = _inside(layer, "vars") if "vars" in layer else {}
        if len(variables):
            found[key] = [_array(variables, str(index)) for index in range(len(variables))]
    numbers: dict[str, int] = {}
    head_is_there = False
    for layer in model.layers:
        kind = keras_name(type(layer).__name__)
        number = numbers[kind] = numbers.get(kind, -1) + 1
        key = f"{kind}_{number}" if number else kind
        if key in found:
            head_is_there |= layer.name in HEAD
            yield layer.name, found.pop(key)
    if len(found) == 1 and not head_is_there:  # the 1x1 convolution of keras.applications' MobileNet
        found = dict(zip(HEAD[-1:], found.values(), strict=True))
    yield from found.items()


def keras_name(class_name: str) -> str:
    """Return the name that Keras gives to objects of a class, such as depthwise_conv2d."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_legacy_h5(group: h5py.Group) -> Iterator[LayerWeights]:
    """Yield the layers of Keras 2's format, in the order in which they were saved."""
    for layer in _names(group, "layer_names"):
        inside = _inside(group, layer)
        variables = _names(inside, "weight_names")
        if variables:
            yield layer, [_array(inside, variable) for variable in variables]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Return a list of names; Keras 2 splits long ones into numbered attributes."""
    names = [*group.attrs.get(attribute, ())]
    number = 0
    while f"{attribute}{number}" in group.attrs:
        names += group.attrs[f"{attribute}{number}"]
        number += 1
    if not number and attribute not in group.attrs:
        raise KeyError(f"{group.name} has no {attribute}; Keras did not write it")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _inside(group: h5py.Group, path: str) -> Any:
    """Return the object at a path inside a group; refuse links, which may lead to other files."""
    for name in path.split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is missing or a link")
        group = group[name]
    return group


def _array(group: h5py.Group, path: str) -> h5py.Dataset:
    """Return an array of numbers without reading it; refuse one that is in another file or absurdly large."""
    data = _inside(group, path)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
        raise ValueError(f"{path} is not an array of numbers")
    if data.is_virtual or data.external:
        raise ValueError(f"{path} is missing or in another file")
    if data.nbytes > LARGEST_ARRAY:
        raise ValueError(f"{path} claims {data.nbytes:,} bytes")
    return data
