"""A process that trains runs of a matrix for `jobs`, which sends it one after the other."""

import json
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras

from keras_sepnets.lab.experiment import PlannedRun, train_once
from keras_sepnets.lab.jobs import failed
from keras_sepnets.lab.progress import Event, RunEvents
from keras_sepnets.settings.files import make_config
from keras_sepnets.training.tuning.workers import give, questions, read_task


def serve() -> None:
    """Train each run that is asked for, and answer with what happens to it."""
    task = read_task()
    for question in questions():
        _tell(_train(task, json.loads(question)))


def _train(task: dict[str, Any], asked: dict[str, Any]) -> Event:
    keras.backend.clear_session()
    between = task["seconds_between"]
    every = timedelta(seconds=between) if between is not None else task["steps_between"]
    cache = task["cache_folder"] and Path(task["cache_folder"])
    try:
        run = PlannedRun(Path(asked["folder"]), make_config(asked["config"]), asked["title"])
        train_once(run, [RunEvents(_tell)], cache, every)
    except Exception as error:
        return failed(0, error)
    return Event("finished")


def _tell(event: Event) -> None:
    give(json.dumps(event._asdict()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the command has shown them with its plan
    serve()
