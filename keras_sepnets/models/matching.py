"""Which layers of a weight file fill which layers of a network; only names and shapes are compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_sepnets.models.heads import classifiers
from keras_sepnets.models.locating import backbone_of, find_backbone, shapes_of
from keras_sepnets.models.weight_files import HEAD, FileLayers

if TYPE_CHECKING:
    from keras_sepnets.models.weights import Published

BACKGROUND_CLASSES = 1001  # TF-slim's ImageNet checkpoints: class 0 is the background
WITHOUT_BACKGROUND = "without the background class"


class Misfit(NamedTuple):
    """The first layer of a backbone that a file cannot fill."""

    layer: str
    needs: list[tuple[int, ...]]  # shapes of the network's variables
    has: list[tuple[int, ...]]  # of the file's, none if the layer is missing

    def describe(self, network: str) -> str:
        """Say what a network of this name needs, and what the file has."""
        has = ", ".join(map(str, self.has)) or "nothing"
        return f"for {self.layer}, {network} needs {', '.join(map(str, self.needs))}, the file has {has}"


class Match(NamedTuple):
    """How a file's layers fill those of a network."""

    found: dict[str, Sequence[Any]]  # the file's arrays by our names
    filled: dict[str, str]  # layers that take the file's weights, and how they are adapted ("": as they are)
    fresh: tuple[str, ...]  # layers of the classifier that keep their random weights
    unused: tuple[str, ...]  # layers of the file that fill none
    misfit: Misfit | None


def match_layers(model: keras.Model, file: FileLayers, published: "Published") -> Match:
    """Compare a file's layers with a network's; arrays need nothing but a shape.

    The backbone may be anywhere in the file. The classifier is taken over only if the file's network has nothing
    else besides the backbone, so that it says the same as that network.
    """
    places = find_backbone(model, file, published)
    found = {name: arrays for place in places for name, arrays in place.arrays.items()}
    filled: dict[str, str] = {}
    for layer in backbone_of(model):
        arrays, shapes = found.get(layer.name, ()), shapes_of(layer)
        if layer.name == published.first_layer and _differ_in_channels(arrays, shapes):
            filled[layer.name] = f"from {arrays[0].shape[2]} to {shapes[0][2]} channels"
        elif _shapes(arrays, shapes) == shapes:
            filled[layer.name] = ""
        else:
            misfit = Misfit(layer.name, shapes, [tuple(array.shape) for array in arrays])
            return Match(found, filled, (), (), misfit)
    used = {id(place.layer) for place in places}
    for ours, theirs in classifiers(model, file, used):
        shapes = shapes_of(ours)
        if ours.name in HEAD[-1:] and _has_background(theirs.arrays, shapes):
            filled[ours.name] = WITHOUT_BACKGROUND
        elif _shapes(theirs.arrays, shapes) == shapes:
            filled[ours.name] = ""
        else:
            break
        found[ours.name] = theirs.arrays
        used.add(id(theirs))
    fresh = tuple(layer.name for layer in model.layers if layer.weights and layer.name not in filled)
    unused = tuple(layer.name for layer in file.layers if layer.arrays and id(layer) not in used)
    return Match(found, filled, fresh, unused, None)


def values_of(model: keras.Model, match: Match) -> dict[str, list[np.ndarray]]:
    """Read and adapt the values of every layer that a file fills."""
    values = {}
    for name, way in match.filled.items():
        shapes = shapes_of(model.get_layer(name))
        arrays = [np.asarray(array) for array in match.found[name]]
        if way == WITHOUT_BACKGROUND:
            arrays = [array[..., 1:] for array in arrays]
        elif way:
            arrays = [_adapt_channels(arrays[0], shapes[0][2])]
        values[name] = [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]
    return values


def _shapes(arrays: Sequence[Any], like: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the arrays' shapes, without the two leading ones of a classifier saved as a 1x1 convolution."""
    shapes = [tuple(array.shape) for array in arrays]
    if len(shapes) != len(like):
        return shapes
    return [
        shape[2:] if shape[:2] == (1, 1) and len(shape) == len(wanted) + 2 else shape
        for shape, wanted in zip(shapes, like, strict=True)
    ]


def _has_background(arrays: Sequence[Any], shapes: list[tuple[int, ...]]) -> bool:
    expected = [(*shape[:-1], BACKGROUND_CLASSES) for shape in shapes]
    return shapes[0][-1] == BACKGROUND_CLASSES - 1 and expected == _shapes(arrays, shapes)


def _differ_in_channels(arrays: Sequence[Any], shapes: list[tuple[int, ...]]) -> bool:
    """Whether a single 2D kernel fits, except for its number of input channels."""
    if [len(array.shape) for array in arrays] != [4] or len(shapes) != 1:
        return False
    height, width, channels, filters = shapes[0]
    given = arrays[0].shape[2]
    return tuple(arrays[0].shape) == (height, width, given, filters) and given not in (0, channels)


def _adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return a kernel (h, w, in, out) for other input channels; equal channels give the same output as before."""
    given = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % given] * (given / channels)
