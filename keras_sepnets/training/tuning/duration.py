"""How long training steps and evaluation take here, measured on a network that is then thrown away."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.temporary import temporary_folder
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.inference.forward import BATCH_SIZE
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.choices import batches_for_precise
from keras_sepnets.training.classifier import CLASSIFIER, MOST_WORK, most_fitted
from keras_sepnets.training.clock import TimeLimit
from keras_sepnets.training.phases import Phase

if TYPE_CHECKING:
    from keras_sepnets.training.plan import Plan

MOST_STEPS, MOST_SECONDS = 30, 15.0  # per measurement
MEASURED_SHARE = 0.05  # of a time limit, per measurement
MOST_FITTING = 60.0  # seconds of logistic regression with `MOST_WORK`
FEWEST_STEPS = 2
RESERVE = 1.1  # the machine may become busier than during the measurement
PLOTS = 5.0  # seconds for the plots that a run draws once


def epochs_within(limit: TimeLimit, trial: "Plan", config: RunConfig) -> int:
    """Measure how many epochs of a run fit into what is left of its time.

    Args:
        limit: The time limit.
        trial: A plan to measure with; the weights of its network change.
        config: The settings of the run, some of them still open.

    Raises:
        SepnetsError: Not even one epoch fits.
    """
    trial.compile(Phase(0, trial.epochs, None))  # nothing frozen: the slowest phase
    batches, validation = trial.training_batches(), trial.validation_batches()
    speed = measure_speed(trial.trained, trial.network, batches, validation, MEASURED_SHARE * limit.seconds)
    train, held_out, test = map(trial.splits.num_examples, ROLES)
    work = Work(
        steps=trial.steps_per_epoch,
        validation_batches=-(-held_out // BATCH_SIZE),
        test_batches=-(-test // BATCH_SIZE),
    )
    if config.transfer.weights and config.transfer.classifier in ("auto", "fitted"):
        work = work.with_fitted_classifier(trial.network.get_layer(CLASSIFIER).kernel.shape, train)
    left = limit.left
    asked, fitting = config.training.epochs, speed.epochs_that_fit(left, work)
    epochs = fitting if asked == "auto" else min(asked, fitting)
    if more := batches_for_precise(config, epochs * work.steps, work.steps):
        work = work._replace(validation_batches=work.validation_batches + more)
        fitting = speed.epochs_that_fit(left, work)
    if not fitting:
        needed = limit.seconds - left + speed.seconds_of(work)
        raise SepnetsError(
            f"Not even one epoch fits into the time: with start and test, it takes about {needed:,.0f} s. Allow "
            "more time, or choose smaller pictures or a narrower network. "
            f"Received: --max-time {limit.seconds:g}s"
        )
    return fitting


class Work(NamedTuple):
    """What a run has to do: for each epoch, and once."""

    steps: int  # per epoch
    validation_batches: int  # per epoch
    test_batches: int
    feature_batches: int = 0  # of training pictures, to whose features the classifier is fitted
    fitting: float = 0.0  # seconds of logistic regression

    def with_fitted_classifier(self, shape: Sequence[int], num_examples: int) -> "Work":
        """Return this work and that of fitting a classifier, (features, classes), to training pictures."""
        features, classes = shape
        count = min(num_examples, most_fitted(features, classes, alone=False))
        seconds = MOST_FITTING * count * features * classes / MOST_WORK
        return self._replace(feature_batches=-(-count // BATCH_SIZE), fitting=seconds)


@dataclass(frozen=True)
class Speed:
    """Duration of the parts of a training, in seconds."""

    beginning: float  # tracing: until the first step and the first evaluation are done
    step: float
    evaluation: float  # per batch
    saving: float  # of the network

    def seconds_of(self, work: Work, epochs: int = 1) -> float:
        """Return how long a run takes, with a reserve: validation after each epoch, the test at the end."""
        once = 2 * self.beginning + PLOTS + work.fitting  # the test is traced too
        once += self.evaluation * (work.test_batches + work.feature_batches)
        epoch = self.step * work.steps + self.evaluation * work.validation_batches
        return RESERVE * (once + epochs * (epoch + 2 * self.saving))  # checkpoint and best network

    def epochs_that_fit(self, seconds: float, work: Work) -> int:
        """Return how many epochs fit into `seconds`, or 0."""
        once = self.seconds_of(work, 0)
        return max(0, math.floor((seconds - once) / (self.seconds_of(work, 1) - once)))


def measure_speed(
    model: keras.Model,
    network: keras.Model,
    batches: tf.data.Dataset,
    validation: tf.data.Dataset,
    seconds: float = MOST_SECONDS,
) -> Speed:
    """Train and evaluate a compiled model for a few seconds, which changes its weights.

    Args:
        model: The model that is trained.
        network: The network that is saved; it shares the model's variables.
        batches: Endless training batches.
        validation: Batches to evaluate.
        seconds: Time for each of both measurements, at most 15, but for two steps at least.
    """
    begin = time.perf_counter()
    model.make_train_function()
    iterator = iter(batches)
    model.train_function(iterator)
    evaluated = iter(validation.take(3).cache().repeat())
    model.test_on_batch(*next(evaluated))
    beginning = time.perf_counter() - begin
    seconds = min(MOST_SECONDS, seconds)
    step = _usual_seconds(lambda: model.train_function(iterator), seconds)
    evaluation = _usual_seconds(lambda: model.test_on_batch(*next(evaluated)), seconds)
    with temporary_folder() as folder:
        begin = time.perf_counter()
        keras.Model(network.inputs, network.outputs).save(folder / "network.keras")
        saving = time.perf_counter() - begin
    return Speed(beginning, step, evaluation, saving)


def _usual_seconds(work: Any, most: float) -> float:
    seconds: list[float] = []
    begin = time.perf_counter()
    for number in itertools.count(1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
        if number >= FEWEST_STEPS and (number >= MOST_STEPS or time.perf_counter() - begin > most):
            break
    # The mean of all but the slowest: waiting for data counts, a single hiccup does not.
    return sum(sorted(seconds)[:-1]) / (len(seconds) - 1)
