"""Runs side by side: their state, accuracy and cost, and how two of them differ."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import one_line
from keras_sepnets.runs.folder import Run, runs_root
from keras_sepnets.runs.kept import KeptNetwork, kept_network
from keras_sepnets.settings.layers import flatten


class RunSummary(Result):
    """A run in one line; numbers are null if they are not known yet."""

    run: str
    """Run folder."""
    status: str
    """finished, training, unfinished, lost (it has no checkpoint to resume from) or damaged."""
    fault: str | None = None
    """What is wrong with a damaged run."""
    folds: tuple[int, int] | None = None
    """Finished folds and all folds, if this is a cross-validation; its runs follow."""
    started: str | None = None
    """Start of the training, UTC."""
    model: str | None = None
    """Network."""
    alpha: float | None = None
    """Width multiplier."""
    dataset: str | None = None
    """Data set."""
    image_size: int | None = None
    """Height and width of pictures, in px."""
    epoch: int | None = None
    """Finished epochs; null if the run has lost its history."""
    epochs: int | None = None
    """Epochs of the complete run."""
    parameters: int | None = None
    """Total number of parameters."""
    multiply_adds: int | None = None
    """Multiply-adds of one picture."""
    checkpoint: str | None = None
    """The network that the run keeps, final or best, which both accuracies are of."""
    checkpoint_epoch: int | None = None
    """Epoch of this network; null if the run has lost its history."""
    validation_top1: float | None = None
    """Validation top-1 accuracy of this network, as a fraction."""
    test_top1: float | None = None
    """Test top-1 accuracy of this network, as a fraction; of a cross-validation, over all folds."""
    test_top1_interval: tuple[float, float] | None = None
    """95 % Wilson interval of test_top1."""
    test_majority_top1: float | None = None
    """What always naming the most frequent class of the test would reach."""
    train_seconds: float | None = None
    """Duration of the training, in s."""


Summary = TypeVar("Summary", RunSummary, RunSummary | None)


class RunsDifference(Result):
    """How two runs differ."""

    runs: tuple[RunSummary, RunSummary]
    """Both runs."""
    settings: dict[str, list[Any]]
    """Settings that differ, by dotted key, with both values."""


def list_runs(root: Path | None = None) -> list[RunSummary]:
    """Return all runs and cross-validations in a folder and its subfolders, oldest first.

    Args:
        root: The folder; None for $SEPNETS_RUNS or runs/.

    Raises:
        SepnetsError: The folder does not exist.
    """
    root = runs_root() if root is None else root
    if not root.is_dir():
        raise SepnetsError(f"There is no folder of runs; name one, or train first. Received: {str(root)!r}")
    kinds = (("config.json", summarize_run), ("experiment.json", _summarize_folds))
    rows = [
        _or_damaged(summarize, file.parent)
        for name, summarize in kinds
        for file in root.rglob(name)
        if not file.parent.is_symlink()
    ]
    return sorted((row for row in rows if row), key=lambda row: (row.started or "", row.run))


def summarize_run(path: Path) -> RunSummary:
    """Summarize a run, also a damaged one; raise SepnetsError if the folder holds none."""
    Run.open(path)
    return _or_damaged(_summarize, path)


def _summarize(path: Path) -> RunSummary:
    run = Run(path)
    config, history, kept = run.config, run.read_history(), kept_network(run)
    cost = run.read_json("cost.json")
    test = _test_of(run, kept) if kept else {}
    trained = run.read_json("training.json") if run.is_finished else {}
    return RunSummary(
        run=str(path),
        status=_status(run),
        started=run.read_json("environment.json")["started"],
        model=config.model.name,
        alpha=config.model.alpha,
        dataset=config.data.dataset,
        image_size=config.data.image_size,
        epoch=None if kept and kept.epoch is None else len(history),
        epochs=int(config.training.epochs),
        parameters=cost["parameters"]["total"],
        multiply_adds=cost["multiply_adds"],
        checkpoint=kept.name if kept else None,
        checkpoint_epoch=kept.epoch if kept else None,
        validation_top1=kept.validation_top1 if kept else None,
        test_top1=test.get("top1"),
        test_top1_interval=test.get("top1_interval"),
        test_majority_top1=test.get("majority_top1"),
        train_seconds=trained.get("train_seconds"),
    )


def _test_of(run: Run, kept: KeptNetwork) -> dict[str, Any]:
    """Return the test of the kept network; nothing if there is none, or if it has been trained further since."""
    if not run.has("evaluation-test.json"):
        return {}
    test = run.read_json("evaluation-test.json")
    epochs = test.get("epoch"), kept.epoch  # None: unknown
    is_same_epoch = None in epochs or epochs[0] == epochs[1]
    return test if is_same_epoch and test.get("checkpoint", kept.name) == kept.name else {}


def _summarize_folds(folder: Path) -> RunSummary | None:
    """Summarize a cross-validation; None for another experiment, which has no folds."""
    folds = Run(folder).read_json("experiment.json")["base"]["data"].get("folds", 0)
    if not folds:
        return None
    runs = [Run(folder / f"fold-{fold}") for fold in range(folds)]
    finished = sum(run.is_finished for run in runs)
    result = Run(folder).read_json("results.json") if Run(folder).has("results.json") else {}
    first = summarize_run(runs[0].path) if runs[0].has("config.json") else None
    of_first = ("started", "model", "alpha", "dataset", "image_size", "parameters", "multiply_adds")
    return RunSummary(
        run=str(folder),
        status="finished" if result and finished == folds else "unfinished",
        folds=(finished, folds),
        **{name: getattr(first, name) for name in of_first if first},
        test_top1=result.get("top1"),
        test_top1_interval=result.get("top1_interval"),
        test_majority_top1=result.get("majority_top1"),
    )


def _or_damaged(summarize: Callable[[Path], Summary], path: Path) -> Summary | RunSummary:
    """Return a summary, or what is wrong: one damaged folder does not hide the others."""
    try:
        return summarize(path)
    except SepnetsError as error:
        fault = str(error)
    except Exception as error:  # whatever damaged files lead to belongs into the row of their folder alone
        fault = f"its files do not fit together ({type(error).__name__}: {one_line(error, 100)})"
    return RunSummary(run=str(path), status="damaged", fault=fault)


def compare_runs(one: Path, other: Path) -> RunsDifference:
    """Return both runs and the settings in which they differ."""
    return RunsDifference(runs=(summarize_run(one), summarize_run(other)), settings=compare_settings(one, other))


def compare_settings(one: Path, other: Path) -> dict[str, list[Any]]:
    """Return the settings in which two runs differ, by dotted key, each with both values."""
    first, second = (flatten(Run.open(path).config.model_dump(mode="json")) for path in (one, other))
    keys = dict.fromkeys([*first, *second])
    return {key: [first.get(key), second.get(key)] for key in keys if first.get(key) != second.get(key)}


def _status(run: Run) -> str:
    if run.is_finished:
        return "finished"
    try:
        with run.locked() if run.has(".lock") else contextlib.nullcontext():
            return "unfinished" if run.is_resumable else "lost"
    except SepnetsError:
        return "training"
    except OSError:  # the folder is read-only
        return "unfinished" if run.is_resumable else "lost"
