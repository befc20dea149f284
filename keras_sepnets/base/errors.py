"""The exceptions that a user may see."""

from keras_sepnets.base.text import printable_text


class SepnetsError(ValueError):
    """A user's mistake, described in one sentence; the command line prints it and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        """Keep the sentence, which may quote a file, without characters that a terminal would interpret."""
        super().__init__(printable_text(str(message)))


class FailedRunError(SepnetsError):
    """Work that started but could not be finished, because of a truncated picture or a full disk, for example."""

    exit_code = 1


class DivergedError(FailedRunError):
    """The loss became NaN or infinite: resuming would diverge again."""


class InterruptedRunError(FailedRunError):
    """The user stopped the work with Ctrl-C; the message says what is kept."""

    exit_code = 130


class TerminatedRunError(InterruptedRunError):
    """SIGTERM, which batch systems send, stopped the work; the message says what is kept."""

    exit_code = 143


class HungUpError(InterruptedRunError):
    """SIGHUP, which a closed terminal sends, stopped the work; the message says what is kept."""

    exit_code = 129


class TimeUpError(InterruptedRunError):
    """The time limit was reached; the exit code is that of `timeout`, and the message says how to continue."""

    exit_code = 124
