"""The console on which commands print."""

import errno
import io
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from keras_sepnets.base.text import printable_text

WIDTH_OF_FILES = 160  # columns of tables that go to a file or a pipe
UNREAD = (errno.EPIPE, errno.EIO)  # the reader of a pipe has ended; the terminal was closed


class PlainConsole(Console):
    """A console on which names from files cannot control the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text and cells of tables, with escapes in place of control characters."""
        return super().render_str(printable_text(text), **options)


def make_console(*, as_json: bool) -> Console:
    """Return a console on stdout, or on stderr if JSON goes to stdout."""
    console = PlainConsole(stderr=as_json, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console


def drop_unread_output() -> None:
    """Let this process write to where nobody reads any more: a training does not end with `head` or a terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # PYTHONUNBUFFERED leaves the buffer out. Tests put other streams in place.
        is_file = isinstance(stream, io.TextIOWrapper)
        if is_file and isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            file = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))  # type: ignore[type-var]
            flushes = stream.line_buffering or stream.write_through
            kept = io.TextIOWrapper(file, encoding=stream.encoding, errors=stream.errors, line_buffering=flushes)
            setattr(sys, name, kept)


class _Unread(io.FileIO):
    """A file that takes what nobody reads."""

    def write(self, content: "bytes | memoryview", /) -> int | None:  # type: ignore[override]
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in UNREAD:
                raise
            return memoryview(content).nbytes
