"""What a walk through folders sees: one rule for training, checks and prediction."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.pictures.formats import is_picture

# What systems and archives leave behind, in lower case.
LITTER = (
    "#recycle",
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "ehthumbs.db",
    "lost+found",
    "system volume information",
    "thumbs.db",
)


class Listing(NamedTuple):
    """What a folder holds; names that begin with a dot and litter are left alone."""

    folders: list[str]  # paths, in the order of their names
    pictures: list[str]  # paths of the files that are named, or without a suffix begin, like pictures
    others: list[str]  # paths of other files
    left_alone: list[str]  # paths of hidden files and folders, and of litter
    links: list[str]  # paths of links that are followed, to folders and to pictures
    loops: list[str]  # links to this folder, or to one above it


def list_folder(folder: str) -> Listing:
    """Return what a folder holds; links count as what they lead to.

    Raises:
        OSError: The folder cannot be read.
    """
    listing = Listing([], [], [], [], [], [])
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            is_link = entry.is_symlink()
            is_folder = os.path.isdir(entry.path) if is_link else entry.is_dir()  # noqa: PTH112  entries raise
            if entry.name.startswith(".") or entry.name.lower() in LITTER:
                listing.left_alone.append(entry.path)
            elif is_folder and is_link and _leads_back(entry.path, [os.path.realpath(folder)]):
                listing.loops.append(entry.path)
            elif is_folder or is_picture(entry.path):
                (listing.folders if is_folder else listing.pictures).append(entry.path)
                listing.links.extend([entry.path] if is_link else [])
            else:
                listing.others.append(entry.path)
    return listing


class Walk:
    """Walks through folders, which remember what was not taken.

    Hidden files and folders, and litter, are left alone. Links are followed, but not back to a folder above, and
    below one folder every folder is entered once.
    """

    def __init__(self, root: str) -> None:
        """Start with nothing seen; paths are named from `root` on."""
        self.links: list[str] = []  # those that were followed
        self._root = root
        self._others: list[str] = []
        self._left_alone: list[str] = []
        self._loops: list[str] = []
        self._repeated: list[str] = []

    def pictures(self, folder: str) -> Iterator[str]:
        """Yield the path of every picture below a folder, in no particular order.

        Raises:
            OSError: A folder cannot be read.
        """
        real = os.path.realpath(folder)
        entered = {real}
        waiting: list[tuple[str, tuple[str, ...]]] = [(folder, (real,))]  # each with the real folders above it
        while waiting:
            folder, above = waiting.pop()
            listing = self.look_into(folder)
            yield from listing.pictures
            links = set(listing.links)
            for path in sorted(listing.folders, key=links.__contains__):  # what is no link comes first
                name = os.path.basename(path)  # noqa: PTH119  fast
                real = os.path.realpath(path) if path in links else f"{above[-1]}/{name}"
                if path in links and _leads_back(path, above):
                    self._loops.append(path)
                elif real in entered:
                    self._repeated.append(path)
                else:
                    entered.add(real)
                    waiting.append((path, (*above, real)))

    def look_into(self, folder: str) -> Listing:
        """Return what a folder holds, and remember what is not taken."""
        listing = list_folder(folder)
        self._others += listing.others
        self._left_alone += listing.left_alone
        self._loops += listing.loops
        self.links += listing.links
        return listing

    def notes(self) -> list[str]:
        """Return in words what was not taken, and which links were followed."""
        found = (
            ("left alone: {}", "hidden file or folder", "hidden files and folders", self._left_alone),
            ("followed: {}", "link", "links", self.links),
            ("not followed: {} back to a folder above", "link", "links", self._loops),
            ("entered once: {} with several links", "folder", "folders", self._repeated),
            ("ignored: {} without the suffix of a picture", "file", "files", self._others),
        )
        return [
            f"{form.format(counted(len(paths), singular, plural))}, such as {self._name(min(paths))}"
            for form, singular, plural, paths in found
            if paths
        ]

    def _name(self, path: str) -> str:
        return printable(os.path.relpath(path, self._root))


def _leads_back(link: str, folders: "list[str] | tuple[str, ...]") -> bool:
    """Return whether a link leads to one of these real folders, or to one above it."""
    target = os.path.join(os.path.realpath(link), "")  # noqa: PTH118  pathlib drops the slash
    return any(f"{folder}/".startswith(target) for folder in folders)
