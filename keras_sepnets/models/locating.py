"""Finds the layers of a network's backbone in a weight file: by their names, or else by their order and shapes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import keras

from keras_sepnets.models.architecture import keras_name
from keras_sepnets.models.weight_files import HEAD, FileLayer, FileLayers

if TYPE_CHECKING:
    from keras_sepnets.models.weights import Published

Shapes: TypeAlias = list[tuple[int, ...]]


class Place(NamedTuple):
    """A layer of a file, and the layers of ours that it fills: two if it is a separable convolution."""

    layer: FileLayer
    names: tuple[str, ...]

    @property
    def arrays(self) -> dict[str, Sequence[Any]]:
        """The file's arrays by our names."""
        first, *second = self.names
        arrays = self.layer.arrays
        return {first: arrays[:1], second[0]: arrays[1:]} if second else {first: arrays}


class _Wanted(NamedTuple):
    """What a layer of the file should be like."""

    names: tuple[str, ...]
    kind: str
    shapes: Shapes

    def is_like(self, layer: FileLayer) -> bool:
        """Whether a layer is the same at another width, with more or fewer variables."""
        found, wanted = tuple(layer.arrays[0].shape), self.shapes[0]
        return len(found) == len(wanted) and (len(wanted) < 4 or found[:2] == wanted[:2])

    def fits(self, layer: FileLayer) -> bool:
        return [tuple(array.shape) for array in layer.arrays] == self.shapes


def shapes_of(layer: keras.layers.Layer) -> Shapes:
    """Return the shapes of a layer's variables."""
    return [tuple(variable.shape) for variable in layer.weights]


def backbone_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a network that have weights, without its classifier."""
    return [layer for layer in model.layers if layer.weights and layer.name not in HEAD]


def find_backbone(model: keras.Model, file: FileLayers, published: "Published") -> list[Place]:
    """Return where the layers of a network's backbone are in a file, which may hold more or another width.

    Without a place for each of them, those that the file has by name.
    """
    backbone = backbone_of(model)
    named = {layer.name: layer for layer in reversed(file.layers) if layer.arrays}
    by_name = [Place(named[layer.name], (layer.name,)) for layer in backbone if layer.name in named]
    if len(by_name) == len(backbone):
        return by_name
    candidates = []
    for order in ([names for names in published.layers or () if names[0] not in HEAD], None):
        wanted = _wanted(backbone, order)
        for sequences in _sequences(file) if wanted else ():
            if places := _locate(wanted, sequences, by_kind=not file.in_order):
                candidates.append((sum(entry.fits(place.layer) for entry, place in places), places))
    if not candidates:
        return by_name
    _, best = max(candidates, key=lambda candidate: candidate[0])
    return [place for _, place in best]


def _wanted(backbone: list[keras.layers.Layer], order: Sequence[tuple[str, ...]] | None) -> list[_Wanted]:
    """Return what the file's layers should be like: in an order given by our names, or in the network's."""
    ours = {layer.name: layer for layer in backbone}
    order = [(name,) for name in ours] if order is None else order
    if {name for names in order for name in names} != ours.keys():
        return []
    return [
        _Wanted(
            names,
            "separable_conv2d" if len(names) > 1 else keras_name(type(ours[names[0]]).__name__),
            [shape for name in names for shape in shapes_of(ours[name])],
        )
        for names in order
    ]


def _sequences(file: FileLayers) -> list[dict[str, list[FileLayer]]]:
    """Return the layers with weights as sequences in their model's order: one, or for each model one per kind."""
    layers = [layer for layer in file.layers if layer.arrays]
    if file.in_order:
        return [{"": layers}]
    models: dict[str, dict[str, list[FileLayer]]] = defaultdict(lambda: defaultdict(list))
    for layer in sorted(layers, key=lambda layer: layer.place):
        model, kind, _ = layer.place
        models[model][kind].append(layer)
    return list(models.values())


def _locate(
    wanted: list[_Wanted], sequences: dict[str, list[FileLayer]], *, by_kind: bool
) -> list[tuple[_Wanted, Place]]:
    """Return a place for each layer, consecutive in its sequence; none if there is not one for each."""
    groups: dict[str, list[_Wanted]] = defaultdict(list)
    for entry in wanted:
        groups[entry.kind if by_kind else ""].append(entry)
    found = []
    for kind, entries in groups.items():
        layers = sequences.get(kind, [])
        runs = [layers[start : start + len(entries)] for start in range(len(layers) - len(entries) + 1)]
        alike = [run for run in runs if all(map(_Wanted.is_like, entries, run))]
        if not alike:
            return []
        best = max(alike, key=lambda run: sum(map(_Wanted.fits, entries, run)))
        found += [(entry, Place(layer, entry.names)) for entry, layer in zip(entries, best, strict=True)]
    return found
