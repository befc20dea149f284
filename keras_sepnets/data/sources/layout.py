"""Which folders are the classes of which split: CLASS, SPLIT/CLASS or CLASS/SPLIT, below folders of archives."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.sources.class_names import composed
from keras_sepnets.data.sources.listing import Faults
from keras_sepnets.data.sources.split_names import UNLABELLED, understand_splits
from keras_sepnets.data.sources.walking import Listing, Walk, list_folder

LAYOUT = "expected train/CLASS/PICTURE, optionally with validation/ and test/, or CLASS/PICTURE"
PLAIN = ("train", "training", "val", "valid", "validation", "test", "testing")  # need no explanation
DEEPEST = 5  # folders in which an archive may lie, one in the other
DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}")  # a year, perhaps with month and day


class ClassFolder(NamedTuple):
    """A folder that holds pictures of one class and one split."""

    split: str
    label: str
    path: str


class Layout(NamedTuple):
    """What the folders of a data set mean."""

    classes: list[ClassFolder]
    notes: list[str]


def understand_layout(root: str, walk: Walk, faults: Faults, *, known: Collection[str] | None = None) -> Layout:
    """Find the class folders of a picture folder.

    Folders whose names mean splits, in any of the forms that `understand_splits` knows, are never classes. Without
    such folders, all class folders are of train, unless each has split folders inside.

    Args:
        root: The picture folder.
        walk: Remembers hidden folders, litter and links.
        faults: Gets what makes the folders unclear: two of them mean the same split, train is missing, or others
            lie beside the splits.
        known: Names of classes, and train may be missing; None for pictures to train on.

    Raises:
        OSError: A folder cannot be read.
    """
    top = _unwrap(root, _composed(known))
    inside = walk.look_into(top)
    splits = _find_splits(inside.folders)
    notes = [*_describe_unwrapped(root, top, splits), *_describe_outside(root, [inside])]
    if splits:
        found = _classes_in_splits(top, inside.folders, splits, walk, faults, known)
    else:
        found = _splits_in_classes(root, inside.folders, faults) or Layout(
            [ClassFolder("train", Path(path).name, path) for path in inside.folders], []
        )
    _check_classes(root, {folder.label for folder in found.classes}, faults)
    return Layout(found.classes, notes + found.notes)


def _check_classes(root: str, labels: Collection[str], faults: Faults) -> None:
    """Refuse classes with names of splits, as folders of splits inside a split would be."""
    words = {name: word for name, word in understand_splits(labels).items() if word != UNLABELLED}
    if len(set(words.values())) > 1:
        names = printable(", ".join(sorted(words)))
        faults.add(
            f"Folders with the names of splits are where classes should be: {names}; {LAYOUT}. "
            f"Received: {printable(root)}"
        )


def has_pictures(folder: str) -> bool:
    """Return whether there is a picture below a folder."""
    return any(True for _ in Walk(folder).pictures(folder))


def _unwrap(folder: str, classes: Collection[str] = ()) -> str:
    """Return the folder inside folders that hold nothing but each other: the content of an unpacked archive.

    It is not sought inside what is a class: a folder with the name of a known one, or with pictures of its own, or
    whose folders are dates.
    """
    for _ in range(DEEPEST):
        inside = list_folder(folder)
        if len(inside.folders) != 1 or inside.pictures or composed(Path(inside.folders[0]).name) in classes:
            break
        (inner,) = inside.folders
        words, content = _words(inner), list_folder(inner)
        is_double = Path(inner).name == Path(folder).name or (words and words == _words(folder))
        is_class = content.pictures or all(DATE.fullmatch(Path(path).name) for path in content.folders)
        if not is_double and (words or (is_class and not _find_splits(content.folders))):
            break
        folder = inner
    return folder


def _describe_unwrapped(root: str, top: str, splits: Collection[str]) -> list[str]:
    """Say where the pictures are, and plainly what that means where the classes are only presumed there."""
    within = Path(top).relative_to(root).parts
    if splits or set(within) <= {Path(root).name}:
        return [f"the pictures are in {_name(root, top)}"] if within else []
    return [
        f"the classes are the folders in {_name(root, top)}, as nothing lies beside it; if "
        f'"{printable(within[-1])}" is itself a class, put the other classes beside it'
    ]


def _composed(names: Collection[str] | None) -> set[str]:
    return {composed(name) for name in names or ()}


def _words(folder: str) -> list[str]:
    """Return the split that a folder's name means, if it means one."""
    return list(understand_splits([Path(folder).name]).values())


def _find_splits(folders: list[str]) -> dict[str, str]:
    """Return the split of each folder whose name means one; nothing if the folders are classes.

    A name with other words in it, such as `seg_train`, counts only beside plain ones or if all names are like it:
    `bullet_train` may be a class.
    """
    names = {Path(path).name: path for path in folders}
    strictly, loosely = understand_splits(names), understand_splits(names, loosely=True)
    if set(strictly.values()) <= {UNLABELLED}:
        classes = [path for name, path in names.items() if name not in loosely and has_pictures(path)]
        if classes or len(set(loosely.values())) < 2:
            return {}
    return {names[name]: split for name, split in loosely.items()}


