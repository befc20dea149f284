"""The answer to a question of `sepnets cost`."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The same result in three forms."""

    rows: list[dict[str, Any]]  # for a CSV file
    content: Any  # as JSON
    show: Callable[[], None]  # prints it for people
