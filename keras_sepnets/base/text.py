"""Text for people: one line, printable paths, the nearest known name, plurals."""

import difflib
import os
from collections.abc import Iterable

from rich import filesize


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """Return an exception's text on one line, printable and cut to `limit` characters."""
    text = printable_text(" ".join(str(error).split()))
    return text if len(text) <= limit else f"{text[:limit]}..."


def last_line(text: str) -> str:
    """Return the last line of a process's output, which usually names the error."""
    lines = text.strip().splitlines()
    return one_line(lines[-1]) if lines else "no message"


def printable(path: os.PathLike | str) -> str:
    """Return a path with escapes in place of characters that a terminal would interpret."""
    try:
        text = os.fsencode(path).decode(errors="replace")
    except UnicodeEncodeError:  # not a name that a file system could hold
        text = os.fspath(path).encode(errors="backslashreplace").decode()
    return printable_text(text, keep="")


def printable_text(text: str, keep: str = "\n") -> str:
    """Return text with escapes in place of characters that a terminal would interpret, except some to keep."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def in_bytes(amount: int) -> str:
    """Return a number of bytes for people, such as 1.4 GB."""
    return filesize.decimal(amount)


def size_of_weights(parameters: int) -> str:
    """Return how much room weights take in float32, such as 12.9 MB."""
    return in_bytes(4 * parameters)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the known name nearest to `name`, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def counted(number: float, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as `1 epoch` or `1,200 files`; the plural is `singular` + "s"."""
    amount = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{amount} {singular if number == 1 else plural or singular + 's'}"
