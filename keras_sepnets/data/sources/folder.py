"""Picture files in folders: `folder:PATH`, with one folder per class, inside split folders or without splits."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.pictures.formats import KINDS, is_picture
from keras_sepnets.data.sources.files import SPLIT_WORDS, FileSource, LabelledFile
from keras_sepnets.data.sources.name import DatasetName

LAYOUT = "expected train/CLASS/PICTURE, optionally with validation/ and test/, or CLASS/PICTURE"


def open_folder(path: str, *, skip_bad: bool = False, pooled: bool = False) -> FileSource:
    """List the pictures of a folder.

    Args:
        path: The folder. Its split folders and class folders may be links; below them, links to folders are not
            followed.
        skip_bad: Whether to leave out files that cannot be read.
        pooled: Whether to make one split, train, of the pictures of all splits.

    Raises:
        SepnetsError: The folder does not exist, it has fewer than two classes, a split has a class that train
            lacks, a class has no pictures, or a file is not a picture.
    """
    root = Path(path).expanduser().resolve()
    name = str(DatasetName("folder", str(root)))
    if not root.is_dir():
        raise SepnetsError(f"The picture folder does not exist. Received: {printable(name)}")
    files: dict[str, list[LabelledFile]] = {}
    ignored = 0
    try:
        for split, folder in _split_folders(root).items():
            files[split] = []
            for class_folder in _sub_folders(folder):
                paths = sorted(_walk(str(class_folder)))
                pictures = [path for path in paths if is_picture(path)]
                ignored += len(paths) - len(pictures)
                if not pictures:
                    raise SepnetsError(
                        f'The {split} folder of the class "{printable(class_folder.name)}" has no pictures '
                        f"({KINDS}). Received: {printable(name)}"
                    )
                files[split] += [
                    LabelledFile(path[len(str(root)) + 1 :], path, class_folder.name) for path in pictures
                ]
    except OSError as error:
        raise SepnetsError(f"The picture folder cannot be read: {error}. Received: {printable(name)}") from error
    classes = {file.label for file in files["train"]}
    if len(classes) < 2:
        raise SepnetsError(
            f"A picture folder needs at least two class folders with pictures; {LAYOUT}. "
            f"Received: {printable(name)} with {', '.join(map(printable, classes)) or 'no class folder'}"
        )
    notes = [f"ignored: {counted(ignored, 'file')} without the suffix of a picture"] if ignored else []
    return FileSource(name, files, skip_bad=skip_bad, pooled=pooled, notes=notes)


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split; without split folders, everything is train."""
    folders: dict[str, Path] = {}
    others = []
    for folder in _sub_folders(root):
        split = SPLIT_WORDS.get(folder.name.lower())
        if split is None:
            others.append(folder.name)
        elif split in folders:
            raise SepnetsError(
                f"The picture folder has two folders for {split}: {folders[split].name} and {folder.name}; "
                f"remove one of them. Received: {printable(root)}"
            )
        else:
            folders[split] = folder
    if folders and ("train" not in folders or others):
        fault = f"also {printable(others[0])}" if others else "no train folder"
        raise SepnetsError(
            f"The picture folder has {', '.join(sorted(folders))} and {fault}; {LAYOUT}. "
            f"Received: {printable(root)}"
        )
    return folders or {"train": root}


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _walk(folder: str) -> Iterator[str]:
    """Yield every file below a folder; links to folders are not followed, so that no loop is endless."""
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            yield f"{parent}/{name}"


def _raise(error: OSError) -> None:
    raise error
