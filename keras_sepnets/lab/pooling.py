"""The result of a cross-validation: the predictions of all folds, pooled."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, computed_field
from sklearn.metrics import confusion_matrix

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted
from keras_sepnets.inference.evaluation import MOST_CLASSES, evaluate, write_confusion
from keras_sepnets.inference.out_of_fold import FILE as PREDICTIONS
from keras_sepnets.inference.out_of_fold import MOST_CLASSES as MOST_IN_JSON
from keras_sepnets.inference.out_of_fold import OutOfFold, read_predictions, to_rows
from keras_sepnets.lab.definition import FILE as EXPERIMENT
from keras_sepnets.lab.experiment import read_experiment
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.outcome import RunPath


class FoldResult(Result):
    """A fold as the test of the network that was trained on the others."""

    run: RunPath
    """its run folder"""
    top1: float
    """accuracy, a fraction"""
    loss: float
    """mean cross-entropy in nats"""
    num_examples: int
    """number of pictures"""


class CrossValidation(Result):
    """Every picture, tested once by a network that has not seen it: the content of results.json."""

    output: Path = Field(exclude=True)
    num_examples: int
    """number of pictures, each of which is in one fold"""
    top1: float
    """accuracy over all pictures, a fraction"""
    top1_interval: tuple[float, float]
    """95 % Wilson interval of top1, which treats the networks of all folds as one procedure"""
    majority_top1: float
    """what always naming the most frequent class would reach"""
    top5: float
    """fraction of all pictures whose class is among the five most probable"""
    loss: float
    """mean cross-entropy over all pictures, in nats"""
    folds: list[FoldResult]
    """the folds, in order"""
    class_names: list[str]
    """names of the classes, in the order of the confusion matrix"""
    confusion: list[list[int]] | None
    """pictures by true class (rows) and predicted class (columns); null for more than 100 classes"""
    final: RunPath | None
    """run folder of the network that was trained on every picture, if there is one; its accuracy is top1"""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cross_validation(self) -> str:
        """folder of the cross-validation"""
        return str(self.output)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean(self) -> float:
        """mean of the folds' top1"""
        return float(np.mean([fold.top1 for fold in self.folds]))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def std(self) -> float:
        """sample standard deviation of the folds' top1"""
        return float(np.std([fold.top1 for fold in self.folds], ddof=1))


def fold_folder(output: Path, fold: int) -> Path:
    """Return the run folder of a fold, counted from 0."""
    return output / f"fold-{fold}"


def pool_folds(output: Path, *, cache_folder: Path | None = None, must_keep: bool = False) -> CrossValidation:
    """Pool the folds of a cross-validation, and evaluate those whose results are missing.

    Args:
        output: The folder of the cross-validation.
        cache_folder: Folder for decoded pictures, for folds that have to be evaluated.
        must_keep: Whether it is an error if the folder cannot be written; otherwise a warning.

    Returns:
        The result. Also written: results.json, predictions.csv, confusion.csv, confusion.png, and in the folder of
        the final network evaluation-folds.json.

    Raises:
        SepnetsError: The folder holds no cross-validation, or one that is not finished.
    """
    runs = _finished_runs(output)
    evaluations = [_evaluation(run, cache_folder) for run in runs]
    by_fold = [read_predictions(run) for run in runs]
    sizes = [evaluation["num_examples"] for evaluation in evaluations]
    if sizes != [len(rows) for rows in by_fold]:
        raise SepnetsError(
            "The folds' predictions do not fit their evaluations; evaluate each fold again: "
            f"sepnets evaluate {runs[0].path}. Received: {str(output)!r}"
        )
    predictions = [row for rows in by_fold for row in rows]
    correct = sum(row.label == row.predicted for row in predictions)
    names = runs[0].class_names
    confusion = _confusion(predictions, names)
    final = Run(output / "final")
    result = CrossValidation(
        output=output,
        num_examples=len(predictions),
        top1=correct / len(predictions),
        top1_interval=wilson_interval(correct, len(predictions)),
        majority_top1=max(Counter(row.label for row in predictions).values()) / len(predictions),
        top5=_mean(evaluations, "top5"),
        loss=_mean(evaluations, "loss"),
        folds=[
            FoldResult(run=run, **{key: evaluation[key] for key in ("top1", "loss", "num_examples")})
            for run, evaluation in zip(runs, evaluations, strict=True)
        ],
        class_names=list(names),
        confusion=confusion.tolist() if confusion is not None and len(names) <= MOST_IN_JSON else None,
        final=final if final.is_finished else None,
    )
    try:
        _write(result, by_fold, confusion)
    except OSError as error:
        if must_keep:
            raise
        warnings.warn(f"The result is not kept, because the folder cannot be written: {error}", stacklevel=2)
    return result


def _finished_runs(output: Path) -> list[Run]:
    """Return the run of each fold; raise SepnetsError if there are none, or if one is not finished."""
    is_ablation = (output / EXPERIMENT).is_file()
    folds = 0 if is_ablation else read_experiment(output)["base"]["data"]["folds"]
    if not folds:
        raise SepnetsError(
            "This folder holds an ablation; its runs are evaluated one by one, and its result is in results.json. "
            f"Received: {str(output)!r}"
        )
    runs = [Run(fold_folder(output, fold)) for fold in range(folds)]
    finished = sum(run.is_finished for run in runs)
    if finished < folds:
        raise SepnetsError(
            f"The cross-validation is not finished: {finished} of {counted(folds, 'fold')} are trained. Repeat "
            f"its sepnets train --folds {folds} to continue. Received: {str(output)!r}"
        )
    return runs


def _evaluation(run: Run, cache_folder: Path | None) -> dict:
    """Return the test of a fold's network; repeat it if it is missing, or of another network of the run."""
    name = "evaluation-test.json"
    expected = run.network_file().stem
    if not (run.has(name) and run.has(PREDICTIONS) and run.read_json(name)["checkpoint"] == expected):
        evaluate(run, "test", cache_folder=cache_folder, must_keep=True)
    return run.read_json(name)


def _mean(evaluations: Sequence[dict], key: str) -> float:
    """Return the mean over all pictures of a number that each fold has for its own."""
    return float(
        np.average([one[key] for one in evaluations], weights=[one["num_examples"] for one in evaluations])
    )


def _confusion(predictions: Sequence[OutOfFold], names: Sequence[str]) -> np.ndarray | None:
    if len(names) > MOST_CLASSES:
        return None
    return confusion_matrix(
        [row.label for row in predictions], [row.predicted for row in predictions], labels=list(names)
    )


def _write(result: CrossValidation, by_fold: Sequence[Sequence[OutOfFold]], confusion: np.ndarray | None) -> None:
    folder, names = Run(result.output), result.class_names
    rows = sorted(
        ((row, fold) for fold, rows in enumerate(by_fold) for row in rows), key=lambda pair: pair[0].path
    )
    predictions, folds = zip(*rows, strict=True)
    folder.write_csv("predictions.csv", to_rows(predictions, names, folds))
    if confusion is not None:
        title = f"{len(by_fold)} folds: top-1 {result.top1:.2%} of {counted(result.num_examples, 'picture')}"
        write_confusion(folder, "confusion", confusion, names, title)
    folder.write_json("results.json", result.to_json())
    if result.final:
        keys = ("top1", "top1_interval", "majority_top1", "top5", "loss", "num_examples", "cross_validation")
        note = "of the folds; this network was trained on every picture and has no test of its own"
        result.final.write_json(
            "evaluation-folds.json", {"accuracy": note, **{key: result.to_json()[key] for key in keys}}
        )
