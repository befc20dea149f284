"""Accuracy of a run on a split: every example exactly once."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import confusion_matrix, log_loss

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.examples import NOTHING_READ
from keras_sepnets.data.batches.splits import ROLES, Splits, open_source
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.plots import draw_confusion

BATCH_SIZE = 64
MOST_CLASSES = 1000  # of a confusion matrix


@dataclass(frozen=True)
class Evaluation:
    """What a network gets right on a split; accuracies are fractions."""

    split: str
    top1: float
    top5: float
    loss: float  # mean cross-entropy, nats
    num_examples: int
    top1_interval: tuple[float, float]  # 95 %, Wilson
    confusion: np.ndarray | None  # rows true, columns predicted; None of more than 1,000 classes

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, without the confusion matrix."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "num_examples": self.num_examples,
            "top1_interval": list(self.top1_interval),
        }


def evaluate(
    run: Run,
    split: str = "test",
    *,
    checkpoint: str | None = None,
    splits: Splits | None = None,
    cache_folder: Path | None = None,
) -> Evaluation:
    """Evaluate a run and keep the result in its folder.

    Args:
        run: The run.
        split: "train", "validation" or "test", as the run cut them.
        checkpoint: "final" or "best"; by default the final network, or the best of an unfinished run.
        splits: The run's data where it is at hand; by default it is opened as config.json says.
        cache_folder: Where decoded pictures are kept, when the data is opened.

    Returns:
        Top-1, top-5, loss and confusion matrix. Also written: evaluation-SPLIT.json, confusion-SPLIT.csv, .png.

    Raises:
        SepnetsError: The run has no such network, the split is unknown, or the data set is not to be had or has
            other classes than the run.
    """
    config = run.config
    file = run.network_file(checkpoint)
    if splits is None:
        source = open_source(config.data.dataset, skip_bad=config.data.on_bad_picture == "skip")
        splits = Splits(source, config.data, cache_folder=cache_folder)
        _check_unchanged(run, splits, split)
    if splits.class_names != run.class_names:
        raise SepnetsError(
            f"The data set {printable(config.data.dataset)} no longer has the classes that the run was trained "
            "for. "
            f"Received: {printable(', '.join(splits.class_names[:20]))}; "
            f"expected: {printable(', '.join(run.class_names[:20]))}"
        )
    model = run.load_model(checkpoint)
    with splits.translated_failures():
        batches = splits.evaluation_batches(split, BATCH_SIZE)
        probabilities, labels = _predict_all(model, batches)
    run.write_bad_pictures(splits.bad_pictures)
    evaluation = summarize(probabilities, labels, split)
    run.write_json(
        f"evaluation-{split}.json",
        {"run": str(run.path), "split": split, "checkpoint": file.stem, **evaluation.to_json()},
    )
    confusion = evaluation.confusion
    if confusion is not None:
        rows = [["true \\ predicted", *splits.class_names]]
        rows += [[name, *row] for name, row in zip(splits.class_names, confusion.tolist(), strict=True)]
        run.write_csv(f"confusion-{split}.csv", rows)
        title = f"{config.model.name} on {config.data.dataset}, {split}: top-1 {evaluation.top1:.2%}"
        run.write_picture(f"confusion-{split}.png", lambda: draw_confusion(confusion, splits.class_names, title))
    return evaluation


def summarize(probabilities: np.ndarray, labels: np.ndarray, split: str) -> Evaluation:
    """Return the metrics of predicted probabilities (examples, classes) for true labels (examples,)."""
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


def _check_unchanged(run: Run, splits: Splits, split: str) -> None:
    """Refuse what was cut from other pictures than the run's: it may hold some that the run was trained on."""
    if split not in ROLES:  # which is said where its examples are asked for
        return
    recorded = run.read_json("data.json").get(split, {}).get("digest")
    if recorded in (None, splits.digest(split)):
        return
    changed = f"The {split} pictures of {printable(splits.source.name)} are not those of the run's beginning"
    if splits.is_held_out(split):
        raise SepnetsError(
            f"{changed}: files were added or removed, so that what is held out now may have been trained on. "
            f"Restore the files, or put pictures that are new to the run into a {split} folder or split."
        )
    warnings.warn(f"{changed}: the result is of the pictures as they are now.", stacklevel=2)


def _predict_all(model: keras.Model, batches: Any) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = [], []
    for pictures, batch_labels in batches:
        probabilities.append(model.predict_on_batch(pictures))
        labels.append(batch_labels.numpy())
    if not labels:
        raise FailedRunError(NOTHING_READ)
    return np.concatenate(probabilities), np.concatenate(labels)
