"""Signals and time limits that end a run early: the first signal stops cleanly, the second kills."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

KEYS = (signal.SIGINT, signal.SIGTERM)  # sent on purpose; a second one comes from somebody who will not wait
SIGNALS = (*KEYS, signal.SIGHUP)


class StopNow(BaseException):
    """Raised where a run stops because of a signal or its time limit, after which its progress is saved."""


class Interruption:
    """The request to stop: a signal that arrived, or a deadline that passed."""

    def __init__(self, deadline: float | None = None) -> None:
        """Start without a signal.

        Args:
            deadline: In seconds of the monotonic clock; None for no limit.
        """
        self.signal: signal.Signals | None = None
        # Once training has begun, a signal waits until `stop_if_asked` is called, between two steps; before that,
        # its handler raises StopNow at once.
        self.stops_between_steps = False
        self._deadline = deadline

    def stop_if_asked(self) -> None:
        """Raise StopNow if a signal has arrived or the deadline has passed."""
        if self.signal or (self._deadline is not None and time.monotonic() > self._deadline):
            raise StopNow

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        is_first = self.signal is None
        self.signal = self.signal or signal.Signals(number)
        if number in KEYS:
            for each in KEYS:
                signal.signal(each, signal.SIG_DFL)  # the second one kills
        # A terminal that closes often sends several signals: SIGHUP from the kernel and the shell, then SIGTERM.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if is_first and not self.stops_between_steps:
            raise StopNow


@contextlib.contextmanager
def handled_signals(deadline: float | None = None) -> Iterator[Interruption]:
    """Handle SIGINT, SIGTERM and SIGHUP within a block; other threads only have the deadline.

    SIGHUP stays ignored where it is, as in a program that `nohup` started.
    """
    interruption = Interruption(deadline)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    before = {number: signal.signal(number, interruption._handle) for number in (SIGNALS if hangs_up else KEYS)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
