"""The exceptions that a user may see, and the words for a near miss."""

import difflib
import os
from collections.abc import Iterable


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


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """Return an exception's text on one line, cut to `limit` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[:limit]}..."


def last_line(text: str) -> str:
    """Return the last line that a process wrote before it ended, which is the one that says why."""
    lines = text.strip().splitlines()
    return one_line(lines[-1]) if lines else "no message"


def printable(path: os.PathLike | str) -> str:
    """Return a path for people: what no terminal should get to interpret is shown as an escape."""
    try:
        text = os.fsencode(path).decode(errors="replace")
    except UnicodeEncodeError:  # no name that a disk could hold
        text = os.fspath(path).encode(errors="backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the known name nearest to `name`, or nothing when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""
