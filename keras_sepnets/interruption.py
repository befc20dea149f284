"""SIGINT and SIGTERM while a run trains: the first asks for an orderly end, the second ends at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopNow(Exception):  # noqa: N818  no error: the run was asked to stop
    """The process got a signal; what it did so far is to be saved."""


class Interruption:
    """Tells whether the process was asked to end."""

    def __init__(self) -> None:
        """Begin with no signal."""
        self.signal: signal.Signals | None = None
        self.waits = False  # whether a signal is only noted, and not raised as StopNow

    def stop_if_asked(self) -> None:
        """Raise StopNow if the process was asked to end."""
        if self.signal:
            raise StopNow

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self.waits:
            raise StopNow


@contextlib.contextmanager
def noted_signals() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM for the length of a block, where that is possible: in the main thread."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption._note) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
