"""A smoke test: every part of a run once, on one batch, before a run of hours starts."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.results import Result
from keras_sepnets.base.temporary import temporary_folder
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.checkpoints import Checkpoints
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.loop import build_metrics, training_state
from keras_sepnets.training.plan import Plan
from keras_sepnets.training.recorder import Recorder


class SmokeStep(Result):
    """A part of a run that was tried, as `sepnets train --smoke --json` prints it."""

    name: str
    """data, train, validate, resume or evaluate"""
    outcome: str
    """what was done, in words"""
    seconds: float
    """how long it took"""


def smoke_test(plan: Plan, on_step: Callable[[SmokeStep], None] = lambda _step: None) -> list[SmokeStep]:
    """Train, validate, save, restore and evaluate one batch, in a temporary folder.

    Args:
        plan: The run's plan; the weights of its model change.
        on_step: Called after each part.

    Returns:
        The parts, in order.

    Raises:
        FailedRunError: A part does not work.
        SepnetsError: The data cannot be read.
    """
    done = []
    begin = time.perf_counter()
    with temporary_folder() as folder, plan.splits.translated_failures():
        for name, outcome in _try_parts(plan, folder):
            now = time.perf_counter()
            done.append(SmokeStep(name=name, outcome=outcome, seconds=round(now - begin, 2)))
            on_step(done[-1])
            begin = now
    return done


def _try_parts(plan: Plan, folder: Path) -> Iterator[tuple[str, str]]:
    model, validation = plan.trained, plan.validation_batches()
    for phase in reversed(plan.phases):  # compiled for the first phase in the end
        plan.compile(phase)
    build_metrics(model, validation)
    batch = next(iter(plan.training_batches()))
    yield "data", f"a batch of {len(batch[0])} training pictures read"

    model.make_train_function()
    loss = float(model.train_function(iter([batch]))["loss"])
    if not np.isfinite(loss):
        raise FailedRunError(
            f"The loss of the first step is NaN or infinite; lower the learning rate. Received: {loss}"
        )
    yield "train", f"one step, loss {loss:.4f}"

    with plan.evaluated():
        result = model.test_on_batch(*next(iter(validation)), return_dict=True)
    yield "validate", f"one batch, loss {result['loss']:.4f}"

    run = Run.create(folder / "run", plan.config)
    run.write_json("labels.json", list(plan.splits.class_names))
    checkpoints = Checkpoints(run.checkpoints_folder)
    saved = _to_bytes(model)
    checkpoints.save(1, training_state(model), {"step": 1})
    for variables in training_state(model).values():
        for variable in variables:
            variable.assign(variable * 0)
    checkpoints.restore(training_state(model))
    if _to_bytes(model) != saved:
        raise FailedRunError("The checkpoint that was restored differs from the one that was saved.")
    yield "resume", f"a checkpoint of {sum(map(len, saved)) / 1e6:,.1f} MB saved and restored, bit-identical"

    recorder = Recorder(run, plan, Clock())
    recorder.set_model(model)
    recorder.on_train_begin()
    recorder.save("final")
    role = plan.config.data.evaluated_role
    pictures, labels = next(iter(plan.splits.evaluation_batches(role, 8)))
    probabilities = run.load_model("final").predict_on_batch(pictures)
    right = int((probabilities.argmax(axis=1) == labels.numpy()).sum())
    yield "evaluate", f"the network saved and loaded; {right} of {len(labels)} {role} pictures right"


def _to_bytes(model: Any) -> list[bytes]:
    return [variable.numpy().tobytes() for group in training_state(model).values() for variable in group]
