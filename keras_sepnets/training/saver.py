"""When a run is saved while it trains, and how it is taken up again."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import keras

from keras_sepnets.training.checkpoints import Checkpoints, Variables
from keras_sepnets.training.loop import Position, training_state
from keras_sepnets.training.recorder import Recorder

LARGEST_COST = 0.01  # share of the time that checkpoints may take
MINUTES = 5  # between checkpoints within an epoch


class Saver:
    """Saves a run after its epochs and, in long ones, between its steps."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        model: keras.Model,
        position: Position,
        recorder: Recorder,
        steps_per_epoch: int,
        every: int | timedelta | None = None,
    ) -> None:
        """Save what these are at the moment.

        Args:
            checkpoints: Where to.
            model: Compiled.
            position: How far the run has come.
            recorder: What was recorded.
            steps_per_epoch: Steps an epoch.
            every: Steps or time between checkpoints, besides those after every epoch; None for every epoch and
                5 minutes, as far as this takes at most 1 % of the time.
        """
        self.position = position
        self.seconds = 0.0  # that checkpoints took
        self._checkpoints = checkpoints
        self._model = model
        self._recorder = recorder
        self._steps_per_epoch = steps_per_epoch
        self._every = every
        self._last_cost = 0.0
        self._last_time = self._begin = time.perf_counter()
        self._seconds_before = 0.0  # of the run, in processes before this one

    @property
    def step(self) -> int:
        """All steps of the run so far."""
        return self.position.epoch * self._steps_per_epoch + self.position.step

    def restore(self, prepare: Callable[[Position], None]) -> None:
        """Take the run up where its newest checkpoint is, or prepare it for the beginning.

        Args:
            prepare: Makes the model ready for the step after this position, as it was when it was saved.
        """

        def variables(state: dict[str, Any]) -> Variables:
            prepare(Position(**state["position"]))
            return training_state(self._model)

        state = self._checkpoints.restore(variables)
        if state is None:
            prepare(Position())
        else:
            self._recorder.restore(state["recorder"])
            self.seconds = state["checkpoint_seconds"]
            self._seconds_before = state.get("seconds", 0.0)
            for name, value in state["position"].items():
                setattr(self.position, name, value)

    def save(self) -> None:
        """Save the run as it is; raise FailedRunError if that fails."""
        begin = time.perf_counter()
        state = {
            "position": asdict(self.position),
            "recorder": self._recorder.state(),
            "checkpoint_seconds": self.seconds,
            "seconds": self._elapsed(),
        }
        self._checkpoints.save(self.step, training_state(self._model), state)
        self._last_time = time.perf_counter()
        self._last_cost = self._last_time - begin
        self.seconds += self._last_cost

    def save_if_due(self) -> None:
        """Save if it is time; to be called after every step and every epoch."""
        passed = time.perf_counter() - self._last_time
        epoch_ends = self.position.step == 0
        if self._every is None:
            affordable = self.seconds + 2 * self._last_cost <= LARGEST_COST * self._elapsed()  # this, and the last
            due = affordable and (epoch_ends or passed > 60 * MINUTES)
        elif isinstance(self._every, timedelta):
            due = epoch_ends or passed >= self._every.total_seconds()
        else:
            due = epoch_ends or self.step % self._every == 0
        if due:
            self.save()

    def _elapsed(self) -> float:
        return self._seconds_before + time.perf_counter() - self._begin
