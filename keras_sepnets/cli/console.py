"""The console on which commands print."""

from rich.console import Console

WIDTH_OF_FILES = 160  # columns of tables that go to a file or a pipe


def make_console(*, as_json: bool) -> Console:
    """Return a console on stdout, or on stderr if JSON goes to stdout."""
    console = Console(stderr=as_json, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console
