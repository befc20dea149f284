"""What a run has recorded, read back: always as UTF-8, and with a sentence for a file that is damaged."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line
from keras_sepnets.settings.schema import RunConfig

BEFORE: dict[str, dict[str, Any]] = {  # what version 0.1.0 did, whose runs do not have these settings
    "data": {"sixteen_bit": "high_byte", "class_names": "as_written"},
    "training": {"keep": "final", "precise_batch_norm": 0},
    "transfer": {"batch_norm": "moving", "classifier": "random"},
}


def damaged(file: Path, fault: str) -> SepnetsError:
    """Return the error that says what is wrong with a file of a run."""
    return SepnetsError(
        f"The run folder is damaged: {file.name}: {fault}; restore the file, or train again. "
        f"Received: {str(file.parent)!r}"
    )


class Record(dict[str, Any]):
    """An object in a JSON file; what it lacks is named in an error."""

    def __init__(self, file: Path, pairs: Iterable[tuple[str, Any]]) -> None:
        """Take the names and values of the object."""
        super().__init__(pairs)
        self._file = file

    def __missing__(self, name: str) -> Any:
        """Raise SepnetsError for what is not there."""
        raise damaged(self._file, f"it has no {name}")


def read_json(file: Path) -> Any:
    """Return the object in a JSON file; raise SepnetsError if it is missing or damaged."""
    content = _read(file)
    if not isinstance(content, Record):
        raise damaged(file, "it is not a JSON object")
    return content


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes(), object_pairs_hook=partial(Record, file))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file, one_line(error)) from None


def read_config(file: Path) -> RunConfig:
    """Return the settings of a run; raise SepnetsError if the file cannot be read, or does not fit."""
    try:
        settings = json.loads(file.read_bytes())
        for section, values in BEFORE.items():
            settings[section] = values | settings.get(section, {})
        return RunConfig.model_validate_json(json.dumps(settings))
    except OSError as error:
        raise SepnetsError(f"{file} cannot be read: {one_line(error)}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SepnetsError(f"{file} does not fit this version: {one_line(error)}") from None


def read_names(file: Path) -> tuple[str, ...]:
    """Return the names in a JSON file; raise SepnetsError unless they are different texts."""
    names = _read(file)
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


class RecordedRole(BaseModel):
    """What data.json says of a role."""

    num_examples: int
    digest: str = ""
    sample: dict[str, int] = {}


class RecordedData(BaseModel):
    """What data.json says; what it lacks is named where it is needed."""

    dataset: str = ""
    train: RecordedRole = RecordedRole(num_examples=0)
    validation: RecordedRole = RecordedRole(num_examples=0)
    test: RecordedRole = RecordedRole(num_examples=0)


def read_data(file: Path) -> dict[str, Any]:
    """Return the content of data.json; raise SepnetsError if it is missing or damaged."""
    content = read_json(file)
    try:
        RecordedData.model_validate(content, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        message = fault["msg"].partition(" or instance of")[0]
        raise damaged(file, f"{'.'.join(map(str, fault['loc']))}: {message}") from None
    return content


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
