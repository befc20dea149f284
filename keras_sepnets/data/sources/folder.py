"""Picture files in folders: `folder:PATH`, with one folder per class; `layout` says which."""

import os
from pathlib import Path
from typing import Unpack

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import whole_path
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.pictures.formats import KINDS
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.layout import LAYOUT, ClassFolder, understand_layout
from keras_sepnets.data.sources.listing import Faults, LabelledFile, Opening
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.walking import Walk, list_folder

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson")  # suffixes of what may be a list of pictures


def open_folder(path: str, **opening: Unpack[Opening]) -> FileSource:
    """List the pictures of a folder.

    Args:
        path: The folder; `layout` says which of its folders are classes and splits, `walking` what is in them.
        opening: See `Opening`.

    Raises:
        SepnetsError: The folder does not exist or has no class folders with pictures, its folders may be
            understood in several ways, a class has no pictures, or `FileSource` refuses the files.
    """
    root = whole_path(path)
    name = str(DatasetName("folder", str(root)))
    if not root.is_dir():
        hint = f'; did you mean "manifest:{printable(root)}"?' if root.is_file() else "."
        raise SepnetsError(f"The picture folder does not exist{hint} Received: {printable(name)}")
    faults, known = opening.setdefault("faults", Faults()), opening.get("known")
    walk = Walk(str(root))
    files: dict[str, list[LabelledFile]] = {}
    try:
        classes, notes = understand_layout(str(root), walk, faults, known=known)
        for folder in classes:
            pictures = _list_pictures(str(root), folder, walk)
            if not pictures and known is not None:
                notes.append(f'no {folder.split} picture of "{printable(folder.label)}": its folder is empty')
            elif not pictures:
                faults.add(
                    f'The {folder.split} folder of the class "{printable(folder.label)}" has no pictures '
                    f"({KINDS}); add some, or remove it. Received: {printable(name)}"
                )
            files.setdefault(folder.split, []).extend(pictures)
    except OSError as error:
        raise SepnetsError(f"The picture folder cannot be read: {error}. Received: {printable(name)}") from error
    labels = sorted({file.label for file in files.get("train", ())})
    if not any(files.values()) or (len(labels) < 2 and known is None and not faults.collect):
        number = "at least two class folders" if known is None else "class folders"
        suggested = _suggest_classes(classes) if any(files.values()) else _suggest_list(root)
        raise SepnetsError(
            f"A picture folder needs {number} with pictures; {LAYOUT}{suggested}. "
            f"Received: {printable(name)} with {', '.join(map(printable, labels)) or 'no class folder'}"
        )
    notes += walk.notes()
    if walk.links:
        notes += _leave_out_repetitions(files)
    return FileSource(name, files, notes=notes, **opening)


def _list_pictures(root: str, folder: ClassFolder, walk: Walk) -> list[LabelledFile]:
    pictures = sorted(walk.pictures(folder.path))
    return [LabelledFile(path[len(root.rstrip("/")) + 1 :], path, folder.label) for path in pictures]


def _suggest_classes(classes: list[ClassFolder]) -> str:
    """Name the folder of a single class if the folders in it may be the classes."""
    label, path = classes[0].label, classes[0].path
    if len(classes) > 1 or not list_folder(path).folders:
        return ""
    return f'; or, if the folders in "{printable(label)}" are the classes, name it: "folder:{printable(path)}"'


def _suggest_list(root: Path) -> str:
    """Name a list of pictures that lies in a folder without class folders."""
    lists = sorted(path for path in root.iterdir() if path.suffix.lower() in LISTS)
    return f'; or use the list that lies there: "manifest:{printable(lists[0])}"' if lists else ""


def _leave_out_repetitions(files: dict[str, list[LabelledFile]]) -> list[str]:
    """Leave out what links bring into a class of a split again, and say what they bring into another one."""
    seen: dict[tuple[int, int], tuple[str, LabelledFile]] = {}
    repeated, shared = [], []
    for split, found in files.items():
        kept = []
        for file in found:
            first_split, first = seen.setdefault(_inode(file.path), (split, file))
            if first is file or os.path.realpath(first.path) != os.path.realpath(file.path):
                kept.append(file)
            elif (first_split, first.label) == (split, file.label):
                repeated.append(file)
            else:
                kept.append(file)
                shared.append(f"{printable(first.key)} = {printable(file.key)}")
        files[split] = kept
    notes = []
    if repeated:
        notes.append(f"taken once: {counted(len(repeated), 'picture')} that links bring into a class twice")
    if shared:
        notes.append(
            f"{counted(len(shared), 'picture')} in more than one class or split, because of links, such as "
            f"{shared[0]}: accuracies cannot be trusted"
        )
    return notes


def _inode(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  fast
    except OSError:  # named where its first bytes are read
        return (-1, hash(path))
    return status.st_dev, status.st_ino
