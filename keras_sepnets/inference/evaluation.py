"""Accuracy of a run on a split: every example exactly once."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from pydantic import Field
from sklearn.metrics import confusion_matrix, log_loss

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.examples import NOTHING_READ
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.inference.forward import BATCH_SIZE, classify_batches
from keras_sepnets.inference.inputs import as_run
from keras_sepnets.inference.out_of_fold import write_predictions
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.plots import draw_confusion

MOST_CLASSES = 1000  # of a confusion matrix
NAMED = 20  # classes that an error names


class Evaluation(Result):
    """How well a network classifies the examples of a split."""

    split: str = Field(exclude=True)
    """train, validation or test, as the run uses them."""
    top1: float
    """Fraction of examples whose most probable class is right."""
    top5: float
    """Fraction of examples whose class is among the five most probable."""
    loss: float
    """Mean cross-entropy in nats."""
    num_examples: int
    """Number of examples."""
    top1_interval: tuple[float, float]
    """95 % Wilson interval of top1."""
    confusion: np.ndarray | None = Field(exclude=True)
    """Number of examples by true class (rows) and predicted class (columns); None for more than 1,000 classes."""


def evaluate(
    run: Run | str | os.PathLike,
    split: str = "test",
    *,
    checkpoint: str | None = None,
    splits: Splits | None = None,
    cache_folder: Path | None = None,
) -> Evaluation:
    """Evaluate a run and keep the result in its folder.

    Args:
        run: The run, or the path of its folder.
        split: "train", "validation" or "test", as the run uses them.
        checkpoint: "final" or "best"; default: the one that the run keeps, or the best so far.
        splits: The data of the run, if they are open already; by default they are opened as config.json says.
        cache_folder: Folder for decoded pictures; used only where the data are opened here.

    Returns:
        The result. Its numbers are also written to evaluation-SPLIT.json, the confusion matrix to
        confusion-SPLIT.csv and confusion-SPLIT.png, and the predictions for a fold to predictions-test.csv.

    Raises:
        SepnetsError: The run has no such network, the split is unknown, or the data set cannot be opened or has
            other classes than the run, or the run was trained on every picture.
        FailedRunError: A picture cannot be read.
    """
    run = as_run(run)
    _check_held_out(run, split)
    file = run.network_file(checkpoint)
    if splits is None:
        splits = _open_splits(run, split, cache_folder)
    if splits.class_names != run.class_names:
        raise SepnetsError(
            f"The data set {printable(run.config.data.dataset)} no longer has the classes that the run was "
            f"trained for. Received: {printable(', '.join(splits.class_names[:NAMED]))}; "
            f"expected: {printable(', '.join(run.class_names[:NAMED]))}"
        )
    model = run.load_model(checkpoint)
    with splits.translated_failures():
        probabilities, labels = _classify_split(model, splits, split)
    run.write_bad_pictures(splits.bad_pictures)
    if run.config.data.folds and split == "test":
        write_predictions(run, splits.keys(split), probabilities, labels)
    evaluation = summarize(probabilities, labels, split)
    _write_evaluation(run, evaluation, file.stem)
    return evaluation


def summarize(probabilities: np.ndarray, labels: np.ndarray, split: str) -> Evaluation:
    """Return the metrics of probabilities (examples, classes) for the true labels (examples,)."""
    num_examples, classes = probabilities.shape
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    hits = ranked == labels[:, None]
    correct = int(hits[:, 0].sum())
    every_class = range(classes)
    return Evaluation(
        split=split,
        top1=correct / num_examples,
        top5=float(hits[:, :5].any(axis=1).mean()),
        loss=float(log_loss(labels, probabilities, labels=every_class)),
        num_examples=num_examples,
        top1_interval=wilson_interval(correct, num_examples),
        confusion=confusion_matrix(labels, ranked[:, 0], labels=every_class) if classes <= MOST_CLASSES else None,
    )


def _open_splits(run: Run, role: str, cache_folder: Path | None) -> Splits:
    data = run.config.data
    source = open_source(data.dataset, skip_bad=data.on_bad_picture == "skip", pooled=data.folds > 0)
    splits = Splits(source, data, cache_folder=cache_folder)
    _check_unchanged(run, splits, role)
    return splits


def _check_held_out(run: Run, role: str) -> None:
    """Refuse to test the final network of a cross-validation, which was trained on every picture."""
    if run.config.data.trains_on_all and role in ("validation", "test"):
        raise SepnetsError(
            "This network was trained on every picture, so none is left to test it; its accuracy is that of the "
            f"folds: sepnets evaluate {run.path.parent}. Received: split={role!r}"
        )


def _check_unchanged(run: Run, splits: Splits, role: str) -> None:
    """Refuse to test on pictures that the run may have been trained on, because the files have changed."""
    if role not in ROLES:  # refused where its examples are read
        return
    recorded = run.read_json("data.json").get(role, {}).get("digest")
    if recorded in (None, splits.digest(role)):
        return
    changed = f"The {role} pictures of {printable(splits.source.name)} have changed since the run started"
    if splits.is_held_out(role):
        raise SepnetsError(
            f"{changed}: files were added or removed, so the run may have been trained on what is held out now. "
            f"Restore the files, or put pictures that are new to the run into a {role} folder or split."
        )
    warnings.warn(f"{changed}; the result is for the pictures as they are now.", stacklevel=4)


def _classify_split(model: keras.Model, splits: Splits, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (examples, classes) and labels (examples,) of a role."""
    results = list(classify_batches(model, splits.evaluation_batches(role, BATCH_SIZE)))
    if not results:
        raise FailedRunError(NOTHING_READ)
    probabilities, labels = zip(*results, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def _write_evaluation(run: Run, evaluation: Evaluation, network: str) -> None:
    split, confusion, class_names = evaluation.split, evaluation.confusion, run.class_names
    run.write_json(
        f"evaluation-{split}.json",
        {"run": str(run.path), "split": split, "checkpoint": network, **evaluation.to_json()},
    )
    if confusion is not None:
        config = run.config
        title = f"{config.model.name} on {config.data.dataset}, {split}: top-1 {evaluation.top1:.2%}"
        write_confusion(run, f"confusion-{split}", confusion, class_names, title)


def write_confusion(run: Run, name: str, matrix: np.ndarray, class_names: Sequence[str], title: str) -> None:
    """Write a confusion matrix (rows true, columns predicted) as NAME.csv and NAME.png."""
    rows = [["true \\ predicted", *class_names]]
    rows += [[label, *row] for label, row in zip(class_names, matrix.tolist(), strict=True)]
    run.write_csv(f"{name}.csv", rows)
    run.write_picture(f"{name}.png", lambda: draw_confusion(matrix, class_names, title))
