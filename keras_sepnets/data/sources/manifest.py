"""Picture files listed in a file: `manifest:FILE`, CSV or JSON Lines of path, label, maybe split and group."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import whole_path
from keras_sepnets.base.text import printable
from keras_sepnets.data.sources.columns import Columns, find_columns, flagged_split
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.listing import UNCLEAR, Faults, LabelledFile, Opening
from keras_sepnets.data.sources.locating import locate_pictures
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.split_names import UNLABELLED, YES, understand_splits
from keras_sepnets.data.sources.table import FORM, Row, read_table


def open_manifest(
    path: str,
    *,
    columns: Columns = Columns(),  # noqa: B008  immutable
    **opening: Unpack[Opening],
) -> FileSource:
    """List the pictures of a manifest.

    Args:
        path: A CSV file with a header row, or JSON Lines if its suffix is .jsonl, .ndjson or .json; see `table`.
            Paths in it are absolute or relative to its folder; `locating` says what else is found. A row without a
            split belongs to train. Pictures with the same group, of one patient for example, are only held out
            together; a row without a group is a group of its own. Other columns are ignored.
        columns: The columns of the path and the label, if the user names them; otherwise see `columns`.
        opening: See `Opening`; a file that is missing counts as one that cannot be read.

    Raises:
        SepnetsError: The manifest cannot be read, a row lacks a path or a label, has an unknown split or repeats a
            picture; or `FileSource` refuses the files.
    """
    file = whole_path(path)
    name = str(DatasetName("manifest", str(file)))
    faults = opening.setdefault("faults", Faults())
    table = read_table(file)
    if not table.rows:
        raise SepnetsError(f"The manifest lists no pictures; {FORM}. Received: {printable(name)}")
    found, understood = find_columns(table, columns, name, faults)
    listed = dict(_read_rows(table.rows, found, file, faults))  # line -> picture and split
    located = locate_pictures(file, [picture.key for picture, _ in listed.values()], faults)
    notes = [*table.notes, *understood, *located.notes]
    files: dict[str, list[LabelledFile]] = {split: [] for split in ("train", "validation", "test")}
    lines: dict[str, int] = {}  # path -> its line
    for (line, (picture, split)), written in zip(listed.items(), located.paths, strict=True):
        place = _real_path(written)
        if place in lines:
            faults.add(
                f"The picture {printable(picture.key)} is listed twice, in lines {lines[place]} and {line}; "
                f"remove one of them. Received: {printable(name)}"
            )
            continue
        lines[place] = line
        files[split].append(picture._replace(path=place))
    if not opening.get("skip_bad"):
        _check_existence(lines, name)
    ordered = {split: sorted(rows, key=lambda row: (row.label, row.key)) for split, rows in files.items()}
    return FileSource(name, ordered, notes=notes, **opening)


def _read_rows(
    rows: Sequence[Row], columns: Columns, file: Path, faults: Faults
) -> Iterator[tuple[int, tuple[LabelledFile, str]]]:
    """Yield the line, the picture, whose path is not known yet, and the split of each row without a fault."""
    splits = understand_splits({_split(row, columns) for row in rows})
    for row in rows:
        where = f"line {row.line} of {printable(file)}"
        try:
            if row.fault:
                raise SepnetsError(f"A row of the manifest cannot be used: {row.fault}. Received: {where}")
            key = _text(row, columns.path, "path", where)
            label = _text(row, columns.label, "label", where) if columns.label is not None else UNCLEAR
            group = row.values.get(columns.group)
            grouped = group is not None and str(group).strip()
            split = splits.get(_split(row, columns))
            if split in (None, UNLABELLED):
                raise SepnetsError(
                    f"A split is train, validation or test; correct {where}. "
                    f"Received: {printable(_split(row, columns))!r}"
                )
            _check_path(key, where)
            picture = LabelledFile(key, "", label, _text(row, columns.group, "group", where) if grouped else "")
        except SepnetsError as error:
            faults.add(str(error))
        else:
            yield row.line, (picture, str(split))


def _split(row: Row, columns: Columns) -> str:
    value = str(row.values.get(columns.split) or "train").strip()
    if flagged := flagged_split(columns.split):
        return flagged if value.casefold() in YES else "train"
    return value


def _text(row: Row, column: str | None, what: str, where: str) -> str:
    value = row.values.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a label may be a number in JSON
    if not isinstance(value, str) or not value.strip():
        several = " a picture has one label;" if isinstance(value, list) else ""
        raise SepnetsError(
            f"Every row of a manifest needs a {what};{several} correct {where}. Received: {value!r}"
        )
    return value.strip()


def _check_path(key: str, where: str) -> None:
    try:
        if b"\0" not in os.fsencode(key):
            return
    except ValueError:
        pass
    raise SepnetsError(
        f"A path must have no zero bytes and no lone surrogates; correct {where}. Received: {printable(key)!r}"
    )


def _check_existence(lines: Mapping[str, int], name: str) -> None:
    missing = [path for path in lines if not os.path.lexists(path)]
    if missing:
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise SepnetsError(
            f"Line {lines[missing[0]]} of the manifest names a file that does not exist: "
            f"{printable(missing[0])}{more}; paths are relative to the manifest's folder. "
            f"Received: {printable(name)}"
        )


def _real_path(path: str) -> str:
    """Return the path of a picture, one for each file however it is spelled, so that repetitions are found."""
    parent, name = os.path.split(path)
    return os.path.join(_real_folder(parent), name)  # noqa: PTH118  pathlib takes ten times as long


@functools.lru_cache(maxsize=4096)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)
