"""What happens to the runs of a matrix while they are trained, and how long all of them still take."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import keras

EVERY = 0.5  # seconds between two reports of a run


class Event(NamedTuple):
    """Something that happens to a run."""

    kind: Literal["start", "step", "finished", "failed"]
    run: int = 0  # its number in the matrix
    done: float = 0.0  # share of its steps
    text: str = ""
    diverged: bool = False


class RunEvents(keras.callbacks.Callback):
    """Reports how far a run is."""

    def __init__(self, report: Callable[[Event], None]) -> None:
        super().__init__()
        self._report = report
        self._next = 0.0
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + EVERY
            self._tell(batch + 1, "")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._tell(self.params["steps"], f"  validation {(logs or {}).get('val_top1', float('nan')):.1%}")

    def _tell(self, steps: int, result: str) -> None:
        epochs, per_epoch = self.params["epochs"], self.params["steps"]
        done = (self._epoch * per_epoch + steps) / (epochs * per_epoch)
        self._report(Event("step", done=min(1.0, done), text=f"epoch {self._epoch + 1}/{epochs}{result}"))


class TimeLeft:
    """Estimates from the runs so far how long the others take: those of an arm take about equally long."""

    def __init__(self, arms: Sequence[str], *, jobs: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        """Expect a run for each of these names of arms.

        Args:
            arms: Name of the arm of each run.
            jobs: Number of runs at a time.
            clock: Returns seconds.
        """
        self._arms, self._jobs, self._clock = arms, jobs, clock
        self._begun: dict[int, float] = {}
        self._done: dict[int, float] = {}
        self._seconds: dict[str, list[float]] = {}
        self.ended: set[int] = set()

    def skip(self, run: int) -> None:
        """Leave out a run that was finished before."""
        self.ended.add(run)

    def note(self, event: Event) -> None:
        """Take account of an event."""
        if event.kind == "start":
            self._begun[event.run] = self._clock()
        elif event.kind == "step":
            self._done[event.run] = event.done
        else:
            self.ended.add(event.run)
            if event.kind == "finished" and event.run in self._begun:
                seconds = self._clock() - self._begun[event.run]
                self._seconds.setdefault(self._arms[event.run], []).append(seconds)

    def seconds(self) -> float | None:
        """Return the seconds that are left; None while nothing is known."""
        left = 0.0
        for run in set(range(len(self._arms))) - self.ended:
            whole = self._extrapolate(run) or self._mean(self._arms[run]) or self._mean()
            if whole is None:
                return None
            passed = self._clock() - self._begun[run] if run in self._begun else 0.0
            left += max(0.0, whole - passed)
        return left / self._jobs

    def _extrapolate(self, run: int) -> float | None:
        done = self._done.get(run, 0.0)
        return (self._clock() - self._begun[run]) / done if done and run in self._begun else None

    def _mean(self, arm: str | None = None) -> float | None:
        """Return how long a run of an arm, or of any, takes: of the finished ones, or of those at work."""
        known = [seconds for name, runs in self._seconds.items() if arm in (None, name) for seconds in runs]
        at_work = [run for run in self._done if run not in self.ended and arm in (None, self._arms[run])]
        known = known or [whole for run in at_work if (whole := self._extrapolate(run))]
        return sum(known) / len(known) if known else None
