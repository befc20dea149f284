"""Runs side by side: their state, accuracy and cost, and how two of them differ."""

import contextlib
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.runs.folder import Run, runs_root
from keras_sepnets.settings.layers import flatten


class RunSummary(Result):
    """A run in one line; numbers are null if they are not known yet."""

    run: str
    """Run folder."""
    status: str
    """finished, training, unfinished, lost (it has no checkpoint to resume from) or damaged."""
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
    epoch: int = 0
    """Finished epochs."""
    epochs: int | None = None
    """Epochs of the complete run."""
    parameters: int | None = None
    """Total number of parameters."""
    multiply_adds: int | None = None
    """Multiply-adds of one picture."""
    validation_top1: float | None = None
    """Validation top-1 accuracy of the best epoch, as a fraction."""
    test_top1: float | None = None
    """Test top-1 accuracy, as a fraction."""
    test_top1_interval: tuple[float, float] | None = None
    """95 % Wilson interval of test_top1."""
    train_seconds: float | None = None
    """Duration of the training, in s."""


class RunsDifference(Result):
    """How two runs differ."""

    runs: tuple[RunSummary, RunSummary]
    """Both runs."""
    settings: dict[str, list[Any]]
    """Settings that differ, by dotted key, with both values."""


def list_runs(root: Path | None = None) -> list[RunSummary]:
    """Return all runs in a folder and its subfolders, oldest first.

    Args:
        root: The folder; None for $SEPNETS_RUNS or runs/.

    Raises:
        SepnetsError: The folder does not exist.
    """
    root = runs_root() if root is None else root
    if not root.is_dir():
        raise SepnetsError(f"There is no folder of runs; name one, or train first. Received: {str(root)!r}")
    found = [file.parent for file in root.rglob("config.json") if not file.parent.is_symlink()]
    return sorted(map(summarize_run, found), key=lambda row: (row.started or "", row.run))


def summarize_run(path: Path) -> RunSummary:
    """Summarize a run; raise SepnetsError if the folder holds none."""
    run = Run.open(path)
    try:
        config, history = run.config, run.read_history()
        cost = run.read_json("cost.json")
        started = run.read_json("environment.json")["started"]
        test = run.read_json("evaluation-test.json") if run.has("evaluation-test.json") else {}
        trained = run.read_json("training.json") if run.is_finished else {}
        return RunSummary(
            run=str(path),
            status=_status(run),
            started=started,
            model=config.model.name,
            alpha=config.model.alpha,
            dataset=config.data.dataset,
            image_size=config.data.image_size,
            epoch=len(history),
            epochs=int(config.training.epochs),
            parameters=cost["parameters"]["total"],
            multiply_adds=cost["multiply_adds"],
            validation_top1=_validation_top1(run, history),
            test_top1=test.get("top1"),
            test_top1_interval=test.get("top1_interval"),
            train_seconds=trained.get("train_seconds"),
        )
    except (SepnetsError, ValueError, KeyError, TypeError, OSError):
        return RunSummary(run=str(path), status="damaged")


def compare_runs(one: Path, other: Path) -> RunsDifference:
    """Return both runs and the settings in which they differ."""
    return RunsDifference(runs=(summarize_run(one), summarize_run(other)), settings=compare_settings(one, other))


def compare_settings(one: Path, other: Path) -> dict[str, list[Any]]:
    """Return the settings in which two runs differ, by dotted key, each with both values."""
    first, second = (flatten(Run.open(path).config.model_dump(mode="json")) for path in (one, other))
    keys = dict.fromkeys([*first, *second])
    return {key: [first.get(key), second.get(key)] for key in keys if first.get(key) != second.get(key)}


def _validation_top1(run: Run, history: list[dict[str, float]]) -> float | None:
    """Return the best accuracy on held-out pictures, if there are any."""
    if run.config.data.trains_on_all:
        return None
    found = [row["val_top1"] for row in history]
    found += [run.read_json("classifier.json")["val_top1"]] if run.has("classifier.json") else []
    return max(found, default=None)


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
