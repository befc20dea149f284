"""The epochs and steps of a run, such that it can be stopped after any step and go on exactly there.

Keras' `fit` begins with a whole epoch, so its loop is taken apart here; steps, metrics, callbacks and evaluation
remain those of Keras.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_sepnets.base.errors import DivergedError
from keras_sepnets.training.averaging import averaged_weights

NO_NUMBER = "The loss became infinite or no number"


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch that follows them
    logs: dict[str, float] | None = None  # the training metrics of that epoch, once all its steps are done


def training_state(model: keras.Model) -> dict[str, list[tf.Variable]]:
    """Return all variables that the further course of a training depends on.

    Weights, batch norm's statistics and dropout's seeds; the optimizer's; the metrics of the epoch so far.
    """
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {name: [variable.value for variable in group] for name, group in groups.items()}


def build_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Let a compiled model create its metrics' variables, which it else does in the first step."""
    pictures, labels = (tf.zeros([1, *spec.shape[1:]], spec.dtype) for spec in batches.element_spec[:2])
    model.test_on_batch(pictures, labels)
    model.reset_metrics()


@tf.custom_gradient
def checked_when_trained(losses: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return losses as they are, but let a step whose loss is no number fail before it updates anything.

    XLA leaves the check out; then the loss is only looked at after the step.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.check_numerics(losses, NO_NUMBER)]):
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
    on_new_epoch: Callable[[int], None] = lambda _epoch: None,
    on_step: Callable[[], None],
    on_pause: Callable[[], None],
) -> None:
    """Train a compiled model from a position to the end.

    Args:
        model: As it was at `position`.
        position: Is moved on.
        batches: Endless training batches, from `position` on.
        validation: Batches that are evaluated after every epoch, with the averaged weights if there are any.
        epochs: Of the whole training.
        steps_per_epoch: Steps an epoch.
        callbacks: Keras callbacks; they see a resumed epoch from its next step.
        on_new_epoch: Called before the first step of an epoch, when the model may be compiled anew.
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
        with averaged_weights(model), warnings.catch_warnings():
            # Of a data set whose number of batches only shows at its end, as with pictures that are left out.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            validated = model.evaluate(validation, verbose=0, return_dict=True, callbacks=every)
        epoch_logs = {**(position.logs or {}), **{f"val_{name}": value for name, value in validated.items()}}
        every.on_epoch_end(position.epoch, epoch_logs)
        position.epoch, position.step, position.logs = position.epoch + 1, 0, None
        on_step()
    every.on_train_end()


def _step(model: keras.Model, iterator: Iterator, position: Position) -> dict[str, Any]:
    try:
        return model.train_function(iterator)
    except tf.errors.InvalidArgumentError as error:
        if NO_NUMBER not in str(error):
            raise
        rate = float(model.optimizer.learning_rate)
        raise DivergedError(
            f"{NO_NUMBER} in epoch {position.epoch + 1}, step {position.step + 1}; nothing was updated with it. "
            f"Lower the learning rate. Received: learning_rate={rate:g} at that step."
        ) from error


class _Pause(keras.callbacks.Callback):
    """Pauses between the batches of an evaluation."""

    def __init__(self, on_pause: Callable[[], None]) -> None:
        super().__init__()
        self._on_pause = on_pause

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._on_pause()


def _floats(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
