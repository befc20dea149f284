"""Picture files listed in a file: `manifest:FILE`, CSV or JSON Lines of path, label, maybe split and group."""

import csv
import functools
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line, printable
from keras_sepnets.data.sources.files import SPLIT_WORDS, FileSource, LabelledFile
from keras_sepnets.data.sources.name import DatasetName

FORM = "expected CSV with the columns path, label and optionally split and group, or JSON Lines with these keys"


def open_manifest(path: str, *, skip_bad: bool = False, pooled: bool = False) -> FileSource:
    """List the pictures of a manifest.

    Args:
        path: A CSV file with a header row, or JSON Lines if its suffix is .jsonl, .ndjson or .json. Paths in it
            are absolute or relative to its folder. A row without a split belongs to train. Pictures with the same
            group, of one patient for example, are only held out together; a row without a group is a group of its
            own. Other columns are ignored.
        skip_bad: Whether to leave out files that are missing or cannot be read.
        pooled: Whether to make one split, train, of the pictures of all splits.

    Raises:
        SepnetsError: The manifest cannot be read, a row lacks a path or a label, has an unknown split or repeats a
            picture; or `FileSource` refuses the files.
    """
    file = Path(path).expanduser().resolve()
    name = str(DatasetName("manifest", str(file)))
    files: dict[str, list[LabelledFile]] = {split: [] for split in ("train", "validation", "test")}
    lines: dict[str, int] = {}  # path -> its line
    for line, row in _read_rows(file):
        where = f"line {line} of {printable(file)}"
        key, label = _text(row, "path", where), _text(row, "label", where)
        split = SPLIT_WORDS.get(str(row.get("split") or "train").strip().lower())
        if split is None:
            raise SepnetsError(
                f"A split is train, validation or test; correct {where}. "
                f"Received: {printable(str(row['split']))!r}"
            )
        picture = _locate(file.parent, key, where)
        if picture in lines:
            raise SepnetsError(
                f"The picture {printable(key)} is listed twice, in lines {lines[picture]} and {line}; remove "
                f"one of them. Received: {printable(name)}"
            )
        lines[picture] = line
        grouped = row.get("group") is not None and str(row["group"]).strip()
        group = _text(row, "group", where) if grouped else ""
        files[split].append(LabelledFile(key, picture, label, group))
    if not lines:
        raise SepnetsError(f"The manifest lists no pictures; {FORM}. Received: {printable(name)}")
    if not skip_bad:
        missing = [picture for picture in lines if not os.path.lexists(picture)]
        if missing:
            more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
            raise SepnetsError(
                f"Line {lines[missing[0]]} of the manifest names a file that does not exist: "
                f"{printable(missing[0])}{more}; paths are relative to the manifest's folder. "
                f"Received: {printable(name)}"
            )
    ordered = {split: sorted(rows, key=lambda row: (row.label, row.key)) for split, rows in files.items()}
    return FileSource(name, ordered, skip_bad=skip_bad, pooled=pooled)


def _read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the content of each row."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        yield from _json_rows(text) if file.suffix in (".jsonl", ".ndjson", ".json") else _csv_rows(text)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, SepnetsError):
            raise
        raise SepnetsError(
            f"The manifest cannot be read: {one_line(error)}; {FORM}. Received: {printable(file)!r}"
        ) from None


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    missing = {"path", "label"}.difference(reader.fieldnames or ())
    if missing:
        raise ValueError(f"its first line has no column {' and no column '.join(sorted(missing))}")
    for row in reader:
        yield reader.line_num, row


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other line ends
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is not JSON ({one_line(error)})") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield number, row


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a label may be a number in JSON
    if not isinstance(value, str) or not value.strip():
        raise SepnetsError(f"Every row of a manifest needs a {key}; correct {where}. Received: {value!r}")
    return value.strip()


def _locate(folder: Path, key: str, where: str) -> str:
    """Return the path of a picture, one for each file however it is spelled, so that repetitions are found."""
    parent, name = os.path.split(folder / key)
    try:
        os.fsencode(name)
        return os.path.join(_real_folder(parent), name)  # noqa: PTH118  pathlib takes ten times as long
    except ValueError:
        raise SepnetsError(
            f"A path must have no zero bytes and no lone surrogates; correct {where}. Received: {printable(key)!r}"
        ) from None


@functools.lru_cache(maxsize=4096)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)
