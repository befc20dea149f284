"""The runs of an ablation: an experiment's folder with a run for each variant and seed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.text import one_line
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.lab.change import Ablation
from keras_sepnets.runs.folder import Run, check_output
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.schema import RunConfig

TrainOne = Callable[[RunConfig, Path, str], Run]  # trains or resumes: settings, run folder, title


def open_experiment(output: Path, base: RunConfig, ablation: Ablation) -> None:
    """Write experiment.json, or make sure that the existing one is of the same experiment."""
    experiment = {
        "base": base.model_dump(mode="json"),
        "reference": list(ablation.reference),
        "ablated": list(ablation.ablated),
    }
    file = output / "experiment.json"
    if file.is_file():
        try:
            found = json.loads(file.read_bytes())
            found["base"] = make_config(found["base"]).model_dump(mode="json")  # adds settings newer than the file
        except (ValueError, TypeError, KeyError) as error:
            raise SepnetsError(f"{file} is damaged: {one_line(error)}") from None
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


def _first_difference(found: Any, wanted: Any, path: str = "") -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                return _first_difference(found.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    return f"its {path} is {found!r}, not {wanted!r}"


def with_threads_of_runs(base: RunConfig, output: Path) -> RunConfig:
    """Return the settings with the number of threads of the experiment's runs so far, if it is still open."""
    if base.training.intra_op_threads != "auto":
        return base
    for file in sorted(output.glob("*/seed-*/config.json")):
        return _with(base, intra_op_threads=Run(file.parent).config.training.intra_op_threads)
    return base


def train_pairs(
    configs: dict[str, RunConfig], output: Path, seeds: int, train_one: TrainOne
) -> dict[str, list[Run]]:
    """Train the runs that are missing, pair by pair, and return each variant's finished runs in order of seeds."""
    runs: dict[str, list[Run]] = {name: [] for name in configs}
    for seed in range(seeds):
        for name, config in configs.items():
            title = f"{name}, seed {seed}"
            keras.backend.clear_session()
            try:
                run = _train_once(output / name / f"seed-{seed}", _with(config, seed=seed), title, train_one)
            except InterruptedRunError as error:
                finished = sum(map(len, runs.values()))
                raise type(error)(
                    f"Interrupted in {title}, with {finished} of {seeds * len(configs)} runs finished. "
                    "Run the same command again to continue."
                ) from error
            runs[name].append(run)
    return runs


def _train_once(folder: Path, config: RunConfig, title: str, train_one: TrainOne) -> Run:
    """Return the finished run in `folder`; train or resume it if it is not finished."""
    run = Run(folder)
    if run.is_finished:
        if not run.has("evaluation-test.json"):
            evaluate(run, "test")
        return run
    if folder.exists() and not run.has_checkpoints:
        with run.locked():  # unless another process has just started it
            shutil.rmtree(folder)
    return train_one(config, folder, title)


def _with(config: RunConfig, **settings: Any) -> RunConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})
