"""How long a step and an evaluation take here: measured on a network that is thrown away afterwards."""

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

MOST_STEPS, MOST_SECONDS = 30, 15.0  # of a measurement
FEWEST_STEPS = 3
RESERVE = 1.1  # what is measured in seconds takes minutes with a busy machine
PICTURES = 5.0  # seconds for what a run draws and writes once


@dataclass(frozen=True)
class Speed:
    """Seconds that a training needs for its parts."""

    beginning: float  # until the first step and the first evaluation are done
    step: float
    evaluation: float  # of a batch
    saving: float  # of the network

    def epochs_that_fit(self, seconds: float, *, steps: int, validation_batches: int, test_batches: int) -> int:
        """Return how many epochs (at least 1) fit `seconds`, with their validation and the test at the end."""
        once = 2 * self.beginning + self.evaluation * test_batches + PICTURES  # the test begins like the training
        epoch = self.step * steps + self.evaluation * validation_batches + 2 * self.saving  # checkpoint and best
        return max(1, int((seconds / RESERVE - once) / epoch))


def measure_speed(
    model: keras.Model, network: keras.Model, batches: tf.data.Dataset, validation: tf.data.Dataset
) -> Speed:
    """Train and evaluate a compiled model for some seconds, which changes it.

    Args:
        model: The model.
        network: What of it is saved, with the same variables.
        batches: Endless training batches.
        validation: Batches to evaluate.
    """
    begin = time.perf_counter()
    model.make_train_function()
    iterator = iter(batches)
    model.train_function(iterator)
    evaluated = iter(validation.take(3).cache().repeat())
    model.test_on_batch(*next(evaluated))
    beginning = time.perf_counter() - begin
    step = _usual_seconds(lambda: model.train_function(iterator))
    evaluation = _usual_seconds(lambda: model.test_on_batch(*next(evaluated)))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        keras.Model(network.inputs, network.outputs).save(Path(folder) / "network.keras")
        saving = time.perf_counter() - begin
    return Speed(beginning, step, evaluation, saving)


def _usual_seconds(work: Any) -> float:
    seconds: list[float] = []
    begin = time.perf_counter()
    for number in itertools.count():
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
        if number >= FEWEST_STEPS and (number >= MOST_STEPS or time.perf_counter() - begin > MOST_SECONDS):
            break
    # The mean of all but the slowest: it counts what waits for data, not what happens once.
    return sum(sorted(seconds)[:-1]) / (len(seconds) - 1)
