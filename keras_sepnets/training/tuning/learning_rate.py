"""The learning rate range test (Smith 2017, arXiv:1506.01186, section 3.3).

A copy of the network is trained while the learning rate rises exponentially. The loss stays at first, then
falls, and rises once the rate is too high. Such a curve is read by one of two rules: a tenth of the rate at
which the loss is lowest, or the rate at which it falls fastest. The first is suggested: it keeps a distance
from rates that diverge, and depends less on the noise of the curve. docs/training.md has a measurement of both.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.training.build import build_trained_network
from keras_sepnets.training.loop import DIVERGED, build_metrics
from keras_sepnets.training.optimization import scaled_learning_rate
from keras_sepnets.training.plan import Plan

LOWEST, HIGHEST = 1e-6, 10.0  # learning rates of the first and of the last step
STEPS = 400  # from random weights, the loss falls too little in the customary 100
FEWEST_STEPS = 30  # with fewer, the rate rises by more than 70 % per step
FEWEST_PICTURES = 10
EXPLODED = 4.0  # times the lowest loss: the test stops
MOMENTUM = 0.8  # of the mean loss that decides about stopping
SMOOTHING = 0.2  # decades: standard deviation of the Gaussian that smooths the curve, without a lag
BEGINNING = 0.1  # share of the steps, at rates too low to learn
SMALLEST_FALL = 0.05  # of the loss; less is noise
BELOW_LOWEST = 10.0  # where the loss is lowest, it is about to rise: the customary distance from there


class LearningRateRange(Result):
    """The losses of a range test, and what they suggest."""

    learning_rate: float
    """suggested --learning-rate, to two digits: a tenth of the rate at the lowest loss"""
    steepest: float
    """rate at which the loss fell fastest: bolder"""
    lowest_loss_at: float
    """rate at which the loss was lowest; higher ones are too high"""
    stopped_by: str
    """what ended the test: the last step, a loss of 4 times the lowest, or NaN"""
    rates: list[float]
    """learning rate of each step"""
    losses: list[float]
    """loss of each step's batch"""
    smoothed: list[float]
    """the losses, smoothed"""
    passes: float = 0.0
    """how often each training picture was seen"""


