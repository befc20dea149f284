"""The predictions of a run's network for its pictures, one row each; of its test pictures, if it is a fold."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_sepnets.base.text import one_line, printable
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.reading import damaged

FILE = "predictions-test.csv"
COLUMNS = ("path", "label", "predicted", "probability", "label_probability")
MOST_CLASSES = 100  # whose probabilities are all written


class OutOfFold(NamedTuple):
    """A picture's class and what a network that has not seen it says."""

    path: str  # within the data set, or the TFDS id
    label: str
    predicted: str
    probability: str  # of the predicted class
    label_probability: str  # of the true class
    probabilities: tuple[str, ...]  # of every class; empty for more than 100 classes


def write_predictions(
    run: Run, file: str, keys: Sequence[str], probabilities: np.ndarray, labels: np.ndarray
) -> None:
    """Write the predictions of a run's network.

    Args:
        run: The run.
        file: Name of the CSV file, such as predictions-test.csv.
        keys: What identifies each picture.
        probabilities: float32 (pictures, classes).
        labels: True classes, int (pictures,).
    """
    names = run.class_names
    rows = []
    for key, row, label in zip(keys, probabilities, labels, strict=True):
        best = int(row.argmax())
        every = tuple(map(str, row)) if len(names) <= MOST_CLASSES else ()
        rows.append(OutOfFold(printable(key), names[label], names[best], str(row[best]), str(row[label]), every))
    run.write_csv(file, to_rows(rows, names))


def read_predictions(run: Run, file: str = FILE) -> list[OutOfFold]:
    """Return the content of predictions-test.csv, or of another such file; raise SepnetsError if it is damaged."""
    try:
        _, *rows = csv.reader(io.StringIO((run.path / file).read_text(encoding="utf-8"), newline=""))
        return [OutOfFold._make([*row[: len(COLUMNS)], tuple(row[len(COLUMNS) :])]) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise damaged(run.path / file, one_line(error)) from None


def to_rows(
    predictions: Iterable[OutOfFold], class_names: Sequence[str], folds: Iterable[int] | None = None
) -> list[list[Any]]:
    """Return the rows of a CSV file, with the fold of each prediction if `folds` are given."""
    every = [f"p({name})" for name in class_names] if len(class_names) <= MOST_CLASSES else []
    if folds is None:
        return [[*COLUMNS, *every], *([*row[:-1], *row.probabilities] for row in predictions)]
    pairs = zip(predictions, folds, strict=True)
    return [[*COLUMNS, "fold", *every], *([*row[:-1], fold, *row.probabilities] for row, fold in pairs)]
