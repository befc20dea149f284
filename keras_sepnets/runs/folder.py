"""The run folder: the only code that knows its file names. Files are written aside, synced and renamed."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import to_csv_bytes, to_json_bytes, write_file, written_aside
from keras_sepnets.base.text import one_line, printable
from keras_sepnets.models.loading import check_run_folder, load_network, network_file
from keras_sepnets.settings.schema import RunConfig

LOCK_SECONDS = 1.0  # that a run may be locked by one that only looks


class Run:
    """A folder that explains itself.

    config.json         the complete settings, written first and edited only when a run is extended
    environment.json    versions, machine, time
    labels.json         the class names in the order of the network's outputs
    data.json           the examples of train, validation and test: how many, and from where
    cost.json           parameters and multiply-adds
    weights.json        what became of the weights that it started from, if there were any
    train_batch.png     the first training pictures as the network saw them
    bad_pictures.csv    picture files that could not be read and were left out, where that was asked for
    history.csv         a row an epoch
    checkpoints/        from which an unfinished run goes on exactly, and a finished one can be extended
    best.keras          the network of the epoch with the best validation top-1
    final.keras         the network after the last epoch
    training.json       time and speed, written when the training is finished
    learning_curve.png  and validation_predictions.png, pictures with what the network says of them
    events/             for TensorBoard, where it is installed
    evaluation-SPLIT.json, confusion-SPLIT.csv and .png, after an evaluation
    """

    def __init__(self, path: Path) -> None:
        """Name a run folder; `create` and `open` make sure that it is one."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | None, config: RunConfig) -> "Run":
        """Make a new run folder and write its settings.

        Args:
            path: The folder, which must be new or empty; None for the next number under $SEPNETS_RUNS or runs/.
            config: The complete settings.

        Raises:
            SepnetsError: The folder holds something already, or cannot be made.
        """
        try:
            if path is None:
                run = cls(_next_folder(config))
            else:
                check_output(path)
                run = cls(path)
                run.path.mkdir(parents=True, exist_ok=True)
            run.write_json("config.json", config.model_dump(mode="json"))
        except OSError as error:
            raise SepnetsError(f"The run folder cannot be written: {error}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Return the run in a folder; raise SepnetsError if there is none."""
        check_run_folder(path)
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The run's complete settings."""
        try:
            return RunConfig.model_validate_json((self.path / "config.json").read_bytes())
        except ValueError as error:
            raise SepnetsError(f"{self.path}/config.json is not one of this version: {one_line(error)}") from None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of the network's outputs."""
        return tuple(self.read_json("labels.json"))

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end."""
        return self.has("training.json")

    def has(self, name: str) -> bool:
        """Tell whether the run folder has a file."""
        return (self.path / name).is_file()

    def network_file(self, name: str | None = None) -> Path:
        """Return the file of the final or best network; by default the final one, of an unfinished run the best.

        Raises:
            SepnetsError: The run has no such file.
        """
        return network_file(self.path, name)

    def load_model(self, checkpoint: str | None = None) -> Any:
        """Return the run's Keras model, not compiled."""
        return load_network(self.network_file(checkpoint))

    def save_model(self, model: Any, checkpoint: str) -> None:
        """Save a Keras model as the final or best network."""
        with written_aside(self.path / f"{checkpoint}.keras") as aside:
            model.save(aside)

    @property
    def checkpoints_folder(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def is_resumable(self) -> bool:
        """Whether the training did not come to its end and can go on exactly where it was."""
        return not self.is_finished and (self.has_checkpoints or self.is_untouched)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is kept of the training that would be lost: it was killed before its first checkpoint.

        That is written at the end of the first epoch at the latest, after history.csv.
        """
        damaged = any(self.checkpoints_folder.glob("damaged-*"))
        return self.has("config.json") and not (self.has_checkpoints or damaged) and len(self.read_history()) <= 1

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(self.checkpoints_folder.glob("step-*"))

    def reopen(self, config: RunConfig) -> None:
        """Make a finished run an unfinished one with other settings."""
        # In this order: killed in between, it is a run that was stopped at its very end.
        (self.path / "training.json").unlink()
        self.write_json("config.json", config.model_dump(mode="json"))
        for result in (*self.path.glob("evaluation-*"), *self.path.glob("confusion-*"), self.path / "final.keras"):
            result.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process train this run for the length of a block; raise SepnetsError if one does."""
        lock = filelock.FileLock(self.path / ".lock", timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise SepnetsError(
                f"Another process is training this run; wait for it, or stop it. Received: {str(self.path)!r}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of the run at once, or not at all."""
        write_file(self.path / name, content)

    def write_picture(self, name: str, draw: Callable[[], bytes]) -> None:
        """Write a picture of the run; one that cannot be drawn is a warning, no reason to lose the run."""
        try:
            self.write_bytes(name, draw())
        except Exception as error:
            warnings.warn(f"{self.path / name} could not be drawn: {one_line(error)}", stacklevel=1)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the run."""
        self.write_bytes(name, to_json_bytes(content))

    def write_csv(self, name: str, rows: list[list[Any]]) -> None:
        """Write a CSV file of the run."""
        self.write_bytes(name, to_csv_bytes(rows))

    def write_bad_pictures(self, reasons: dict[str, str]) -> None:
        """Add picture files that were left out, with the reason, to those that are noted already."""
        noted = self._bad_pictures()
        noted |= {printable(path): reason for path, reason in reasons.items()}
        if reasons:
            self.write_csv("bad_pictures.csv", [["path", "reason"], *map(list, sorted(noted.items()))])

    def count_bad_pictures(self) -> int:
        """Return how many picture files were left out."""
        return len(self._bad_pictures())

    def _bad_pictures(self) -> dict[str, str]:
        file = self.path / "bad_pictures.csv"
        rows = list(csv.reader(io.StringIO(file.read_text()))) if file.is_file() else []
        return dict(rows[1:])

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file of the run; raise SepnetsError if it is missing or damaged."""
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise SepnetsError(f"The run folder is damaged: {name}: {error}") from None

    def read_history(self) -> list[dict[str, float]]:
        """Return history.csv, a row an epoch; empty before the first epoch is finished."""
        file = self.path / "history.csv"
        if not file.is_file():
            return []
        rows = csv.DictReader(io.StringIO(file.read_text()))
        return [{key: float(value) for key, value in row.items()} for row in rows]

    def remove(self) -> None:
        """Delete the run's files, and the folder unless it is the one we stand in."""
        for file in self.path.iterdir():
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
        with contextlib.suppress(OSError):
            self.path.rmdir()
        latest = self.path.with_name("latest")
        if latest.is_symlink() and not latest.exists():
            latest.unlink()


def check_output(path: Path) -> None:
    """Raise SepnetsError unless an output folder is new or empty."""
    path = Path(path)
    if Run(path).has("config.json"):
        raise SepnetsError(f"The output folder holds another run; name a new one. Received: {str(path)!r}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SepnetsError(f"The output folder is not empty; name a new one. Received: {str(path)!r}")


def runs_root() -> Path:
    """Return the folder in which runs get their numbers: $SEPNETS_RUNS or runs/."""
    return Path(os.environ.get("SEPNETS_RUNS", "runs"))


def dataset_slug(config: RunConfig) -> str:
    """Return the data set's name in letters that suit a folder's name."""
    scheme, _, path = config.data.dataset.partition(":")
    # Without the suffix of a manifest, without the version of a TFDS name.
    name = {"folder": Path(path).name, "manifest": Path(path).stem}.get(scheme, scheme)
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "pictures"


def newest_unfinished() -> Run:
    """Return the run in $SEPNETS_RUNS or runs/ that can be resumed and was trained last.

    Raises:
        SepnetsError: There is none.
    """
    root = runs_root()
    runs = [Run(path) for path in root.iterdir() if not path.is_symlink()] if root.is_dir() else []
    unfinished = [run for run in runs if run.has("config.json") and run.is_resumable]
    if not unfinished:
        raise SepnetsError(f"There is no unfinished run to resume. Received: {str(root)!r}")
    return max(unfinished, key=_last_change)


def _last_change(run: Run) -> int:
    folder = run.checkpoints_folder if run.has_checkpoints else run.path
    return folder.stat().st_mtime_ns


def _next_folder(config: RunConfig) -> Path:
    root = runs_root()
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = root / f"{config.model.name}-{dataset_slug(config)}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            _point_latest_to(path)
            return path
        number += 1


def _point_latest_to(path: Path) -> None:
    """Let the link `latest` beside a run lead to it; where there are no links, there is none."""
    aside = path.with_name(f".writing-latest-{path.name}")
    with contextlib.suppress(OSError):
        aside.symlink_to(path.name)
        aside.replace(path.with_name("latest"))
