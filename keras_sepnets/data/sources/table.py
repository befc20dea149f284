"""A list of pictures as rows of text: CSV with its separator and encoding found out, or JSON Lines."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import read_regular_file
from keras_sepnets.base.text import one_line, printable
from keras_sepnets.data.pictures.formats import SUFFIXES, has_suffix

FORM = "expected CSV with the columns path, label and optionally split and group, or JSON Lines with these keys"
MOST_BYTES = 1_000_000_000
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


class Row(NamedTuple):
    """A picture in a list."""

    line: int  # the last of its lines in the file, from 1
    values: dict[Any, Any]  # by column; text, or what JSON has
    fault: str = ""  # why it cannot be used


class Table(NamedTuple):
    """The content of a list of pictures."""

    columns: tuple[str, ...]  # as they are written; empty strings for a CSV without a header
    rows: list[Row]
    notes: list[str]  # what was found out about its form


def read_table(file: Path) -> Table:
    """Read a list of pictures.

    Args:
        file: JSON Lines if its suffix is .jsonl, .ndjson or .json; otherwise CSV, separated by what stands most
            often in its first line. Text is UTF-8, or UTF-16 with a byte order mark; what is neither is read as
            Windows-1252.

    Raises:
        SepnetsError: The file cannot be read, or is neither.
    """
    try:
        text, notes = _decode(read_regular_file(file, MOST_BYTES))
        table = _read_json(text) if file.suffix.lower() in (".jsonl", ".ndjson", ".json") else _read_csv(text)
    except (OSError, ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise SepnetsError(
            f"The manifest cannot be read: {one_line(error)}; {FORM}. Received: {printable(file)!r}"
        ) from None
    return table._replace(notes=notes + table.notes)


def _decode(content: bytes) -> tuple[str, list[str]]:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text, notes = content.decode(encoding), ["read as UTF-16"] if encoding == "utf-16" else []
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise
        text, notes = content.decode("cp1252"), ["read as Windows-1252, because it is not UTF-8"]
    if "\0" in text:
        raise ValueError("it is not text")
    return text, notes


def _read_csv(text: str) -> Table:
    lines = io.StringIO(text, newline=None)  # any line ends, also a single carriage return
    first = lines.readline()
    skipped = 0
    if named := re.fullmatch(r"sep=(.)\s*", first):  # which Excel writes
        separator, skipped = named[1], 1
    else:
        separator = max(SEPARATORS, key=re.sub('"[^"]*"', "", first).count)
        lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    cells = [(reader.line_num + skipped, row) for row in reader if any(cell.strip() for cell in row)]
    if not cells:
        raise ValueError("it is empty")
    notes = [] if separator == "," else [f"columns separated by {SEPARATORS.get(separator, repr(separator))}"]
    header = [cell.strip() for cell in cells[0][1]]
    if any(has_suffix(cell, *SUFFIXES) for cell in header):
        notes.append("its first line is a picture, not the names of columns")
        columns = tuple(f"column {number}" for number in range(1, len(header) + 1))
    else:
        columns = tuple(header)
        del cells[0]
    return Table(columns, [_to_row(line, row, columns) for line, row in cells], notes)


def _to_row(line: int, cells: list[str], columns: tuple[str, ...]) -> Row:
    fault = ""
    if any(cell.strip() for cell in cells[len(columns) :]):
        fault = f"it has {len(cells)} columns, the first line {len(columns)}; quote what contains the separator"
    return Row(line, dict(zip(columns, cells, strict=False)), fault)


def _read_json(text: str) -> Table:
    rows = list(_json_rows(text))
    columns = dict.fromkeys(key for row in rows for key in row.values)
    return Table(tuple(columns), rows, [])


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other line ends
        if line.strip():
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is not JSON ({one_line(error)})") from None
            if not isinstance(values, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield Row(number, values)
