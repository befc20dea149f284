"""What ends a run early: its time, SIGINT, SIGTERM. A first signal asks for an orderly end, not a second."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopNow(BaseException):
    """The process got a signal, or its time is up; what it did so far is to be saved."""


class Interruption:
    """Tells whether the process was asked to end."""

    def __init__(self, deadline: float | None = None) -> None:
        """Begin with no signal; the time is up at `deadline` of the monotonic clock."""
        self.signal: signal.Signals | None = None
        self._deadline = deadline
        self.waits = False  # whether a signal is only noted, and not raised as StopNow

    def stop_if_asked(self) -> None:
        """Raise StopNow if the process was asked to end, or its time is up."""
        if self.signal or (self._deadline is not None and time.monotonic() > self._deadline):
            raise StopNow

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self.waits:
            raise StopNow


@contextlib.contextmanager
def noted_signals(deadline: float | None = None) -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM for the length of a block, where that is possible: in the main thread."""
    interruption = Interruption(deadline)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption._note) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
