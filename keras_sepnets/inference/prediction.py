"""The classes of picture files, by a trained run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.pictures.decoding import is_picture_name
from keras_sepnets.data.pictures.preprocessing import load_picture
from keras_sepnets.runs.folder import Run

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, the most probable first."""

    path: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the path and its labels with their probabilities."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {
            "path": self.path,
            "predictions": [{"label": label, "probability": probability} for label, probability in pairs],
        }


def predict(run: Run, paths: Sequence[Path], *, top: int = 5, checkpoint: str | None = None) -> list[Prediction]:
    """Classify picture files.

    Args:
        run: A trained run; its folder says how pictures are prepared.
        paths: Picture files, and folders whose pictures are found at any depth.
        top: How many classes to name for each picture.
        checkpoint: "final" or "best"; by default the final network, or the best of an unfinished run.

    Returns:
        One prediction a picture, in the order given, folders in the order of their paths.

    Raises:
        SepnetsError: A path does not exist, a folder has no pictures, or a file is no picture.
    """
    if top < 1:
        raise SepnetsError(f"top counts classes: at least 1. Received: top={top}")
    files = list(find_pictures([Path(path) for path in paths]))
    data = run.config.data
    image_size = data.image_size
    if image_size is None:
        raise SepnetsError(f"The run's config.json has no data.image_size. Received: {str(run.path)!r}")
    model = run.load_model(checkpoint)
    class_names = run.class_names
    predictions = []
    remaining = iter(files)
    while batch := list(islice(remaining, BATCH_SIZE)):
        pictures = np.stack([load_picture(file, image_size, data.crop_fraction) for file in batch])
        for file, probabilities in zip(batch, model.predict_on_batch(pictures.astype(np.float32)), strict=True):
            best = np.argsort(-probabilities, kind="stable")[:top]
            predictions.append(
                Prediction(
                    os.fsencode(file).decode(errors="replace"),
                    tuple(class_names[label] for label in best),
                    tuple(float(probabilities[label]) for label in best),
                )
            )
    return predictions


def find_pictures(paths: Sequence[Path]) -> Iterator[Path]:
    """Give the files among `paths` and the pictures below the folders among them."""
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and is_picture_name(file.name))
            if not files:
                raise SepnetsError(
                    f"The folder has no pictures (JPEG, PNG, BMP, GIF or WebP). Received: {str(path)!r}"
                )
            yield from files
        elif path.is_file():
            yield path
        else:
            raise SepnetsError(f"There is no such picture or folder. Received: {str(path)!r}")
