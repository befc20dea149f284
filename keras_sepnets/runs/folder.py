"""The run folder and the names of its files; where its networks lie is in `models/loading.py`."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import locked, replace_file, to_csv_bytes, to_json_bytes, written_aside
from keras_sepnets.base.text import counted, one_line, printable
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.models.loading import check_run_folder, load_network, network_file
from keras_sepnets.runs import reading
from keras_sepnets.runs.checkpoints import checkpoint_folders
from keras_sepnets.runs.reading import HistoryRow, damaged
from keras_sepnets.settings.schema import RunConfig


class Run:
    """A folder that explains itself.

    config.json         complete settings, written first and changed only when the run is extended
    environment.json    versions, machine, time
    labels.json         class names in the order of the network's outputs
    data.json           examples of train, validation and test: how many, and from where
    cost.json           parameters and multiply-adds
    weights.json        which initial weights were loaded, if any were given
    train_batch.png     the first training pictures as the network saw them
    bad_pictures.csv    unreadable picture files that were skipped
    history.csv         one row per epoch
    classifier.json     how the classifier was fitted to given weights, if it was
    checkpoints/        states from which the run can be resumed exactly, or extended once finished
    best.keras          network of the epoch with the best validation top-1; loss, if it has few pictures
    final.keras         network after the last epoch
    training.json       time and speed, written when the training is finished
    learning_curve.png  and validation_predictions.png: pictures with the network's predictions
    events/             for TensorBoard, if it is installed
    export.*            the network for other devices, after an export
    evaluation-SPLIT.json, predictions-SPLIT.csv, confusion-SPLIT.csv and .png, after an evaluation
    """

    def __init__(self, path: str | Path) -> None:
        """Refer to a run folder without checking it; use `create` or `open` instead."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path | None, config: RunConfig) -> "Run":
        """Create a run folder and write its settings.

        Args:
            path: The folder, which must be new or empty; None for the next number under $SEPNETS_RUNS or runs/.
            config: The complete settings.

        Raises:
            SepnetsError: The folder is not empty, or cannot be created.
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
    def open(cls, path: str | Path) -> "Run":
        """Return the run in a folder; raise SepnetsError if the folder holds none."""
        check_run_folder(path)
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The run's complete settings."""
        return reading.read_config(self.path / "config.json")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of the network's outputs."""
        return reading.read_names(self.path / "labels.json")

    @property
    def is_finished(self) -> bool:
        """Whether the training is finished."""
        return self.has("training.json")

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def network_file(self, name: str | None = None) -> Path:
        """Return the file of the "final" or "best" network; default: final, or best if the run is unfinished.

        Raises:
            SepnetsError: The file does not exist.
        """
        return network_file(self.path, name)

    def load_model(self, name: str | None = None) -> Any:
        """Return the "final" or "best" network as a Keras model, not compiled; default as for `network_file`."""
        model, classes = load_network(self.network_file(name)), len(self.class_names)
        if model.output_shape[-1] != classes:
            fault = f"it has {counted(classes, 'class name')} for a network of {model.output_shape[-1]} classes"
            raise damaged(self.path / "labels.json", fault)
        return model

    def save_model(self, model: Any, name: str) -> None:
        """Save a Keras model as the "final" or "best" network."""
        with written_aside(self.path / f"{name}.keras") as aside:
            model.save(aside)

    @property
    def checkpoints_folder(self) -> Path:
        return self.path / "checkpoints"

    @property
    def is_resumable(self) -> bool:
        """Whether the training is unfinished and can be resumed exactly."""
        return not self.is_finished and (self.has_checkpoints or self.is_untouched)

    @property
    def is_untouched(self) -> bool:
        """Whether the training was killed before its first checkpoint, so that it can start again.

        The first checkpoint is written at the end of the first epoch at the latest, after history.csv.
        """
        damaged = any(self.checkpoints_folder.glob("damaged-*"))
        return self.has("config.json") and not (self.has_checkpoints or damaged) and len(self.read_history()) <= 1

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return bool(checkpoint_folders(self.checkpoints_folder))

    def reopen(self, config: RunConfig) -> None:
        """Turn a finished run into an unfinished one with other settings."""
        # In this order, a kill in between leaves a run that was stopped at its very end.
        (self.path / "training.json").unlink()
        self.write_json("config.json", config.model_dump(mode="json"))
        for pattern in ("evaluation-*", "predictions-*", "confusion-*", "export.*", "final.keras"):
            for result in self.path.glob(pattern):
                result.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against training by other processes; raise SepnetsError if one is training it."""
        sentence = "Another process is training this run; wait for it, or stop it."
        with locked(self.path, f"{sentence} Received: {str(self.path)!r}"):
            yield

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of the run atomically."""
        replace_file(self.path / name, content)

    def write_picture(self, name: str, draw: Callable[[], bytes]) -> None:
        """Write a picture of the run; a failure to draw it is only a warning."""
        try:
            self.write_bytes(name, draw())
        except Exception as error:
            warnings.warn(f"{self.path / name} could not be drawn: {one_line(error)}", stacklevel=1)

    def write_json(self, name: str, content: Any) -> None:
        self.write_bytes(name, to_json_bytes(content))

    def write_csv(self, name: str, rows: list[list[Any]]) -> None:
        self.write_bytes(name, to_csv_bytes(rows))

    def write_bad_pictures(self, reasons: dict[str, str]) -> None:
        """Add skipped picture files and the reasons to bad_pictures.csv."""
        if not reasons:
            return
        noted = self._bad_pictures() | {printable(path): reason for path, reason in reasons.items()}
        self.write_csv("bad_pictures.csv", [["path", "reason"], *map(list, sorted(noted.items()))])

    def count_bad_pictures(self) -> int:
        """Return the number of skipped picture files."""
        return len(self._bad_pictures())

    def _bad_pictures(self) -> dict[str, str]:
        rows = reading.read_rows(self.path / "bad_pictures.csv", ("path", "reason"))
        return {row["path"]: row["reason"] for row in rows}

    def read_json(self, name: str) -> Any:
        """Return the object in a JSON file; raise SepnetsError if it is missing or damaged."""
        return reading.read_json(self.path / name)

    def read_data(self) -> dict[str, Any]:
        """Return data.json; raise SepnetsError if it is missing or damaged."""
        return reading.read_data(self.path / "data.json")

    def read_history(self) -> list[HistoryRow]:
        """Return history.csv, one row per epoch; empty before the first epoch; SepnetsError if it is damaged."""
        return reading.read_history(self.path / "history.csv")

    def remove(self) -> None:
        """Delete the run's files, and the folder if the system allows it."""
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


