"""The time that a run has trained, over all the processes that worked on it."""

import time
from typing import Any


class Clock:
    """A stopwatch that a resumed run continues."""

    def __init__(self) -> None:
        self._before = 0.0  # seconds, in earlier processes
        self._begin: float | None = None

    def start(self) -> None:
        """Start counting, unless it has started."""
        self._begin = self._begin or time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + (time.perf_counter() - self._begin if self._begin is not None else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]
