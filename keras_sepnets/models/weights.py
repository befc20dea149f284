"""Loads weights of this package and of keras.applications, published ImageNet weights included.

Every layer of a network is loaded, adapted or listed as fresh; nothing is skipped silently.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import keras

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.files import user_folder
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted, one_line, printable_text
from keras_sepnets.models.archives import check_finite
from keras_sepnets.models.hashes import HASHES
from keras_sepnets.models.loading import check_run_folder, network_file
from keras_sepnets.models.matching import Match, match_layers, values_of
from keras_sepnets.models.weight_files import read_layers, read_shapes

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
        return printable_text(f"weights of {self.source}: {'; '.join(parts)}")


def load_weights(
    model: keras.Model, weights: str | os.PathLike | None, published: Published, *, alpha: float
) -> keras.Model:
    """Load weights into a newly built network; on an error, nothing is loaded.

    A classifier keeps its random weights if it has another number of classes, or if it is not the file's whole
    head (see `match_layers`). For another number of input channels, the first kernel is adapted: for grey pictures
    summed over the channels, otherwise repeated channel by channel and scaled to keep the sum. The background
    class of a 1001-class file is dropped. Every other layer must be in the file with the right shape.
    `model.load_report` is a `LoadReport` (None without weights); the logger "keras_sepnets" warns with it unless
    all layers were loaded unchanged.

    Args:
        model: The network.
        weights: None for random initialization; "imagenet" for the published weights of keras.applications; or the
            path of a run folder, ".keras", ".weights.h5" or Keras 2 ".h5" file of this network, as built by this
            package or keras.applications, alone or as the backbone of another network.
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
    with _readable(file) as stack:
        match = match_layers(model, read_layers(file, stack), published)
        _refuse_misfit(match, model, file)
        values = values_of(model, match)
        for name, arrays in values.items():
            for array in arrays:
                check_finite(name, array, file)
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
    model.load_report = report = _report(match, model, file)
    logger.log(logging.WARNING if report.adapted or report.fresh or report.unused else logging.INFO, report)
    return model


def check_weights_fit(model: keras.Model, weights: str | os.PathLike, published: Published) -> None:
    """Raise SepnetsError if `load_weights` would refuse a run folder or file; the model needs no values.

    Only names and shapes are read. A `.keras` file that does not record its shapes is not checked here.
    """
    file = _file(weights)
    with _readable(file) as stack:
        found = read_shapes(file, stack)
        if found is not None:
            _refuse_misfit(match_layers(model, found, published), model, file)


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[ExitStack]:
    """Yield what keeps HDF5 files open; turn whatever a damaged file raises into a SepnetsError."""
    try:
        with ExitStack() as stack:
            yield stack
    except SepnetsError:
        raise
    except Exception as error:  # HDF5 and Keras raise many kinds of exceptions for damaged files
        raise SepnetsError(
            f"The weights cannot be read: {one_line(error)}. Received: weights={str(file)!r}"
        ) from error


def _refuse_misfit(match: Match, model: keras.Model, file: Path) -> None:
    if match.misfit is None:
        return
    # It builds networks to compare them with the file, and their modules import this one.
    from keras_sepnets.models.recognition import suggest_network

    raise SepnetsError(
        f"These weights belong to another network: {match.misfit.describe(model.name)}"
        f"{suggest_network(file, model)}. Received: weights={str(file)!r}"
    )


def _report(match: Match, model: keras.Model, file: Path) -> LoadReport:
    names = [layer.name for layer in model.layers if layer.weights]
    return LoadReport(
        source=str(file),
        loaded=tuple(name for name in names if match.filled.get(name) == ""),
        adapted={name: way for name, way in match.filled.items() if way},
        fresh=match.fresh,
        unused=match.unused,
    )


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
    folder = Path(os.environ.get("KERAS_HOME") or user_folder(".keras"))
    path = folder / "models" / name
    if os.path.isfile(path):  # noqa: PTH113  False in a folder that cannot be read, where pathlib's raises
        if known_hash and known_hash != _hash(path, "md5" if len(known_hash) == 32 else "sha256"):
            # get_file would download it again, and delete the old file if that fails.
            raise SepnetsError(
                f"This is not the file published at {url}: its hash differs; delete it to download it again, or "
                f"pass its path as weights to trust it. Received: {path}"
            )
        return path
    try:
        with contextlib.suppress(OSError):  # get_file turns to the temporary folder
            path.parent.mkdir(parents=True, exist_ok=True)
        return Path(
            keras.utils.get_file(name, url, cache_dir=str(folder), cache_subdir="models", file_hash=known_hash)
        )
    except Exception as error:  # get_file raises plain Exception
        raise FailedRunError(
            f"The published weights could not be downloaded ({one_line(error)}). Fetch {url} on a machine with "
            f"internet access and put it at {path}. Received: weights='imagenet'"
        ) from error


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
