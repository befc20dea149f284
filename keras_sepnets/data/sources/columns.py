"""Which columns of a list of pictures are the path, the label, the split and the group."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from keras_sepnets.base.text import printable
from keras_sepnets.data.pictures.formats import SUFFIXES, has_suffix
from keras_sepnets.data.sources.class_names import composed
from keras_sepnets.data.sources.listing import Faults
from keras_sepnets.data.sources.split_names import FLAGS, NO, UNLABELLED, YES, understand_splits
from keras_sepnets.data.sources.table import Row, Table
from keras_sepnets.settings.schema import DataConfig

# Names of columns, without signs and in lower case; an earlier line counts before a later one.
PATHS = (
    "path paths file files filename filenames filepath filepaths",
    "image images img picture photo imagepath imagepaths imgpath picturepath imagefile imagename imgname "
    "imageindex imagefilename imagefilepath relativepath fullpath",
)
IDS = "id imageid imgid pictureid photoid uuid key name"  # paths if no other column has pictures
LABELS = (
    "label labels",
    "class classes classname classnames category categories target targets species breed emotion diagnosis tag "
    "categoryname labelname y dx",
    "classid classindex classidx labelid labelindex categoryid targetid",
)
SPLITS = ("split", "subset", "partition", "dataset", "set", "phase", "usage", "fold")
NAMED = 20  # columns that an error names
LOOKED_AT = 1000  # rows, to see whether a column has paths


class Columns(NamedTuple):
    """Names of columns; None for a column that there is not, or that is yet to be found."""

    path: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


def columns_of(config: DataConfig) -> Columns:
    """Return the columns that the settings of a run name."""
    return Columns(config.path_column, config.label_column)


def find_columns(table: Table, given: Columns, name: str, faults: Faults) -> tuple[Columns, list[str]]:
    """Return the columns of a list, and a remark if their names are not path, label, split and group.

    Args:
        table: The list.
        given: The columns that the user names; the others are recognised by their names. If a single column is
            left for the label, its name does not matter.
        name: Names the list in errors.
        faults: Gets the label if it is not clear or there is no column of the given name; it is then None.

    Raises:
        SepnetsError: The same of the path.
    """

    def choose(asked: str | None, found: Sequence[str], what: str, faults: Faults) -> str | None:
        if asked is not None:
            found = _called(table, [asked])
        if len(found) == 1:
            return found[0]
        fault = (
            f"has no column {_quoted(asked)}"
            if asked is not None
            else f"may have the {what} in {' or '.join(map(_quoted, found[:NAMED]))}"
            if found
            else f"has no column {what}, nor one that is clearly meant"
        )
        more = f" and {len(table.columns) - NAMED} more" if len(table.columns) > NAMED else ""
        columns = f"{', '.join(map(_quoted, table.columns[:NAMED])) or 'none'}{more}"
        faults.add(
            f"The manifest {fault}; name the columns: --set data.path_column=NAME --set data.label_column=NAME. "
            f"Its columns are {columns}. Received: {printable(name)}"
        )
        return None

    split, group = _find_split(table), next(iter(_called(table, ["group"])), None)
    path = choose(given.path, _find_paths(table), "path", Faults())
    rest = [name for name in table.columns if name not in ("", path, split, group)]
    labels = _best(rest, LABELS) or [name for name in rest if _plain(name) not in IDS.split()]
    columns = Columns(path, choose(given.label, labels, "label", faults), split, group)
    flagged = flagged_split(split)
    unusual = [
        f"the {what} from the column {_quoted(column)}"
        + (f" ({flagged} or train)" if what == "split" and flagged else "")
        for what, column in columns._asdict().items()
        if column is not None and column != what
    ]
    return columns, [f"understood: {', '.join(unusual)}"] if unusual else []


def _find_paths(table: Table) -> list[str]:
    """Return the columns that may be the path: by their names, otherwise by pictures in them, otherwise ids."""
    found = _best(table.columns, PATHS)
    if len(found) == 1:
        return found
    pictures = [name for name in found or table.columns if _has_pictures(table.rows, name)]
    return pictures or found or _best(table.columns, [IDS])


def _find_split(table: Table) -> str | None:
    """Return the column called split, or the only other one with the name and the values of splits or flags."""
    found = _called(table, SPLITS[:1])
    found = found or [name for name in _called(table, SPLITS[1:]) if _has_splits(table.rows, name)]
    found = found or [name for name in _called(table, tuple(FLAGS)) if _has_flags(table.rows, name)]
    return found[0] if len(found) == 1 else None


def flagged_split(column: str | None) -> str | None:
    """Return the split of which a column such as is_valid says yes or no; None for another column."""
    return FLAGS.get(_plain(column or ""))


def _has_flags(rows: Sequence[Row], column: str) -> bool:
    values = {str(row.values.get(column)).strip().casefold() for row in rows} - {"", "none"}
    return bool(values) and values <= {*YES, *NO}


def _has_splits(rows: Sequence[Row], column: str) -> bool:
    values = {str(value).strip() for row in rows if (value := row.values.get(column))} - {""}
    splits = understand_splits(values)
    return bool(values) and splits.keys() == values and UNLABELLED not in splits.values()


def _has_pictures(rows: Sequence[Row], column: str) -> bool:
    values = [row.values.get(column) for row in rows[:LOOKED_AT]]
    return any(isinstance(value, str) and has_suffix(value.strip(), *SUFFIXES) for value in values)


def _best(columns: Sequence[str], ranks: Sequence[str]) -> list[str]:
    """Return the columns with the names of the first line that has any; the first name alone, if it is there."""
    first = ranks[0].split()[0]
    if first in columns:
        return [first]
    for names in ranks:
        if found := [name for name in columns if _plain(name) in names.split()]:
            return found
    return []


def _called(table: Table, names: Sequence[str]) -> list[str]:
    """Return the columns with these names, exactly or, if there is none, whatever their case and signs."""
    plain = [_plain(name) for name in names]
    return [name for name in table.columns if name in names] or [
        name for name in table.columns if _plain(name) in plain
    ]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", composed(name).casefold())


def _quoted(name: str) -> str:
    return f'"{printable(name)}"'
