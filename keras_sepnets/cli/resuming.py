"""`sepnets train --resume` and `--extend`: which run, and whether the given settings are still its own."""

from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.options import Settings
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.runs.folder import Run, newest_unfinished
from keras_sepnets.settings.schema import RunConfig, TransferConfig

NEWEST = "newest"  # value of --resume without a run


def find_run(resume: str | None, extend: Path | None) -> Run:
    """Return the run that `--resume` or `--extend` names; raise SepnetsError if there is no such run."""
    if extend is not None:
        if resume is not None:
            raise SepnetsError("--resume is for unfinished runs, --extend for finished ones; use one of them.")
        return Run.open(extend)
    return newest_unfinished() if resume in (None, NEWEST) else Run.open(Path(str(resume)))


def epochs_to_extend_to(settings: Settings) -> int:
    """Return the number of epochs that `--extend` asks for; raise SepnetsError if other settings are given."""
    epochs = settings.config.training.epochs
    if settings.given - {"data.dataset"} != {"training.epochs"} or epochs == "auto":
        raise SepnetsError(
            "Give only the total number of epochs and, if the pictures have moved, --dataset: "
            "sepnets train --extend RUN --epochs N"
        )
    return epochs


def moved_to(run: Run, settings: Settings) -> str | None:
    """Return where the run's pictures are now, if `--dataset` says that their files have moved."""
    if "data.dataset" not in settings.given:
        return None
    given, found = settings.config.data.dataset, run.config.data.dataset
    own = DatasetName.parse(given).is_own_pictures and DatasetName.parse(found).is_own_pictures
    return given if own and not _is_same("data.dataset", given, found, run) else None


def refuse_changes(run: Run, settings: Settings, *, extends: bool) -> None:
    """Raise SepnetsError for a given setting that differs from the run's: it would be another run."""
    free = {"data.dataset"} if moved_to(run, settings) else set()
    for key in sorted(settings.given - free - ({"training.epochs"} if extends else set())):
        given, found = _value(settings.config, key), _value(run.config, key)
        if not _is_same(key, given, found, run):
            raise SepnetsError(
                f"A run continues with the settings that it began with: its {key} is {found!r}. Leave it out, "
                f"or start a new run. Received: {given!r}"
            )


def _is_same(key: str, given: Any, found: Any, run: Run) -> bool:
    """Return whether a given setting is the run's, which has the value that the plan settled."""
    if key == "data.dataset":
        dataset = DatasetName.parse(given)
        without_version = not dataset.is_own_pictures and found.startswith(f"{given}:")
        return found == str(dataset.resolve()) or without_version
    if key == "training.warmup_epochs" and given > found:  # the plan has shortened it
        return True
    if given == "auto":
        return True  # the run has what was chosen
    if key == "transfer.weights":
        return found == TransferConfig(weights=given).with_whole_path().weights
    if key == "training.batch_size" and given > found:  # it was lowered to the number of pictures
        return found == run.read_data()["train"]["num_examples"]
    return given == found


def _value(config: RunConfig, dotted_key: str) -> Any:
    value: Any = config
    for part in dotted_key.split("."):
        value = getattr(value, part, None)
    return value
