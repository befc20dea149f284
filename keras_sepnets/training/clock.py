"""The time that a run has trained, over all processes that worked on it, and the time limit of one process."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple


class TimeLimit(NamedTuple):
    """A time limit that has begun to run out."""

    seconds: float
    end: float  # in seconds of the monotonic clock

    @classmethod
    def of(cls, limit: "float | TimeLimit | None") -> "TimeLimit | None":
        """Return a limit of this many seconds from now on, or the one that has begun already."""
        return cls(limit, time.monotonic() + limit) if isinstance(limit, int | float) else limit

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.monotonic()


class Clock:
    """A stopwatch that a resumed run continues, and how long each part of the run took."""

    def __init__(self) -> None:
        self._before = 0.0  # seconds, in earlier processes
        self._begin: float | None = None
        self._parts: dict[str, float] = {}

    def start(self) -> None:
        """Start counting, unless it has started."""
        self._begin = self._begin or time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + (time.perf_counter() - self._begin if self._begin is not None else 0.0)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each part so far, also of those outside the training."""
        return {name: round(seconds, 3) for name, seconds in self._parts.items()}

    def add(self, part: str, seconds: float) -> None:
        """Count seconds to a part."""
        self._parts[part] = self._parts.get(part, 0.0) + seconds

    @contextlib.contextmanager
    def counting(self, part: str) -> Iterator[None]:
        """Count the time of a block to a part, whether it succeeds or not."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - begin)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "parts": self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]
        for part, seconds in state.get("parts", {}).items():  # checkpoints of 0.1.0 have none
            self.add(part, seconds)