def check_output(path: str | Path) -> None:
    """Raise SepnetsError unless the output folder is new or empty."""
    path = Path(path)
    if Run(path).has("config.json"):
        raise SepnetsError(f"The output folder holds another run; choose a new one. Received: {str(path)!r}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SepnetsError(f"The output folder is not empty; choose a new one. Received: {str(path)!r}")


def runs_root() -> Path:
    """Return the folder of numbered runs: $SEPNETS_RUNS or runs/."""
    return Path(os.environ.get("SEPNETS_RUNS", "runs"))


def dataset_slug(config: RunConfig) -> str:
    """Return the data set's name in characters that suit a folder's name."""
    return DatasetName.parse(config.data.dataset).slug


def newest_unfinished() -> Run:
    """Return the most recently trained run in $SEPNETS_RUNS or runs/ that can be resumed.

    Raises:
        SepnetsError: There is no such run.
    """
    root = runs_root()
    runs = [Run(path) for path in root.iterdir() if not path.is_symlink()] if root.is_dir() else []
    unfinished = [run for run in runs if run.has("config.json") and _can_be_resumed(run)]
    if not unfinished:
        raise SepnetsError(f"There is no unfinished run to resume. Received: {str(root)!r}")
    return max(unfinished, key=_last_change)


def _can_be_resumed(run: Run) -> bool:
    try:
        return run.is_resumable
    except SepnetsError:  # a damaged run is no reason not to find the others
        return False


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
    """Point the link `latest` beside a run to it, if the file system has links."""
    aside = path.with_name(f".writing-latest-{path.name}")
    with contextlib.suppress(OSError):
        aside.symlink_to(path.name)
        aside.replace(path.with_name("latest"))
