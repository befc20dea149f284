"""When a run is saved while it trains, and what is saved: variables, and the state of everything that has one."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import keras

from keras_sepnets.base.text import printable
from keras_sepnets.training.checkpoints import Checkpoint, Checkpoints, UnusableCheckpointError
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.loop import Position, training_state

LARGEST_COST = 0.01  # share of the training time that checkpoints may take
MINUTES = 5  # between checkpoints within an epoch


class Stateful(Protocol):
    """An object with a state that a resumed run continues from, as plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Saver:
    """Saves a run after its epochs and, in long epochs, between steps."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        model: keras.Model,
        *,
        position: Position,
        clock: Clock,
        steps_per_epoch: int,
        every: int | timedelta | None = None,
        others: Mapping[str, Stateful] | None = None,
    ) -> None:
        """Prepare to save the state that these objects have when `save` is called.

        Args:
            checkpoints: The folder of the checkpoints.
            model: The model that is trained.
            position: How far the run has come.
            clock: The run's time.
            steps_per_epoch: Steps per epoch.
            every: Steps or time between checkpoints, besides those after every epoch; None for every epoch and
                5 minutes, provided that checkpoints take at most 1 % of the time.
            others: Other objects whose state is saved, by their names in state.json.
        """
        self.seconds = 0.0  # spent on checkpoints
        self._checkpoints = checkpoints
        self._model = model
        self.position = position
        self._clock = clock
        self._steps_per_epoch = steps_per_epoch
        self._every = every
        self._parts: dict[str, Stateful] = {
            "position": position, "clock": clock, "checkpoints": self, **(others or {})
        }  # fmt: skip
        self._last_cost = 0.0
        self._last_time = time.perf_counter()

    @property
    def step(self) -> int:
        """Number of steps of the run so far."""
        return self.position.epoch * self._steps_per_epoch + self.position.step

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]

    def load_newest(self) -> Checkpoint | None:
        """Load the state of the newest checkpoint; return it, so that its variables can be read into the model.

        The model has to be compiled for the loaded position first.
        """
        checkpoint = self._checkpoints.newest()
        if checkpoint:
            try:
                state = _in_present_layout(checkpoint.state)
                for name, part in self._parts.items():
                    part.load_state_dict(state[name])
            except KeyError as error:
                raise UnusableCheckpointError(
                    f"The checkpoint was written by another version of this package, without {error}; start a new "
                    f"run. Received: {printable(checkpoint.path)}"
                ) from error
        return checkpoint

    def save(self) -> None:
        """Save the run as it is now; raise FailedRunError if that fails."""
        begin = time.perf_counter()
        state = {name: part.state_dict() for name, part in self._parts.items()}
        self._checkpoints.save(self.step, training_state(self._model), state)
        self._last_time = time.perf_counter()
        self._last_cost = self._last_time - begin
        self.seconds += self._last_cost
        self._clock.add("saving", self._last_cost)

    def save_if_due(self) -> None:
        """Save if it is time to; call this after every step and every epoch."""
        passed = time.perf_counter() - self._last_time
        epoch_ends = self.position.step == 0
        if self._every is None:
            cost = self.seconds + 2 * self._last_cost  # of all before, this one, and the one at the end
            due = cost <= LARGEST_COST * self._clock.seconds and (epoch_ends or passed > 60 * MINUTES)
        elif isinstance(self._every, timedelta):
            due = epoch_ends or passed >= self._every.total_seconds()
        else:
            due = epoch_ends or self.step % self._every == 0
        if due:
            self.save()


def _in_present_layout(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's state as `Saver.save` lays it out today, in which each object has its own part."""
    if "clock" in state:
        return state
    recorder = dict(state["recorder"])
    return {
        "position": state["position"],
        "clock": {"seconds": recorder.pop("seconds")},
        "checkpoints": {"seconds": state["checkpoint_seconds"]},
        "recorder": recorder,
    }
