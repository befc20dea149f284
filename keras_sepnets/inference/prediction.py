"""The most probable classes of picture files, by a trained run."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, computed_field

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.data.batches.examples import FileExamples
from keras_sepnets.data.batches.pipeline import evaluation_batches
from keras_sepnets.data.batches.reading import PictureReader
from keras_sepnets.data.pictures.files import BadPictures, UnreadablePictureError, list_faults
from keras_sepnets.data.pictures.formats import KINDS
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.walking import Walk
from keras_sepnets.inference.forward import BATCH_SIZE, classify_batches
from keras_sepnets.inference.inputs import array_examples, as_pictures, as_run
from keras_sepnets.runs.folder import Run


class ClassProbability(Result):
    """A class and how probable it is."""

    label: str
    """Name of the class."""
    probability: float
    """Fraction, 0 to 1."""


class Prediction(Result):
    """The most probable classes of a picture, the most probable first."""

    path: str
    """Path of the picture; of an array, its number."""
    labels: tuple[str, ...] = Field(exclude=True)
    """Names of the classes."""
    probabilities: tuple[float, ...] = Field(exclude=True)
    """Fractions, in the order of the labels."""

    @computed_field
    def predictions(self) -> list[ClassProbability]:
        """The most probable classes, the most probable first."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return [ClassProbability(label=label, probability=probability) for label, probability in pairs]


def warn_of_bad_picture(error: UnreadablePictureError) -> None:
    """Warn of a file that cannot be read."""
    warnings.warn(str(error), stacklevel=3)


def predict(
    run: Run | str | os.PathLike,
    pictures: Any,
    *,
    top: int = 5,
    checkpoint: str | None = None,
    on_bad_picture: Callable[[UnreadablePictureError], None] = warn_of_bad_picture,
) -> list[Prediction]:
    """Classify pictures, with the batch size and the code of `evaluate`.

    Args:
        run: A trained run, or the path of its folder; its settings determine how pictures are prepared.
        pictures: The path of a picture file, or of a folder that is searched for pictures at any depth, as a data
            set's are; an array of uint8, (height, width) or (height, width, channels), or a PIL image; or several
            of one kind, in a list or as one array (N, height, width, channels).
        top: Number of classes to name for each picture.
        checkpoint: "final" or "best"; default: the one that the run keeps, or the best so far.
        on_bad_picture: Called with the error of each file that cannot be read; by default it becomes a warning.

    Returns:
        One prediction for each readable picture, in the order given; within a folder, by path. An array has its
        number, from "0" on, in place of a path.

    Raises:
        SepnetsError: There is no such run or network, a folder has no pictures, no picture can be read, or an
            array is none.
        FailedRunError: The network's probabilities are NaN.

    Example:
        >>> predict("runs/mobilenet-digits-1", "inbox")[0].labels[0]
        'seven'
    """
    if top < 1:
        raise SepnetsError(f"top is a number of classes, at least 1. Received: top={top}")
    run = as_run(run)
    data = run.config.data
    rules = PixelRules.of(data)
    given = as_pictures(pictures, rules)
    arrays = [picture for picture in given if isinstance(picture, np.ndarray)]
    paths = [picture for picture in given if not isinstance(picture, np.ndarray)]
    files = [os.fspath(file) for file in find_pictures(paths)]
    if data.image_size is None:
        raise SepnetsError(f"The run's config.json has no data.image_size. Received: {str(run.path)!r}")
    if not given:
        return []
    model, class_names = run.load_model(checkpoint), run.class_names
    encoded = np.array([os.fsencode(file) for file in files])
    bad = BadPictures(skip=True)
    reader = PictureReader(encoded, bad, rules)
    unknown = np.zeros(len(files), np.int32)
    batches = evaluation_batches(
        array_examples(arrays) if arrays else FileExamples(encoded, unknown, reader),
        batch_size=BATCH_SIZE,
        image_size=data.image_size,
        crop_fraction=data.crop_fraction,
        fit=data.fit,
    )
    rows = [row for probabilities, _ in classify_batches(model, batches) for row in probabilities]
    faults = [UnreadablePictureError(path, bad[path]) for path in dict.fromkeys(files) if path in bad]
    if not rows:
        raise SepnetsError(list_faults(faults))
    for fault in faults:
        on_bad_picture(fault)
    names = [str(number) for number in range(len(arrays))] or [file for file in files if file not in bad]
    return [_name_classes(name, row, class_names, top) for name, row in zip(names, rows, strict=True)]


def find_pictures(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the pictures below the folders among `paths`, and whatever else is among them."""
    for path in paths:
        if path.is_dir():
            try:
                files = sorted(map(Path, Walk(str(path)).pictures(str(path))))
            except OSError as error:
                raise SepnetsError(f"The folder cannot be read: {error}. Received: {str(path)!r}") from None
            if not files:
                raise SepnetsError(f"The folder has no pictures ({KINDS}). Received: {str(path)!r}")
            yield from files
        else:
            yield path


def _name_classes(file: str, probabilities: np.ndarray, class_names: Sequence[str], top: int) -> Prediction:
    best = np.argsort(-probabilities, kind="stable")[:top]
    return Prediction(
        path=os.fsencode(file).decode(errors="replace"),
        labels=tuple(class_names[label] for label in best),
        probabilities=tuple(float(probabilities[label]) for label in best),
    )
