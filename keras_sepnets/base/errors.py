"""The exceptions that a user may see, and the words for a near miss."""


class SepnetsError(ValueError):
    """A user's mistake, told in one sentence; the command line prints it and exits with `exit_code`."""

    exit_code = 2


class FailedRunError(SepnetsError):
    """Work that began well and could not be finished (a truncated picture, a loss that is not a number)."""

    exit_code = 1


class DivergedError(FailedRunError):
    """A loss that is no number: to go on from before would come to the same."""


class InterruptedRunError(FailedRunError):
    """Work that the user stopped with Ctrl-C; the message says what is kept."""

    exit_code = 130


class TerminatedRunError(InterruptedRunError):
    """Work that was stopped by SIGTERM, as batch systems send it; the message says what is kept."""

    exit_code = 143


class TimeUpError(InterruptedRunError):
    """Work that has used up its time, with the exit code of `timeout`; the message says how it goes on."""

    exit_code = 124
