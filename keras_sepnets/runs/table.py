"""Runs side by side: what each is and came to, and how two of them differ."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.runs.folder import Run, runs_root
from keras_sepnets.settings.files import flatten


@dataclass(frozen=True)
class RunSummary:
    """A run in a line; accuracies are fractions, None where they are not known yet."""

    run: str
    status: str  # finished, training, unfinished, lost (it has no checkpoint to go on from), or damaged
    started: str | None = None  # UTC
    model: str | None = None
    alpha: float | None = None
    dataset: str | None = None
    image_size: int | None = None
    epoch: int = 0  # finished ones
    epochs: int | None = None
    parameters: int | None = None  # total
    multiply_adds: int | None = None
    validation_top1: float | None = None  # of the best epoch
    test_top1: float | None = None
    test_top1_interval: list[float] | None = None  # 95 %, Wilson
    train_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the line as `sepnets runs --json` prints it."""
        return asdict(self)


def list_runs(root: Path | None = None) -> list[RunSummary]:
    """Return all runs in a folder and its sub-folders, the oldest first.

    Args:
        root: The folder; None for $SEPNETS_RUNS or runs/.

    Raises:
        SepnetsError: There is no such folder.
    """
    root = runs_root() if root is None else root
    if not root.is_dir():
        raise SepnetsError(f"There is no folder of runs; name one, or train first. Received: {str(root)!r}")
    found = [file.parent for file in root.rglob("config.json") if not file.parent.is_symlink()]
    return sorted(map(summarize_run, found), key=lambda row: (row.started or "", row.run))


def summarize_run(path: Path) -> RunSummary:
    """Return a run in a line; raise SepnetsError if the folder is none."""
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
            validation_top1=max((row["val_top1"] for row in history), default=None),
            test_top1=test.get("top1"),
            test_top1_interval=test.get("top1_interval"),
            train_seconds=trained.get("train_seconds"),
        )
    except (SepnetsError, ValueError, KeyError, TypeError, OSError):
        return RunSummary(run=str(path), status="damaged")


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
    except OSError:  # a folder that we may only read
        return "unfinished" if run.is_resumable else "lost"