def find_learning_rate(
    plan: Plan,
    *,
    steps: int = STEPS,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> LearningRateRange:
    """Train a copy of a plan's network at rising learning rates, and suggest a learning rate for the run.

    Everything else is the run's: optimizer, augmentation, loss, batch size, and the frozen stages of its first
    phase. The plan's network keeps its weights, and nothing is written.

    Args:
        plan: The plan of a run.
        steps: Number of steps in which the rate rises from 1e-6 to 10.
        on_step: Called with the number of each step, from 1, and its loss.

    Returns:
        The curve and the suggestions, the same for the same plan on a CPU. Rates are values of the setting
        `training.learning_rate`: where the run scales it by the batch size, so does the test.

    Raises:
        SepnetsError: There are too few steps or pictures.
        FailedRunError: The loss is NaN from the start or falls at no rate, or the pictures cannot be read.
    """
    training, num_examples = plan.config.training, plan.splits.num_examples("train")
    if steps < FEWEST_STEPS:
        raise SepnetsError(f"A range test needs at least {FEWEST_STEPS} steps. Received: steps={steps}")
    if num_examples < FEWEST_PICTURES:
        raise SepnetsError(
            f"A range test needs at least {FEWEST_PICTURES} training pictures: the losses of fewer say nothing "
            f"about a learning rate. Received: {num_examples}"
        )
    keras.utils.set_random_seed(training.seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    rate = _Rate()
    model = _copy_of(plan, rate)
    scale = scaled_learning_rate(training) / training.learning_rate
    model.make_train_function()
    with plan.splits.translated_failures():
        iterator = iter(plan.training_batches())

        def step(value: float) -> float:
            rate.value.assign(value * scale)
            model.reset_metrics()  # so that the loss is that of one batch
            return _loss_of_step(model, iterator)

        curve = measure_losses(step, np.geomspace(LOWEST, HIGHEST, steps).tolist(), on_step=on_step)
    passes = len(curve.losses) * plan.batch_size / num_examples
    return suggest_rates(curve).model_copy(update={"passes": round(passes, 1)})


class Curve(NamedTuple):
    """The losses of a range test that has ended."""

    rates: Sequence[float]
    losses: Sequence[float]
    stopped_by: str


def measure_losses(
    step: Callable[[float], float],
    rates: Sequence[float],
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Curve:
    """Take one training step at each rate, until the loss explodes.

    Args:
        step: Takes a step at a rate; returns the loss before it.
        rates: The rates, rising.
        on_step: Called with the number of each step, from 1, and its loss.

    Raises:
        FailedRunError: The first loss is NaN or infinite.
    """
    losses: list[float] = []
    lowest, mean = math.inf, 0.0
    for number, rate in enumerate(rates, start=1):
        loss = step(float(rate))
        if not math.isfinite(loss):
            if losses:
                return Curve(rates[: len(losses)], losses, "a loss of NaN")
            raise FailedRunError(
                "The loss is NaN or infinite in the first step, before anything was learned, so the learning "
                f"rate is not the cause; check the data and the weights to start from. Received: {loss}"
            )
        losses.append(loss)
        on_step(number, loss)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * loss
        unbiased = mean / (1 - MOMENTUM**number)
        lowest = min(lowest, unbiased)
        if unbiased > EXPLODED * lowest:
            return Curve(rates[:number], losses, f"a loss of {EXPLODED:g} times the lowest")
    return Curve(rates, losses, "the last step")


def suggest_rates(curve: Curve) -> LearningRateRange:
    """Return what a curve suggests; raise FailedRunError if its loss falls at no rate."""
    decades = np.log10(curve.rates)
    sigma = SMOOTHING * (len(decades) - 1) / (decades[-1] - decades[0]) if len(decades) > 1 else 1.0
    smoothed = gaussian_filter1d(np.asarray(curve.losses, float), sigma, mode="nearest")
    lowest = int(smoothed.argmin())
    start = float(np.mean(curve.losses[: max(1, round(BEGINNING * len(curve.losses)))]))
    if lowest < 2 or smoothed[lowest] > (1 - SMALLEST_FALL) * start:
        raise FailedRunError(
            f"The loss fell by less than {SMALLEST_FALL:.0%} at every learning rate, so none can be suggested. "
            "Raise --steps or --batch-size; from trained weights, there may be little left to learn. "
            f"Received: losses from {start:.4g} to {smoothed[lowest]:.4g} in {len(curve.losses)} steps"
        )
    slopes = np.gradient(smoothed, decades)
    best = float(curve.rates[lowest])
    return LearningRateRange(
        learning_rate=float(f"{best / BELOW_LOWEST:.2g}"),
        steepest=float(f"{curve.rates[int(slopes[: lowest + 1].argmin())]:.2g}"),
        lowest_loss_at=float(f"{best:.2g}"),
        stopped_by=curve.stopped_by,
        rates=[float(rate) for rate in curve.rates],
        losses=[float(loss) for loss in curve.losses],
        smoothed=[float(loss) for loss in smoothed],
    )


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is assigned before each step."""

    def __init__(self) -> None:
        super().__init__()
        self.value = tf.Variable(0.0, trainable=False)

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.value)


def _copy_of(plan: Plan, rate: _Rate) -> keras.Model:
    """Return a copy of the model that a plan trains, ready for its first phase but at another learning rate."""
    config = plan.config
    copy = build_trained_network(
        config.model,
        config.training,
        image_size=config.data.image_size or 0,
        classes=len(plan.splits.class_names),
        seed=None,
    )
    for variable, value in zip(copy.network.variables, plan.network.variables, strict=True):
        variable.assign(value)
    dataclasses.replace(plan, trained=copy.model, network=copy.network).compile(plan.phases[0])
    optimizer = copy.model.optimizer
    getattr(optimizer, "inner_optimizer", optimizer).learning_rate = rate  # inside loss scaling
    build_metrics(copy.model, plan.validation_batches())
    return copy.model


def _loss_of_step(model: keras.Model, iterator: Iterator) -> float:
    try:
        return float(model.train_function(iterator)["loss"])
    except tf.errors.InvalidArgumentError as error:
        if DIVERGED not in str(error):
            raise
        return math.nan
