"""Accuracy of a run on a split: every example exactly once."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from pydantic import Field
from sklearn.metrics import confusion_matrix, log_loss

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted
from keras_sepnets.data.batches.examples import NOTHING_READ
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.class_names import find_name
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.split_names import split_of
from keras_sepnets.inference.forward import BATCH_SIZE, classify_batches
from keras_sepnets.inference.inputs import as_run
from keras_sepnets.inference.out_of_fold import write_predictions
from keras_sepnets.inference.pictures import (
    EvaluatedPictures,
    check_classes,
    check_held_out,
    open_pictures,
)
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.kept import kept_network
from keras_sepnets.runs.plots import draw_confusion

MOST_CLASSES = 1000  # of a confusion matrix
MISTAKES_SHOWN = 5


class EvaluatedRun(Result):
    """Precedes the numbers of an evaluation."""

    run: str
    """Run folder."""
    split: str
    """train, validation or test; all, if the data set is another one with a single split."""
    dataset: str
    """Data set of the pictures."""
    checkpoint: str
    """The network: final or best."""
    epoch: int | None
    """Epoch of this network; 0: a fitted classifier before the first epoch; null: the run has lost its history."""
    predictions: str | None
    """CSV file with the prediction for each picture; null if the run folder cannot be written."""


class Mistake(NamedTuple):
    """A picture whose most probable class is wrong."""

    name: str  # path, or TFDS id
    label: str
    predicted: str
    probability: float  # of the predicted class


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
    majority_top1: float
    """What always naming the most frequent class of the split would reach."""
    class_mean_top1: float
    """Mean over the classes of the accuracy on the examples of a class."""
    classes: int = Field(exclude=True)
    """Number of classes of the network."""
    confusion: np.ndarray | None = Field(exclude=True)
    """Number of examples by true class (rows) and predicted class (columns); None for more than 1,000 classes."""
    mistakes: tuple[Mistake, ...] = Field(default=(), exclude=True)
    """The wrong predictions with the highest probabilities."""
    notes: tuple[str, ...] = Field(default=(), exclude=True)
    """How another data set was understood, and what of it was left out."""
    about: EvaluatedRun | None = Field(default=None, exclude=True)
    """What was evaluated."""


def evaluate(
    run: Run | str | os.PathLike,
    split: str = "test",
    *,
    checkpoint: str | None = None,
    dataset: str | None = None,
    settings: Sequence[str] = (),
    splits: Splits | None = None,
    cache_folder: Path | None = None,
    must_keep: bool = False,
) -> Evaluation:
    """Evaluate a run and keep the result in its folder.

    Args:
        run: The run, or the path of its folder.
        split: "train", "validation" or "test", or a word like "val", as the run or the other data set uses them.
        checkpoint: "final" or "best"; default: the one that the run keeps, or the best so far.
        dataset: Where the run's pictures are now, if they have moved, or another data set with some of its
            classes: its split of this name, or all of it if it has only one. None: as config.json says.
        settings: How these pictures are read, if not as the run's were: texts such as `data.label_column=name`.
        splits: The data of the run, if they are open already; by default they are opened as config.json says.
        cache_folder: Folder for decoded pictures; used only where the data are opened here.
        must_keep: Whether it is an error if the run folder cannot be written; otherwise a warning.

    Returns:
        The result. Its numbers are also written to evaluation-SPLIT.json, the predictions to
        predictions-SPLIT.csv, the confusion matrix to confusion-SPLIT.csv and .png. For another network than the
        one that the run keeps, these names end in -final or -best; for another data set they have of- and its name
        in place of the split.

    Raises:
        SepnetsError: The run has no such network, the split is unknown, or the data set cannot be opened or has
            other classes than the run, or the run was trained on every picture.
        FailedRunError: A picture cannot be read.
    """
    run, split = as_run(run), split_of(str(split)) or split
    file, model = run.network_file(checkpoint), run.load_model(checkpoint)
    if splits is None:
        pictures = open_pictures(run, split, dataset, cache_folder, settings)
    else:
        pictures = EvaluatedPictures(splits, split)
        check_held_out(run, split)
        check_classes(run, splits)
    splits = pictures.splits
    with splits.translated_failures():
        probabilities, labels = classify_split(model, splits, split)
    if pictures.other and splits.bad_pictures:
        left_out = counted(len(splits.bad_pictures), "unreadable file")
        warnings.warn(f"left out: {left_out}; sepnets data check names them", stacklevel=2)
    labels = np.array([find_name(name, run.class_names) for name in splits.class_names])[labels].astype(int)
    name, about = _describe(run, pictures, file.stem)
    more = {
        "mistakes": _find_mistakes(run, splits.names(split), probabilities, labels),
        "notes": tuple(splits.source.notes) if pictures.other else (),
        "about": about,
    }
    evaluation = summarize(probabilities, labels, about.split).model_copy(update=more)
    try:
        if not pictures.other:
            run.write_bad_pictures(splits.bad_pictures)
        write_predictions(run, f"predictions-{name}.csv", splits.keys(split), probabilities, labels)
        _write_evaluation(run, evaluation, name)
    except OSError as error:
        if must_keep:
            raise
        warnings.warn(f"The result is not kept, because the run folder cannot be written: {error}", stacklevel=2)
        about = about.model_copy(update={"predictions": None})
    return evaluation.model_copy(update={"about": about})


def summarize(probabilities: np.ndarray, labels: np.ndarray, split: str) -> Evaluation:
    """Return the metrics of probabilities (examples, classes) for the true labels (examples,)."""
    num_examples, classes = probabilities.shape
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    hits = ranked == labels[:, None]
    correct = int(hits[:, 0].sum())
    every_class = range(classes)
    counts, right = np.bincount(labels, minlength=classes), np.bincount(labels[hits[:, 0]], minlength=classes)
    return Evaluation(
        split=split,
        top1=correct / num_examples,
        top5=float(hits[:, :5].any(axis=1).mean()),
        loss=float(log_loss(labels, probabilities, labels=every_class)),
        num_examples=num_examples,
        top1_interval=wilson_interval(correct, num_examples),
        majority_top1=int(counts.max()) / num_examples,
        class_mean_top1=float((right[counts > 0] / counts[counts > 0]).mean()),
        classes=classes,
        confusion=confusion_matrix(labels, ranked[:, 0], labels=every_class) if classes <= MOST_CLASSES else None,
    )


def _describe(run: Run, pictures: EvaluatedPictures, network: str) -> tuple[str, EvaluatedRun]:
    """Return what tells the names of the files of an evaluation from those of others, and what is evaluated."""
    splits, role, other = pictures
    name = f"of-{other}" if other else role
    if network != run.network_file().stem:
        name += f"-{network}"
    file = f"evaluation-{name}.json"
    if other and run.has(file) and run.read_json(file).get("dataset") != splits.source.name:
        name += f"-{hashlib.sha256(os.fsencode(splits.source.name)).hexdigest()[:8]}"  # of another place
    kept = kept_network(run, network)
    return name, EvaluatedRun(
        run=str(run.path),
        split="all" if other and splits.parts[role].split != role else role,
        dataset=splits.source.name,
        checkpoint=network,
        epoch=kept.epoch if kept else None,
        predictions=str(run.path / f"predictions-{name}.csv"),
    )


def _find_mistakes(
    run: Run, pictures: Sequence[str], probabilities: np.ndarray, labels: np.ndarray
) -> tuple[Mistake, ...]:
    predicted, surest, names = probabilities.argmax(axis=1), probabilities.max(axis=1), run.class_names
    wrong = np.flatnonzero(predicted != labels)
    first = wrong[np.argsort(-surest[wrong], kind="stable")][:MISTAKES_SHOWN]
    return tuple(Mistake(pictures[k], names[labels[k]], names[predicted[k]], float(surest[k])) for k in first)


def classify_split(model: keras.Model, splits: Splits, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (examples, classes) and labels (examples,) of a role; see `classify_batches`."""
    results = list(classify_batches(model, splits.evaluation_batches(role, BATCH_SIZE)))
    if not results:
        raise FailedRunError(NOTHING_READ)
    probabilities, labels = zip(*results, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def _write_evaluation(run: Run, evaluation: Evaluation, name: str) -> None:
    about = evaluation.about.to_json() if evaluation.about else {}
    run.write_json(f"evaluation-{name}.json", {**about, **evaluation.to_json()})
    if evaluation.confusion is not None:
        dataset = DatasetName.parse(about["dataset"]).short
        title = f"{run.config.model.name} on {dataset}, {evaluation.split}: top-1 {evaluation.top1:.2%}"
        write_confusion(run, f"confusion-{name}", evaluation.confusion, run.class_names, title)


def write_confusion(run: Run, name: str, matrix: np.ndarray, class_names: Sequence[str], title: str) -> None:
    """Write a confusion matrix (rows true, columns predicted) as NAME.csv and NAME.png."""
    rows = [["true \\ predicted", *class_names]]
    rows += [[label, *row] for label, row in zip(class_names, matrix.tolist(), strict=True)]
    run.write_csv(f"{name}.csv", rows)
    run.write_picture(f"{name}.png", lambda: draw_confusion(matrix, class_names, title))
