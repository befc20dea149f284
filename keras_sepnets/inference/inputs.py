"""What `predict` and `evaluate` take from Python: runs by their paths, pictures as files or as arrays."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.batches.examples import DecodedExamples
from keras_sepnets.data.pictures.colours import image_to_rgb, picture_to_rgb
from keras_sepnets.data.pictures.headers import orientation_of
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.runs.folder import Run

CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency


def as_run(run: Run | str | os.PathLike) -> Run:
    """Return the run in a folder, or the run itself; raise SepnetsError if it is neither."""
    if isinstance(run, Run):
        return run
    if isinstance(run, str | os.PathLike):
        return Run.open(Path(run))
    raise SepnetsError(f"run is the path of a run folder, or a Run. Received: {type(run).__name__}")


def as_pictures(pictures: Any, rules: PixelRules) -> list[Path] | list[np.ndarray]:
    """Return paths, or RGB arrays of uint8 (height, width, 3).

    Args:
        pictures: A path, an array, a PIL image, or several of one kind: in an iterable, or as (N, H, W, C).
        rules: Turn the 16-bit samples of PIL images into bytes.

    Raises:
        SepnetsError: Something is neither a path nor a picture.
    """
    if isinstance(pictures, str | os.PathLike | Image.Image) or (
        isinstance(pictures, np.ndarray) and pictures.ndim != 4
    ):
        pictures = [pictures]
    elif not isinstance(pictures, Iterable) or isinstance(pictures, bytes | dict):
        raise SepnetsError(
            "Pictures are paths of files or folders, or arrays (height, width, channels). "
            f"Received: {type(pictures).__name__}"
        )
    given = list(pictures)
    if all(isinstance(picture, str | os.PathLike) for picture in given):
        return [Path(picture) for picture in given]
    return [_as_rgb(picture, number, rules) for number, picture in enumerate(given)]


def array_examples(arrays: list[np.ndarray]) -> DecodedExamples:
    """Return arrays of uint8 (height, width, 3) as examples of unknown labels."""
    return DecodedExamples(
        np.concatenate([array.reshape(-1) for array in arrays]),
        np.array([array.shape[:2] for array in arrays], np.int32),
        np.zeros(len(arrays), np.int32),
    )


def _as_rgb(picture: Any, number: int, rules: PixelRules) -> np.ndarray:
    """Return a PIL image or an array as RGB, converted like a file of the same pixels."""
    if isinstance(picture, Image.Image):
        return picture_to_rgb(picture, 1, orientation_of(picture), rules)
    if not isinstance(picture, np.ndarray):
        raise SepnetsError(
            "Give paths or arrays, not both, and nothing else. "
            f"Received: {type(picture).__name__} as picture {number}, counted from 0"
        )
    is_picture = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in CHANNELS)
    if picture.dtype != np.uint8 or not is_picture or not picture.size:
        raise SepnetsError(
            "A picture is an array of uint8, 0 to 255, of shape (height, width) or (height, width, channels) with "
            f"1, 3 or 4 channels. Received: {picture.dtype} {picture.shape} as picture {number}, counted from 0"
        )
    grey = picture.ndim == 3 and picture.shape[2] == 1
    return np.array(image_to_rgb(Image.fromarray(picture[..., 0] if grey else picture), 1))