def _classes_in_splits(
    top: str,
    folders: list[str],
    splits: dict[str, str],
    walk: Walk,
    faults: Faults,
    known: Collection[str] | None,
) -> Layout:
    notes, understood = [], []
    found: list[tuple[str, str]] = []  # split and folder
    classes = _composed(known)
    for path, split in sorted(splits.items(), key=lambda item: item[1] != "train"):
        inner = _unwrap(path, classes)
        if split == UNLABELLED or (not list_folder(inner).folders and split != "train"):
            notes.append(_describe_unlabelled(top, inner))
            continue
        if twin := dict(found).get(split):
            faults.add(
                f"The picture folder has two folders for {split}: {_name(top, twin)} and {_name(top, inner)}; "
                f"join them, or move one away. Received: {printable(top)}"
            )
        found.append((split, inner))
        classes |= {composed(Path(inside).name) for inside in list_folder(inner).folders}
        if inner != path or Path(path).name.lower() not in PLAIN:
            is_double = set(Path(inner).relative_to(path).parts) <= {Path(path).name}
            classes_inside = "" if is_double else " (its folders are the classes)"
            understood.append(f"{_name(top, inner)} is {split}{classes_inside}")
    rest = [path for path in folders if path not in splits]
    notes += _describe_rest(top, rest, dict(found), faults, to_train=known is None)
    if understood:
        notes.insert(0, f"understood: {', '.join(understood)}")
    listings = [(split, walk.look_into(folder)) for split, folder in found]
    notes += _describe_outside(top, [listing for _, listing in listings])
    labelled = []
    for split, listing in listings:
        if split != "train" and len(listing.folders) == 1 and _words(listing.folders[0]):  # test/unknown/PICTURE
            notes.append(_describe_unlabelled(top, listing.folders[0]))
        else:
            labelled += [ClassFolder(split, Path(path).name, path) for path in listing.folders]
    return Layout(labelled, notes)


def _describe_rest(
    top: str, rest: list[str], found: Collection[str], faults: Faults, *, to_train: bool
) -> list[str]:
    """Say which folders beside the splits are not used; refuse those that may be classes."""
    notes, others = [], []
    for path in rest:
        if not has_pictures(path):
            notes.append(f"ignored: {_name(top, path)}, which has no pictures")
        elif Path(path).name == Path(top).name and "train" in _find_splits(list_folder(path).folders).values():
            notes.append(f"ignored: {_name(top, path)}, which has split folders of its own, like a copy of all")
        else:
            others.append(path)
    if others or (to_train and "train" not in found):
        fault = f"also {_name(top, others[0])}" if others else "no train folder"
        faults.add(
            f"The picture folder has {', '.join(sorted(found)) or 'split folders'} and {fault}; {LAYOUT}. Move "
            "what does not belong there, and rename a class that has the name of a split. "
            f"Received: {printable(top)}"
        )
    return notes


def _splits_in_classes(root: str, folders: list[str], faults: Faults) -> Layout | None:
    """Return the layout of CLASS/SPLIT/PICTURE; None if the class folders have no splits inside."""
    classes: list[ClassFolder] = []
    without = []
    for folder in folders:
        inside = list_folder(folder)
        words = understand_splits(Path(path).name for path in inside.folders)
        if len(set(words.values())) < 2:
            without.append(folder)
            continue
        is_clear = len(inside.folders) == len(words) == len(set(words.values())) and not inside.pictures
        if not is_clear or any(list_folder(path).folders for path in inside.folders):
            faults.add(
                f"The folder {_name(root, folder)} has split folders inside, but it may be more than one class; "
                f"{LAYOUT}. Received: {printable(root)}"
            )
            return None
        label = Path(folder).name
        classes += [ClassFolder(words[Path(path).name], label, path) for path in inside.folders]
    if not classes:
        return None
    if without:
        faults.add(
            f"Some class folders have split folders inside, but {_name(root, without[0])} has not; {LAYOUT}. "
            f"Received: {printable(root)}"
        )
        return None
    splits = sorted({folder.split for folder in classes} - {UNLABELLED})
    notes = [f"understood: each class folder holds its own {', '.join(splits)}"]
    return Layout([folder for folder in classes if folder.split != UNLABELLED], notes)


def _describe_unlabelled(top: str, folder: str) -> str:
    count = sum(1 for _ in Walk(folder).pictures(folder))
    if not count:
        return f"ignored: {_name(top, folder)}, which has no pictures"
    return (
        f"not used: {counted(count, 'picture')} in {_name(top, folder)}, which has no class folders; sepnets "
        "predict classifies them"
    )


def _describe_outside(root: str, listings: Iterable[Listing]) -> list[str]:
    """Say how many pictures lie beside folders instead of in a class folder."""
    outside = [path for listing in listings for path in listing.pictures if listing.folders]
    if not outside:
        return []
    return [f"ignored: {counted(len(outside), 'picture')} outside the class folders: {_name(root, outside[0])}"]


def _name(top: str, path: str) -> str:
    return printable(Path(path).relative_to(top))
