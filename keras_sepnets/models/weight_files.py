"""Reads layers and arrays from weight files: Keras 3's two formats and Keras 2's. Files are not trusted."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.models.architecture import LARGEST_ARRAY, keras_name, read_architecture
from keras_sepnets.models.archives import check_sizes, open_weights

HEAD = ("fc1", "fc2", "predictions")  # this package's names for the layers of a classifier
_KINDS = frozenset(keras_name(name) for name in dir(keras.layers))
_NOT_LAYERS = re.compile("vars|optimizer|seed_generator|.*metrics.*|.*_tracker")


class Shape(NamedTuple):
    """Stands for an array whose values are not read."""

    shape: tuple[int, ...]


class FileLayer(NamedTuple):
    """A layer in a file."""

    name: str
    arrays: Sequence[Any] = ()  # its variables in Keras' order: HDF5 datasets, read later, or Shapes
    kind: str = ""  # Keras' name for its class, such as depthwise_conv2d; "": unknown
    config: Mapping[str, Any] = MappingProxyType({})  # its settings, if the file describes them
    path: str = ""  # in Keras 3's formats

    @property
    def place(self) -> tuple[str, str, int]:
        """The model that the layer is in, its kind, and its number among the layers of its kind there."""
        model, _, key = self.path.rpartition("/")
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", key).groups()  # type: ignore[union-attr]
        return model, kind, int(number or 0)


class FileLayers(NamedTuple):
    """The layers in a file, those without weights too."""

    layers: list[FileLayer]
    in_order: bool  # of the model; otherwise only layers of one kind in one model are


def read_layers(file: Path, stack: ExitStack) -> FileLayers:
    """Return the layers in a file; `stack` keeps HDF5 files open and closes them."""
    if file.name.endswith(".keras"):
        check_sizes(file)
        root: Any = open_weights(stack.enter_context(zipfile.ZipFile(file)), stack)
    elif file.name.endswith((".h5", ".hdf5")):
        root = stack.enter_context(h5py.File(file, "r"))
    else:
        raise SepnetsError(
            "Weights come from a run folder or a file ending in .keras, .weights.h5 or .h5. "
            f"Received: weights={str(file)!r}"
        )
    described = [
        FileLayer(layer.name, (), keras_name(layer.kind), layer.config, layer.path)
        for layer in read_architecture(file)
    ]
    is_legacy = "model_weights" in root or "layer_names" in root.attrs or "layer_names0" in root.attrs
    if is_legacy:
        found = list(_read_legacy_h5(_inside(root, "model_weights") if "model_weights" in root else root))
    else:
        found = list(_read_weights_h5(root, ""))
    if not found:
        raise ValueError("it has no layers, so Keras did not write it")
    if not described:
        return FileLayers(found, in_order=is_legacy)
    known = {layer.name if is_legacy else layer.path: layer for layer in found}
    layers = [
        layer._replace(arrays=known.pop(layer.name if is_legacy else layer.path, layer).arrays)
        for layer in described
    ]
    return FileLayers([*layers, *(layer for layer in known.values() if layer.arrays)], in_order=True)


def read_shapes(file: Path, stack: ExitStack) -> FileLayers | None:
    """Return the layers in a file as `read_layers` does, but with arrays that may have nothing but a shape.

    Of a .keras file, only its description is read for this; None if it does not record its shapes.
    """
    if not file.name.endswith(".keras"):
        return read_layers(file, stack)
    layers = []
    for layer in read_architecture(file):
        shapes = layer.weight_shapes()
        if shapes is None:
            return None
        arrays = tuple(Shape(shape) for shape in shapes)
        layers.append(FileLayer(layer.name, arrays, keras_name(layer.kind), layer.config, layer.path))
    return FileLayers(layers, in_order=True) if layers else None


def read_layer_names(file: Path) -> list[str]:
    """Return the names of all layers that a Keras 2 file lists; none of other files."""
    if not file.name.endswith((".h5", ".hdf5")):
        return []
    with h5py.File(file, "r") as root:
        group = _inside(root, "model_weights") if "model_weights" in root else root
        return _names(group, "layer_names") if "layer_names" in group.attrs else []


def _read_weights_h5(group: h5py.Group, prefix: str) -> Iterator[FileLayer]:
    """Yield the layers of Keras 3's format, which identifies a layer by its class and its number in that class."""
    for key in group:
        inside = None if _NOT_LAYERS.fullmatch(key) else _inside(group, key)
        if not isinstance(inside, h5py.Group):
            continue
        path = prefix + ("layers" if key == "_layer_checkpoint_dependencies" else key)  # the name in 2023
        if "vars" in inside and "layers" not in inside:
            variables = _inside(inside, "vars")
            numbers = [str(index) for index in range(len(variables))]
            arrays = [_array(variables, name) for name in (numbers if "0" in variables else variables)]
            kind = re.sub(r"_\d+$", "", key) if prefix.endswith("layers/") else ""
            yield FileLayer(str(variables.attrs.get("name", key)), arrays, kind, path=path)
        yield from _read_weights_h5(inside, f"{path}/")


def _read_legacy_h5(group: h5py.Group) -> Iterator[FileLayer]:
    """Yield the layers of Keras 2's format, in the order in which they were saved, those of nested models too."""
    for name in _names(group, "layer_names"):
        inside = _inside(group, name)
        parts: dict[str, list[h5py.Dataset]] = {}
        for variable in _names(inside, "weight_names"):
            parts.setdefault(variable.rpartition("/")[0], []).append(_array(inside, variable))
        if len(parts) > 1:  # a nested model; its layers' names are in those of the variables
            yield from (FileLayer(part.rpartition("/")[2], arrays) for part, arrays in parts.items())
        else:
            kind = re.sub(r"_\d+$", "", name)
            yield FileLayer(name, next(iter(parts.values()), []), kind=kind if kind in _KINDS else "")


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
