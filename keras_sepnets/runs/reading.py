"""What a run has recorded, read back: always as UTF-8, and with a sentence for a file that is damaged."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line


def damaged(file: Path, fault: str) -> SepnetsError:
    """Return the error that says what is wrong with a file of a run."""
    return SepnetsError(
        f"The run folder is damaged: {file.name}: {fault}; restore the file, or train again. "
        f"Received: {str(file.parent)!r}"
    )


def read_json(file: Path) -> Any:
    """Return the content of a JSON file; raise SepnetsError if it is missing or damaged."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file, one_line(error)) from None


def read_names(file: Path) -> tuple[str, ...]:
    """Return the names in a JSON file; raise SepnetsError unless they are different texts."""
    names = read_json(file)
    if not isinstance(names, list) or len({name for name in names if isinstance(name, str)}) != len(names):
        raise damaged(file, "it is not a list of different class names")
    return tuple(names)


def read_rows(file: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if there is no such file.

    Raises:
        SepnetsError: It cannot be read, or does not have these columns in every row.
    """
    if not file.is_file():
        return []
    try:
        reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline=""))
        rows, found = list(reader), reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(file, one_line(error)) from None
    for column in columns:
        if column not in found:
            raise damaged(file, f"it has no column {column}")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise damaged(file, f"row {number} has another number of columns than the first line")
    return rows


class HistoryRow(dict[str, float]):
    """An epoch; a column that the file does not have is named in an error."""

    def __init__(self, file: Path, row: Mapping[str, str]) -> None:
        """Take the texts of a row."""
        super().__init__((key, float(value)) for key, value in row.items())
        self._file = file

    def __missing__(self, column: str) -> float:
        """Raise SepnetsError for a column that is not there."""
        raise damaged(self._file, f"it has no column {column}")


def read_history(file: Path) -> list[HistoryRow]:
    """Return one row per epoch; none if there is no such file; raise SepnetsError if it is damaged."""
    rows = read_rows(file)
    try:
        return [HistoryRow(file, row) for row in rows]
    except ValueError as error:
        raise damaged(file, one_line(error)) from None
