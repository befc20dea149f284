"""Loads weights of this package and of keras.applications, published ImageNet weights included.

Every layer of a network is loaded, adapted or listed as fresh; nothing is skipped silently.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted, one_line
from keras_sepnets.models.hashes import HASHES
from keras_sepnets.models.loading import check_run_folder, network_file
from keras_sepnets.models.weight_files import HEAD, LayerWeights, read_layers

BACKGROUND_CLASSES = 1001  # TF-slim's ImageNet checkpoints: class 0 is the background

logger = logging.getLogger("keras_sepnets")


class Published(NamedTuple):
    """The weight files that keras.applications publishes for a network, and how their layers map to ours."""

    url: str  # of the folder
    file: Callable[[float, int, bool], str]  # file name for (alpha, size, include_top)
    alphas: tuple[float, ...]
    sizes: tuple[int, ...]  # px, of the pictures in training; other sizes use the first one's file
    first_layer: str  # the one that reads the picture
    # Our layers for each of theirs, in the file's order, the classifier last; None: the network's order.
    layers: Sequence[tuple[str, ...]] | None


class LoadReport(Result):
    """Which layers took a file's weights; `str(report)` is one line."""

    source: str
    """Path of the file."""
    loaded: tuple[str, ...]
    """Layers that took the weights as they are."""
    adapted: dict[str, str]
    """Layers that took adapted weights, and how they were adapted."""
    fresh: tuple[str, ...]
    """Layers that keep their random initialization."""
    unused: tuple[str, ...]
    """Layers of the file that the network does not have."""

    def __str__(self) -> str:
        parts = [f"{counted(len(self.loaded), 'layer')} loaded"]
        parts += [f"{name} adapted ({how})" for name, how in self.adapted.items()]
        parts += [f"left random: {', '.join(self.fresh)}"] if self.fresh else []
        parts += [f"in the file, not used: {', '.join(self.unused)}"] if self.unused else []
        return f"weights of {self.source}: {'; '.join(parts)}"


def load_weights(
    model: keras.Model, weights: str | os.PathLike | None, published: Published, *, alpha: float
) -> keras.Model:
    """Load weights into a newly built network; on an error, nothing is loaded.

    A classifier with another number of classes keeps its random weights. For another number of input channels,
    the first kernel is adapted: for grey pictures summed over the channels, otherwise repeated channel by channel
    and scaled to keep the sum. The background class of a 1001-class file is dropped. Every other layer must be in
    the file with the right shape. `model.load_report` is a `LoadReport` (None without weights); the logger
    "keras_sepnets" warns with it unless all layers were loaded unchanged.

    Args:
        model: The network.
        weights: None for random initialization; "imagenet" for the published weights of keras.applications; or the
            path of a run folder, ".keras", ".weights.h5" or Keras 2 ".h5" file of this network, as built by this
            package or keras.applications (Xception's ".weights.h5" by this package only).
        published: The network's published files.
        alpha: The network's width multiplier.

    Returns:
        The model.

    Raises:
        SepnetsError: The file does not exist, is damaged or belongs to another network.
        FailedRunError: The published file could not be downloaded.
    """
    model.load_report = None
    if weights is None:
        return model
    file = _published_file(model, published, alpha) if weights == "imagenet" else _file(weights)
    with ExitStack() as stack:
        try:
            found = read_layers(file, model, stack)
            report, values = _match(model, _by_our_names(model, found, published), published, str(file))
        except SepnetsError:
            raise
        except Exception as error:  # HDF5 and Keras raise many kinds of exceptions for damaged files
            raise SepnetsError(
                f"The weights cannot be read: {one_line(error)}. Received: weights={str(file)!r}"
            ) from error
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
    model.load_report = report
    logger.log(logging.WARNING if report.adapted or report.fresh or report.unused else logging.INFO, report)
    return model


def check_weights_exist(weights: str | os.PathLike, network: str, published: Published, *, alpha: float) -> None:
    """Raise SepnetsError if there are no such weights; see `load_weights`."""
    if weights != "imagenet":
        _file(weights)
    elif alpha not in published.alphas:
        known = ", ".join(f"{value:g}" for value in published.alphas)
        raise SepnetsError(
            f"ImageNet weights of {network} are published for alpha {known}; choose one of these, or "
            f"weights=None. Received: alpha={alpha}"
        )


