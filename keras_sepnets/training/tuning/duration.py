"""How long training steps and evaluation take here, measured on a network that is then thrown away."""

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

MOST_STEPS, MOST_SECONDS = 30, 15.0  # per measurement
FEWEST_STEPS = 3
RESERVE = 1.1  # the machine may become busier than during the measurement
PLOTS = 5.0  # seconds for the plots that a run draws once


@dataclass(frozen=True)
class Speed:
    """Duration of the parts of a training, in seconds."""

    beginning: float  # tracing: until the first step and the first evaluation are done
    step: float
    evaluation: float  # per batch
    saving: float  # of the network

    def epochs_that_fit(self, seconds: float, *, steps: int, validation_batches: int, test_batches: int) -> int:
        """Return how many epochs fit in `seconds`, at least 1: validation after each, the test at the end."""
        once = 2 * self.beginning + self.evaluation * test_batches + PLOTS  # the test is traced too
        epoch = (
            self.step * steps + self.evaluation * validation_batches + 2 * self.saving
        )  # checkpoint and best network
        return max(1, int((seconds / RESERVE - once) / epoch))


def measure_speed(
    model: keras.Model, network: keras.Model, batches: tf.data.Dataset, validation: tf.data.Dataset
) -> Speed:
    """Train and evaluate a compiled model for a few seconds, which changes its weights.

    Args:
        model: The model that is trained.
        network: The network that is saved; it shares the model's variables.
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
    # The mean of all but the slowest: waiting for data counts, a single hiccup does not.
    return sum(sorted(seconds)[:-1]) / (len(seconds) - 1)
