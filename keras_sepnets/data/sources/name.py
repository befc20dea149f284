"""The name of a data set: `folder:PATH`, `manifest:FILE` or a TFDS name. Only this module takes it apart."""

import contextlib
import re
from pathlib import Path
from typing import Literal, NamedTuple

from keras_sepnets.base.files import whole_path


def kind_of_path(path: str) -> tuple[str, str] | None:
    """Return the kind of a data set that lies at a path, and what is there in words; None if nothing is."""
    # Not a name that a file system could hold; no such user's home.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        place = Path(path).expanduser()
        if place.is_dir():
            return "folder", "folder"
        if place.is_file():
            return "manifest", "file"
    return None


class DatasetName(NamedTuple):
    """A name in its two parts."""

    kind: Literal["folder", "manifest", "tfds"]
    place: str  # a path, or the TFDS name

    @classmethod
    def parse(cls, name: str) -> "DatasetName":
        """Take a name apart; anything without the prefix `folder:` or `manifest:` is a TFDS name."""
        kind, colon, place = name.partition(":")
        if colon and kind == "folder":
            return cls("folder", place)
        if colon and kind == "manifest":
            return cls("manifest", place)
        return cls("tfds", name)

    @property
    def is_own_pictures(self) -> bool:
        """Whether the data set consists of the user's picture files rather than of TFDS records."""
        return self.kind != "tfds"

    @property
    def slug(self) -> str:
        """The name in characters that suit a folder's name, without a manifest's suffix or a TFDS version."""
        if self.is_own_pictures:
            path = Path(self.place)
            name = path.name if self.kind == "folder" else path.stem
        else:
            name = self.place.partition(":")[0]
        return re.sub(r"[^\w.]+", "-", name).strip("-.") or "pictures"

    @property
    def short(self) -> str:
        """The name for tables and titles, without the folders that lead to a path."""
        return f"{self.kind}:{Path(self.place).name}" if self.is_own_pictures else self.place

    def resolve(self) -> "DatasetName":
        """Return the name with an absolute path, if it has a path."""
        if not self.is_own_pictures:
            return self
        return self._replace(place=str(whole_path(self.place)))

    def __str__(self) -> str:
        """Return the name in one piece."""
        return f"{self.kind}:{self.place}" if self.is_own_pictures else self.place
