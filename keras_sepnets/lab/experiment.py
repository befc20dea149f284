"""An experiment: several runs in one folder, which the same command continues where it was interrupted."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.text import one_line
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.runs.folder import Run, check_output
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.trainer import resume, train

FILE = "experiment.json"
Callbacks: TypeAlias = Callable[[str], Sequence[keras.callbacks.Callback]]  # of a run, from its title


class PlannedRun(NamedTuple):
    """A run of an experiment."""

    folder: Path
    config: RunConfig
    title: str


def open_experiment(output: Path, base: RunConfig, **change: Any) -> None:
    """Write experiment.json, or make sure that the existing one is of the same experiment.

    Args:
        output: The folder of the experiment.
        base: The settings that all runs share.
        change: What distinguishes the runs, if it is not in the settings; as JSON has it.
    """
    experiment = {"base": base.model_dump(mode="json"), **change}
    file = output / FILE
    if file.is_file():
        found = read_experiment(output)
        if found != experiment:
            raise SepnetsError(
                f"The output folder holds another experiment: {_first_difference(found, experiment)}; name a new "
                f"folder with --output. Received: {str(output)!r}"
            )
        return
    try:
        check_output(output)
        output.mkdir(parents=True, exist_ok=True)
        write_file(file, to_json_bytes(experiment))
    except OSError as error:
        raise SepnetsError(f"The output folder cannot be written: {error}") from error


def read_experiment(output: Path) -> dict[str, Any]:
    """Return the content of experiment.json, with settings that are newer than the file at their defaults."""
    file = output / FILE
    try:
        found = json.loads(file.read_bytes())
        for side in ("reference", "ablated"):
            if side in found:
                name, settings = found[side]
                found[side] = [name, {_dotted(key): value for key, value in settings.items()}]
        return {**found, "base": make_config(found["base"]).model_dump(mode="json")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SepnetsError(f"{file} is damaged: {one_line(error)}") from None


def _dotted(key: str) -> str:
    """Return a setting's dotted key; of version 0.1.0, which changed networks only, the file has its last part."""
    return key if "." in key else f"model.{key}"


def _first_difference(found: Any, wanted: Any, path: str = "") -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                return _first_difference(found.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    return f"its {path} is {found!r}, not {wanted!r}"


def with_choices_of_runs(base: RunConfig, runs: Iterable[Path], *keys: str) -> RunConfig:
    """Return the settings with what the plan of the first of these runs chose by measurement.

    Args:
        base: The settings that all runs share.
        runs: Folders of the experiment's runs, which may not exist yet.
        keys: Settings of the training, such as "batch_size"; only those that are still "auto" change.
    """
    begun = next((run for run in map(Run, runs) if run.has("config.json")), None)
    return with_choices(base, begun.config, *keys) if begun else base


def with_choices(base: RunConfig, chosen: RunConfig, *keys: str) -> RunConfig:
    """Return settings in which those of these keys that are "auto" have the values of a plan.

    Classes have the plan's names, too, which are as they are written where version 0.1.0 began the experiment.
    """
    still_open = [key for key in keys if getattr(base.training, key) == "auto"]
    data = base.data.model_copy(update={"class_names": chosen.data.class_names})
    return with_training(
        base.model_copy(update={"data": data}), **{key: getattr(chosen.training, key) for key in still_open}
    )


def train_all(
    planned: Iterable[PlannedRun],
    *,
    total: int,
    callbacks: Callbacks,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
) -> list[Run]:
    """Train the runs that are missing, resume the one that was interrupted, and return all in order.

    Args:
        planned: The runs; one is only asked for when those before it are finished.
        total: Their number.
        callbacks: Returns the Keras callbacks of a run from its title.
        cache_folder: See `train`.
        checkpoint_every: See `train`.
    """
    finished: list[Run] = []
    for run in planned:
        keras.backend.clear_session()
        try:
            finished.append(_train_once(run, callbacks, cache_folder, checkpoint_every))
        except InterruptedRunError as error:
            raise type(error)(
                f"Interrupted in {run.title}, with {len(finished)} of {total} runs finished. "
                "Run the same command again to continue."
            ) from error
    return finished


def _train_once(
    planned: PlannedRun, callbacks: Callbacks, cache_folder: Path | None, checkpoint_every: int | timedelta | None
) -> Run:
    """Return the finished run; train or resume it if it is not finished."""
    folder, config, title = planned
    run = Run(folder)
    if run.is_finished:
        if not run.has(f"evaluation-{config.data.evaluated_role}.json"):
            evaluate(run, config.data.evaluated_role, cache_folder=cache_folder, must_keep=True)
        return run
    options: dict[str, Any] = {"cache_folder": cache_folder, "checkpoint_every": checkpoint_every}
    if run.has_checkpoints:
        return resume(run, callbacks=callbacks(title), **options).run
    if folder.exists():
        with run.locked():  # unless another process has just started it
            shutil.rmtree(folder)
    return train(config, output=folder, callbacks=callbacks(title), **options).run