def _file(weights: str | os.PathLike) -> Path:
    path = Path(weights)
    if path.is_dir() and str(weights):
        check_run_folder(path)
        return network_file(path)
    if not path.is_file():
        raise SepnetsError(
            'These weights do not exist; weights is None, "imagenet", a run folder, or a file ending in .keras, '
            f".weights.h5 or .h5. Received: weights={str(weights)!r}"
        )
    return path


def _published_file(model: keras.Model, published: Published, alpha: float) -> Path:
    """Return the file of published weights for the model, after downloading it if necessary."""
    check_weights_exist("imagenet", model.name, published, alpha=alpha)
    height, width = model.input_shape[1:3]
    size = height if height == width and height in published.sizes else published.sizes[0]
    names = {layer.name for layer in model.layers}
    classifies_imagenet = (
        "predictions" in names and "fc1" not in names and model.get_layer("predictions").units == 1000
    )
    name = published.file(alpha, size, classifies_imagenet)
    url, known_hash = f"{published.url}/{name}", HASHES.get(name)
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / name
    if path.is_file():
        if known_hash and known_hash != _hash(path, "md5" if len(known_hash) == 32 else "sha256"):
            # get_file would download it again, and delete the old file if that fails.
            raise SepnetsError(
                f"This is not the file published at {url}: its hash differs; delete it to download it again, or "
                f"pass its path as weights to trust it. Received: {path}"
            )
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        cache = str(path.parent.parent)
        return Path(keras.utils.get_file(name, url, cache_dir=cache, cache_subdir="models", file_hash=known_hash))
    except Exception as error:  # get_file raises plain Exception
        raise FailedRunError(
            f"The published weights could not be downloaded ({one_line(error)}). Fetch {url} on a machine with "
            f"internet access and put it at {path}. Received: weights='imagenet'"
        ) from error


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _by_our_names(model: keras.Model, found: list[LayerWeights], published: Published) -> dict[str, Sequence[Any]]:
    """Return a file's layers under our names: as they are, or mapped by the published order of the layers."""
    ours = [layer.name for layer in model.layers if layer.weights and layer.name not in HEAD]
    order = published.layers or [*((name,) for name in ours), ("predictions",)]
    if {*ours} <= {name for name, _ in found} or len(found) not in (len(order), len(order) - 1):
        return dict(found)
    result: dict[str, Sequence[Any]] = {}
    for names, (_, arrays) in zip(order, found, strict=False):
        first, *second = names  # a separable convolution is two layers here
        result |= {first: arrays[:1], second[0]: arrays[1:]} if second else {first: arrays}
    return result


def _match(
    model: keras.Model, found: dict[str, Sequence[Any]], published: Published, source: str
) -> tuple[LoadReport, dict[str, list[np.ndarray]]]:
    """Return the report, and the values for each layer that the file can fill."""
    values: dict[str, list[np.ndarray]] = {}
    adapted: dict[str, str] = {}
    weighted = [layer for layer in model.layers if layer.weights]
    for layer in weighted:
        arrays = found.get(layer.name, ())
        shapes = [tuple(variable.shape) for variable in layer.weights]
        if layer.name in HEAD and _has_background(arrays, shapes):
            arrays = [np.asarray(array)[..., 1:] for array in arrays]
            adapted[layer.name] = "without the background class"
        elif layer.name == published.first_layer and _differ_in_channels(arrays, shapes):
            adapted[layer.name] = f"from {arrays[0].shape[2]} to {shapes[0][2]} channels"
            arrays = [_adapt_channels(np.asarray(arrays[0]), shapes[0][2])]
        if _shapes(arrays, shapes) == shapes:
            values[layer.name] = [
                np.asarray(array).reshape(shape) for array, shape in zip(arrays, shapes, strict=True)
            ]
        elif layer.name not in HEAD:
            has = ", ".join(str(tuple(array.shape)) for array in arrays) or "nothing"
            raise SepnetsError(
                f"These weights belong to another network: for {layer.name}, {model.name} needs "
                f"{', '.join(map(str, shapes))}, the file has {has}. Received: weights={source!r}"
            )
    names = [layer.name for layer in weighted]
    report = LoadReport(
        source=source,
        loaded=tuple(name for name in names if name in values and name not in adapted),
        adapted=adapted,
        fresh=tuple(name for name in names if name not in values),
        unused=tuple(name for name in found if name not in names),
    )
    return report, values


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
