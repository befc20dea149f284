"""SIGINT and SIGTERM while a run trains: the first asks for an orderly end, the second ends at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Tells whether the process was asked to end."""

    def __init__(self) -> None:
        """Begin with no signal."""
        self.signal: signal.Signals | None = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = signal.Signals(number)


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
