"""The protocol of a source of labelled pictures; its users need not know where the pictures come from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from keras_sepnets.data.pictures.files import BadPictures
from keras_sepnets.data.pictures.rules import PixelRules

if TYPE_CHECKING:
    from keras_sepnets.data.batches.stores import Store


class Index(NamedTuple):
    """Every example of a split."""

    keys: list[str]  # identify the examples on every machine
    labels: np.ndarray  # int32
    groups: np.ndarray | None = None  # str; examples of one group are never held out apart; None: no groups


class Part(NamedTuple):
    """Some or all examples of a split."""

    split: str
    chosen: np.ndarray | None = None  # bool, in the order of the index; None for all


class Inspected(NamedTuple):
    """An example as it is stored, with its pixels."""

    role: str  # the key of its part
    name: str  # its path, or its TFDS id
    label: int
    fault: str = ""  # why it cannot be read; the fields below are then empty
    digest: bytes = b""  # SHA-256 of the encoded picture
    width: int = 0  # px, upright
    height: int = 0
    colour: str = ""  # RGB, grey, palette, transparent, 16-bit or CMYK
    wrong_name: bool = False  # a file whose suffix belongs to another format
    contrast: float = 255.0  # standard deviation of the pixels that a network sees, of 255
    pixels: np.ndarray | None = None  # uint8 (height, width, 3), reduced if much larger than needed


class Source(Protocol):
    """Labelled pictures in splits.

    A split is what the source has: a folder, the rows with one value in a column, a TFDS split. A role is what a
    run uses examples for: train, validation or test. `data.batches.roles` assigns roles to examples.
    """

    name: str  # opens the same data anywhere on this machine: with the version, or the absolute path
    class_names: tuple[str, ...]
    notes: list[str]  # remarks for the plan of a run
    bad: BadPictures  # unreadable files found so far; always empty for TFDS, which verified its pictures

    @property
    def faults(self) -> Sequence[str]:
        """What is wrong with picture files that were opened to be checked, in sentences."""

    @property
    def picture_size(self) -> int | None:
        """The longer side in px of all pictures, or of typical picture files; None where sizes are unknown."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have labels."""

    def num_examples(self, split: str) -> int:
        """Return the number of examples of a split; 0 if it does not exist."""

    def index(self, split: str) -> Index:
        """Return the key and label of every example, in a fixed order."""

    def paths(self, split: str) -> np.ndarray | None:
        """Return the path of every example, as bytes, in the order of `index`; None if they are not files."""

    def digest(self, part: Part) -> str | None:
        """Return a hash of the keys and classes of some examples; None if the source never changes."""

    def open_store(self, rules: PixelRules, cache_folder: Path | None, memory: int) -> "Store":
        """Return where decoded pictures are kept.

        Args:
            rules: What decides about the pixels besides the files.
            cache_folder: Folder for decoded pictures; None for memory, if they fit.
            memory: Bytes that decoded pictures may take.
        """

    def inspect(self, parts: Mapping[str, Part], rules: PixelRules) -> Iterator[Inspected]:
        """Read and decode every example of the part of each role once.

        Args:
            parts: By role; together they cover their splits without overlap.
            rules: What decides about the pixels besides the files.
        """

    def deep_values(self, rules: PixelRules, /) -> np.ndarray | None:
        """Return values of some 16-bit training pictures, float32 (n,); None if there are no such pictures.

        Args:
            rules: Have the limit of the size of a picture.
        """
