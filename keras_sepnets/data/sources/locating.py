"""Where the pictures of a list are, though their paths may be written for another system or another folder."""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.pictures.formats import SUFFIXES, has_suffix
from keras_sepnets.data.sources.class_names import composed
from keras_sepnets.data.sources.listing import Faults
from keras_sepnets.data.sources.split_names import split_of
from keras_sepnets.data.sources.walking import list_folder

DEEPEST = 2  # levels of folders in which pictures are looked for
MOST_FOLDERS = 200
TRIED = 2000  # paths that tell whether pictures are found in some way


class Located(NamedTuple):
    """Where the pictures of a list are."""

    paths: list[str]  # in the order of the list; as written where there is no such file
    notes: list[str]


def locate_pictures(file: Path, keys: Sequence[str], faults: Faults) -> Located:
    """Find the pictures of a list.

    A path means a file relative to the list's folder. If there is none of that name, it may differ in the slashes,
    in case, in the form of Unicode, or lack the suffix of a picture. If not one of the paths is found, they may
    begin with folders of another machine, or lie in one of the folders beside the list.

    Args:
        file: The list.
        keys: The paths as they are written.
        faults: Gets pictures of the same name in several folders; the first is then taken.
    """
    folder = file.parent
    written = [os.path.join(folder, key) for key in keys]  # noqa: PTH118  fast
    missing = [place for place, path in enumerate(written) if not os.path.lexists(path)]
    if not missing:
        return Located(written, [])
    finder = _Finder()
    found = {place: path for place in missing if (path := finder.find(str(folder), _slashes(keys[place])))}
    if not found and len(missing) == len(keys):
        found = _without_start(finder, folder, keys) or _in_folders(finder, file, keys, faults)
    if not found:
        return Located(written, [])
    first = min(found)
    note = (
        f"{counted(len(found), 'path')} of the list does not exist as written: "
        if len(found) == 1
        else f"{len(found):,} paths of the list do not exist as they are written: "
    )
    note += f'"{printable(keys[first])}" is read as "{printable(os.path.relpath(found[first], folder))}"'
    return Located([found.get(place, path) for place, path in enumerate(written)], [note])


class _Finder:
    """Finds files whose names are written in another way; reads every folder once."""

    def __init__(self) -> None:
        self._names = functools.lru_cache(maxsize=4096)(_names_in)

    def find(self, folder: str, key: str) -> str | None:
        """Return the path of the one file that a relative path may mean; None if there is none, or several."""
        parent, name = os.path.split(os.path.join(folder, key))  # noqa: PTH118
        for spelling in dict.fromkeys((parent, composed(parent))):
            found = self._names(spelling).get(_folded(name), [])
            if len(found) == 1:
                return f"{spelling}/{found[0]}"
        return None


def _names_in(folder: str) -> dict[str, list[str]]:
    """Return the names in a folder by their folded form, and those of pictures also without their suffix."""
    names: dict[str, list[str]] = {}
    try:
        entries = os.listdir(folder)  # noqa: PTH208
    except (OSError, ValueError):
        return names
    for name in entries:
        names.setdefault(_folded(name), []).append(name)
        if has_suffix(name, *SUFFIXES):
            names.setdefault(_folded(os.path.splitext(name)[0]), []).append(name)  # noqa: PTH122
    return names


def _without_start(finder: _Finder, folder: Path, keys: Sequence[str]) -> dict[int, str]:
    """Find pictures whose paths begin with folders of another machine: without as many folders as need be."""
    parts = [[part for part in _slashes(key).split("/") if part] for key in keys]
    for dropped in range(1, max(map(len, parts), default=0)):
        tails = {place: "/".join(names[dropped:]) for place, names in enumerate(parts) if len(names) > dropped}
        tried = list(tails.values())[:: -(-len(tails) // TRIED)]
        if any(finder.find(str(folder), tail) for tail in tried):
            return {place: path for place, tail in tails.items() if (path := finder.find(str(folder), tail))}
    return {}


def _in_folders(finder: _Finder, file: Path, keys: Sequence[str], faults: Faults) -> dict[int, str]:
    """Find pictures in the folders beside a list: in the one that has all, or each in the only one that has it."""
    tried = [_slashes(key) for key in keys[:: -(-len(keys) // TRIED)]]
    places = {
        folder: {number: path for number, key in enumerate(keys) if (path := finder.find(folder, _slashes(key)))}
        for folder in _folders_below(file.parent)
        if any(finder.find(folder, key) for key in tried)
    }
    complete = {folder: hits for folder, hits in places.items() if len(hits) == len(keys)}
    if len(complete) > 1 and (split := split_of(file.stem)):  # train.csv is about train/, not test/
        complete = {folder: hits for folder, hits in complete.items() if split in _splits_of(folder)} or complete
    found: dict[int, str] = {}
    for hits in (complete or places).values():
        for number, path in hits.items():
            if number in found:
                faults.add(
                    f'The picture "{printable(keys[number])}" of the list may be {printable(found[number])} or '
                    f"{printable(path)}; write its folder into the list. Received: {printable(file)}"
                )
            found.setdefault(number, path)
    return found


def _splits_of(folder: str) -> set[str | None]:
    return {split_of(name) for name in Path(folder).parts[-DEEPEST:]}


def _folders_below(folder: Path) -> list[str]:
    """Return the folders below a folder, the nearest first."""
    found = level = [str(folder)]
    for _ in range(DEEPEST):
        level = [path for parent in level for path in _folders_in(parent)]
        found = [*found, *level][:MOST_FOLDERS]
    return found[1:]


def _folders_in(parent: str) -> list[str]:
    try:
        return list_folder(parent).folders
    except OSError:  # nothing to be found for this user
        return []


def _slashes(key: str) -> str:
    return re.sub(r"^[A-Za-z]:(?=[\\/])", "", key).replace("\\", "/")


def _folded(name: str) -> str:
    return composed(name).casefold()
