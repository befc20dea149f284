"""The epochs and steps of a run, which can stop after any step and resume exactly there.

Keras' `fit` always starts at the beginning of an epoch, so its loop is written out here; steps, metrics, callbacks
and evaluation are Keras' own.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_sepnets.base.errors import DivergedError

DIVERGED = "The loss became NaN or infinite"


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the current epoch
    logs: dict[str, float] | None = None  # training metrics of the current epoch, once all its steps are finished

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.step, self.logs = state["epoch"], state["step"], state["logs"]


def training_state(model: keras.Model) -> dict[str, list[tf.Variable]]:
    """Return all variables that the rest of a training depends on.

    They are the weights, batch norm's statistics and dropout's seeds, the optimizer's variables, and the metrics
    of the epoch so far.
    """
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {name: [variable.value for variable in group] for name, group in groups.items()}


def build_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Create the variables of a compiled model's metrics, which Keras would only create in the first step."""
    spec = batches.element_spec[1]
    model.compute_metrics(None, tf.zeros([1, *spec.shape[1:]], spec.dtype), tf.zeros([1, *model.output_shape[1:]]))
    model.reset_metrics()


@tf.custom_gradient
def checked_when_trained(losses: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return losses unchanged, but let a step whose loss is NaN or infinite fail before it updates anything.

    XLA drops the check; the loss is then only checked after the step.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.check_numerics(losses, DIVERGED)]):
            return tf.identity(upstream)

    return losses, gradient


def run_epochs(
    model: keras.Model,
    position: Position,
    batches: tf.data.Dataset,
    validation: tf.data.Dataset,
    *,
    epochs: int,
    steps_per_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
    evaluated: Callable[[], AbstractContextManager[None]] = nullcontext,
    on_new_epoch: Callable[[int], None] = lambda _epoch: None,
    on_step: Callable[[], None],
    on_pause: Callable[[], None],
) -> None:
    """Train a compiled model from a position to the end.

    Args:
        model: The model, in its state at `position`.
        position: Where to start; it advances with every step.
        batches: Endless training batches, from `position` on.
        validation: Batches to evaluate after every epoch.
        epochs: Number of epochs of the whole training.
        steps_per_epoch: Steps per epoch.
        callbacks: Keras callbacks; they see a resumed epoch from its next step.
        evaluated: Returns a block in which the model has the weights and statistics to evaluate.
        on_new_epoch: Called with the number of an epoch, from 0, before its first step; it may compile the model.
        on_step: Called after every step and every epoch, when `position` and the variables agree.
        on_pause: Called between the batches of the validation. When it raises, `position` and the variables are
            those of the epoch's last step.
    """
    every = keras.callbacks.CallbackList(
        [*callbacks, _Pause(on_pause)], model=model, epochs=epochs, steps=steps_per_epoch
    )
    iterator = iter(batches)
    model.stop_training = False
    every.on_train_begin()
    while position.epoch < epochs and not model.stop_training:
        if position.step == 0:
            on_new_epoch(position.epoch)
            model.reset_metrics()
        model.make_train_function()
        every.on_epoch_begin(position.epoch)
        while position.step < steps_per_epoch:
            every.on_train_batch_begin(position.step)
            logs = _step(model, iterator, position)
            position.step += 1
            if position.step == steps_per_epoch:
                position.logs = _floats(model.get_metrics_result())
            every.on_train_batch_end(position.step - 1, logs)
            on_step()
        with evaluated():
            validated = validate(model, validation, callbacks=every)
        epoch_logs = {**(position.logs or {}), **{f"val_{name}": value for name, value in validated.items()}}
        every.on_epoch_end(position.epoch, epoch_logs)
        position.epoch, position.step, position.logs = position.epoch + 1, 0, None
        on_step()
    every.on_train_end()


def validate(model: keras.Model, batches: tf.data.Dataset, callbacks: Any = None) -> dict[str, float]:
    """Return loss and metrics of a compiled model over batches."""
    with warnings.catch_warnings():
        # The number of batches is unknown in advance if bad pictures are skipped.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        return model.evaluate(batches, verbose=0, return_dict=True, callbacks=callbacks)


def _step(model: keras.Model, iterator: Iterator, position: Position) -> dict[str, Any]:
    try:
        return model.train_function(iterator)
    except tf.errors.InvalidArgumentError as error:
        if DIVERGED not in str(error):
            raise
        rate = float(model.optimizer.learning_rate)
        raise DivergedError(
            f"{DIVERGED} in epoch {position.epoch + 1}, step {position.step + 1}; nothing was updated. Lower the "
            f"learning rate. Received: learning_rate={rate:g} at that step."
        ) from error


class _Pause(keras.callbacks.Callback):
    """Calls a function between the batches of an evaluation."""

    def __init__(self, on_pause: Callable[[], None]) -> None:
        super().__init__()
        self._on_pause = on_pause

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._on_pause()


def _floats(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
