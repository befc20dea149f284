"""The console on which commands print."""

from typing import Any

from rich.console import Console
from rich.text import Text

from keras_sepnets.base.text import printable_text

WIDTH_OF_FILES = 160  # columns of tables that go to a file or a pipe


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
