"""Weights from files: this package's, keras.applications', published ImageNet weights; adapted, never skipped."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.text import one_line
from keras_sepnets.models.hashes import HASHES
from keras_sepnets.models.loading import check_run_folder, network_file
from keras_sepnets.models.weight_files import HEAD, LayerWeights, read_layers

BACKGROUND_CLASSES = 1001  # of TF-slim's ImageNet checkpoints: class 0 is the background

logger = logging.getLogger("keras_sepnets")


class Published(NamedTuple):
    """The weight files of keras.applications for a network, and our layers for each of theirs."""

    url: str  # of the folder
    file: Callable[[float, int, bool], str]  # file name for (alpha, size, include_top)
    alphas: tuple[float, ...]
    sizes: tuple[int, ...]  # px, of training; the first one's file serves all other sizes
    first_layer: str  # the one that sees the picture
    layers: Sequence[tuple[str, ...]] | None  # in the file's order, the classifier last; None: in the network's


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's weights; `str(report)` is one line."""

    source: str
    loaded: tuple[str, ...]  # layers that took the file's weights as they are
    adapted: dict[str, str]  # layers that took changed ones -> how
    fresh: tuple[str, ...]  # layers that keep their random start
    unused: tuple[str, ...]  # layers of the file that the network does not have

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the report as one line."""
        parts = [f"{len(self.loaded)} layers loaded"]
        parts += [f"{name} adapted ({how})" for name, how in self.adapted.items()]
        parts += [f"left random: {', '.join(self.fresh)}"] if self.fresh else []
        parts += [f"in the file, not used: {', '.join(self.unused)}"] if self.unused else []
        return f"weights of {self.source}: {'; '.join(parts)}"


def load_weights(
    model: keras.Model, weights: str | os.PathLike | None, published: Published, *, alpha: float
) -> keras.Model:
    """Load weights into a network that was just built; either all of it is loaded and reported, or nothing.

    A classifier with another number of classes stays fresh; for another number of input channels the first
    kernel is adapted (to grey: summed over the channels; else repeated in turn, scaled to keep the sum);
    the background class of a 1001-class file is dropped. Every other layer must be in the file with its shape.
    `model.load_report` says what was done (None without weights), and so does the logger "keras_sepnets" where it
    is not simply all.

    Args:
        model: The network.
        weights: None for the random initialization; "imagenet" for the published weights of keras.applications;
            or a path: a run folder, ".keras", ".weights.h5", or Keras 2's ".h5", of this network as this
            package or keras.applications builds it (Xception's ".weights.h5" as this package builds it only).
        published: The network's published files.
        alpha: Of the network.

    Returns:
        The model.

    Raises:
        SepnetsError: There is no such file, or it does not hold this network.
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
        except Exception as error:  # HDF5 and Keras raise many kinds for damaged files
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
            'There are no such weights; weights is None, "imagenet", a run folder, or a file ending in .keras, '
            f".weights.h5 or .h5. Received: weights={str(weights)!r}"
        )
    return path


def _published_file(model: keras.Model, published: Published, alpha: float) -> Path:
    """Return the file of published weights that suits the model, downloaded if need be."""
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
            # get_file would fetch it anew, and delete it where that fails
            raise SepnetsError(
                f"This is not the file that {url} was: its hash is another; delete it to have it fetched anew, or "
                f"pass its path as weights to trust it. Received: {path}"
            )
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        cache = str(path.parent.parent)
        return Path(keras.utils.get_file(name, url, cache_dir=cache, cache_subdir="models", file_hash=known_hash))
    except Exception as error:  # get_file raises plain Exception
        raise FailedRunError(
            f"The published weights could not be downloaded ({one_line(error)}). Fetch {url} on a machine with a "
            f"network and put it at {path}. Received: weights='imagenet'"
        ) from error


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _by_our_names(model: keras.Model, found: list[LayerWeights], published: Published) -> dict[str, Sequence[Any]]:
    """Return a file's layers under our names: its own, or for keras.applications' by the published order."""
    ours = [layer.name for layer in model.layers if layer.weights and layer.name not in HEAD]
    order = published.layers or [*((name,) for name in ours), ("predictions",)]
    if {*ours} <= {name for name, _ in found} or len(found) not in (len(order), len(order) - 1):
        return dict(found)
    result: dict[str, Sequence[Any]] = {}
    for names, (_, arrays) in zip(order, found, strict=False):
        first, *second = names  # a separable convolution is two layers of ours
        result |= {first: arrays[:1], second[0]: arrays[1:]} if second else {first: arrays}
    return result


def _match(
    model: keras.Model, found: dict[str, Sequence[Any]], published: Published, source: str
) -> tuple[LoadReport, dict[str, list[np.ndarray]]]:
    """Return the values for each layer that the file can fill, and the report."""
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
                f"These weights are of another network: for {layer.name}, {model.name} needs "
                f"{', '.join(map(str, shapes))}, the file has {has}. Received: weights={source!r}"
            )
    names = [layer.name for layer in weighted]
    report = LoadReport(
        source,
        loaded=tuple(name for name in names if name in values and name not in adapted),
        adapted=adapted,
        fresh=tuple(name for name in names if name not in values),
        unused=tuple(name for name in found if name not in names),
    )
    return report, values


def _shapes(arrays: Sequence[Any], like: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the arrays' shapes; a classifier saved as a 1x1 convolution loses its two leading ones."""
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
    """Tell whether a lone 2D kernel fits but for the number of its input channels."""
    if [len(array.shape) for array in arrays] != [4] or len(shapes) != 1:
        return False
    height, width, channels, filters = shapes[0]
    given = arrays[0].shape[2]
    return tuple(arrays[0].shape) == (height, width, given, filters) and given not in (0, channels)


def _adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return a kernel (h, w, in, out) for another number of input channels; a grey picture gives what RGB gave."""
    given = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % given] * (given / channels)
