"""Labelled picture files: what folders and manifests have in common."""

import functools
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.batches.caches import memory_budget
from keras_sepnets.data.batches.stores import FileStore
from keras_sepnets.data.pictures.decoding import decode_picture
from keras_sepnets.data.pictures.files import (
    BadPictures,
    UnreadablePictureError,
    check_signatures,
    list_faults,
    read_file,
)
from keras_sepnets.data.pictures.formats import has_suffix
from keras_sepnets.data.pictures.headers import header_of
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.pictures.sixteen_bit import sample_values
from keras_sepnets.data.sources.source import Index, Inspected, Part

SPLIT_WORDS = {  # lower-case name of a folder, or value in a manifest -> split
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
NAMED = 5  # missing classes that a note names


class LabelledFile(NamedTuple):
    """A picture file with its class."""

    key: str  # its path within the data set, which is the same on every machine
    path: str
    label: str
    group: str = ""  # pictures that belong together, of one patient for example; empty: on its own


class FileSource:
    """Picture files with labels, in splits; each is decoded only when it is needed."""

    picture_size: int | None = None  # pictures may have any size

    def __init__(
        self,
        name: str,
        files: dict[str, list[LabelledFile]],
        *,
        skip_bad: bool = False,
        pooled: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        """Check the classes and the first bytes of every file; decode nothing.

        Args:
            name: Opens the same files anywhere on this machine.
            files: The files of each split, in a fixed order.
            skip_bad: Whether to leave out files that cannot be read; otherwise one is an error.
            pooled: Whether to make one split, train, of the pictures of all splits.
            notes: Remarks for the plan of a run.

        Raises:
            SepnetsError: There are fewer than two classes, a split has a class that train lacks, or a file is not
                a picture.
        """
        notes = [*notes, *_describe_groups(files, pooled=pooled)]
        if pooled:
            notes = [*notes, *_describe_pool(files)]
            files = _pool(files)
        self.name = name
        self.splits = tuple(split for split in ("train", "validation", "test") if files.get(split))
        self.class_names = tuple(sorted({file.label for file in files.get("train", ())}))
        self.bad = BadPictures(skip=skip_bad)
        self._files = files
        self._check_classes()
        self.notes = [*notes, *self._missing_classes()]
        faults = list(check_signatures(file.path for file in itertools.chain(*files.values())))
        if faults and not skip_bad:
            raise SepnetsError(f"{list_faults(faults)} sepnets train --on-bad-picture skip leaves them out.")
        self.bad |= {fault.path: fault.reason for fault in faults}
        self._check_remaining_classes()
        if faults:
            self.notes.append(f"left out: {list_faults(faults)}")

    def num_examples(self, split: str) -> int:
        """Return the number of pictures of a split; 0 if it does not exist."""
        return len(self._files.get(split, ()))

    def index(self, split: str) -> Index:
        """Return the key and label of every picture."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        files = self._files[split]
        labels = np.array([numbers[file.label] for file in files], np.int32)
        if not any(file.group for file in files):
            return Index([file.key for file in files], labels)
        # A picture without a group is one of its own; the mark keeps its key from meeting the name of a group.
        groups = np.array([file.group or f"\t{file.key}" for file in files], object)
        return Index([file.key for file in files], labels, groups)

    def paths(self, split: str) -> np.ndarray:
        """Return the path of every picture, as bytes, in the order of `index`."""
        return np.array([os.fsencode(file.path) for file in self._files[split]])

    def digest(self, part: Part) -> str:
        """Return a hash of the keys and classes of some pictures, whatever their order."""
        keys, labels, _ = self.index(part.split)
        places = np.arange(len(keys)) if part.chosen is None else np.flatnonzero(part.chosen)
        lines = sorted(f"{keys[place]}\0{self.class_names[labels[place]]}\n" for place in places)
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def open_store(self, rules: PixelRules, cache_folder: Path | None, memory: int) -> FileStore:
        """Return where decoded pictures are kept; see `Source`."""
        return FileStore(self, rules, cache_folder, memory)

    def inspect(self, parts: Mapping[str, Part], rules: PixelRules) -> Iterator[Inspected]:
        """Read and decode every picture of the part of each role once, several at a time; see `Source`."""
        files = (
            (role, os.fsdecode(path), int(label))
            for role, part in parts.items()
            for path, label in self._paths_and_labels(part)
        )
        # Reading and decoding release Python's lock; the largest pictures take 300 MB each while they are decoded.
        threads = max(1, min(os.cpu_count() or 1, memory_budget() // rules.largest_decoding))
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[Inspected]] = deque()
            for file in files:
                waiting.append(pool.submit(_inspect, rules, *file))
                if len(waiting) >= 4 * threads:  # bounds the pixels in memory
                    yield waiting.popleft().result()
            for future in waiting:
                yield future.result()

    @functools.lru_cache(maxsize=1)  # noqa: B019  a source lives as long as its run
    def deep_values(self) -> np.ndarray | None:
        """Return values of some 16-bit training pictures; see `Source`."""
        return sample_values([os.fsdecode(path) for path in self.paths("train")])

    def _paths_and_labels(self, part: Part) -> Iterator[tuple[bytes, int]]:
        keep = slice(None) if part.chosen is None else part.chosen
        return zip(self.paths(part.split)[keep], self.index(part.split).labels[keep], strict=True)

    def _check_classes(self) -> None:
        if "train" not in self.splits:
            raise SepnetsError(f"There are no training pictures. Received: {printable(self.name)}")
        if len(self.class_names) < 2:
            raise SepnetsError(
                "A classifier needs training pictures of at least two classes. "
                f"Received: {printable(self.name)} with {', '.join(map(printable, self.class_names))}"
            )
        for name in self.class_names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise SepnetsError(
                    f'The name of a class is not in UTF-8: "{printable(name)}"; rename it. '
                    f"Received: {printable(self.name)}"
                ) from None
        for split in self.splits:
            unknown = sorted({file.label for file in self._files[split]}.difference(self.class_names))
            if unknown:
                raise SepnetsError(
                    f'The {split} pictures have the class "{printable(unknown[0])}", which train does not have. '
                    f"Received: {printable(self.name)}"
                )

    def _check_remaining_classes(self) -> None:
        remaining = {file.label for file in self._files["train"] if file.path not in self.bad}
        for name in self.class_names:
            if name not in remaining:
                raise SepnetsError(
                    f'No training picture of the class "{printable(name)}" can be read; replace them or '
                    f"remove the class. Received: {printable(self.name)}"
                )

    def _missing_classes(self) -> list[str]:
        notes = []
        for split in self.splits:
            missing = sorted(set(self.class_names).difference(file.label for file in self._files[split]))
            if missing:
                more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
                named = ", ".join(map(printable, missing[:NAMED]))
                notes.append(f"no {split} picture of {named}{more}")
        return notes


def _pool(files: Mapping[str, Sequence[LabelledFile]]) -> dict[str, list[LabelledFile]]:
    return {"train": sorted(itertools.chain(*files.values()), key=lambda file: (file.label, file.key))}


def _describe_pool(files: Mapping[str, Sequence[LabelledFile]]) -> list[str]:
    splits = [split for split, found in files.items() if found]
    return [f"the pictures of {', '.join(splits)} are pooled"] if len(splits) > 1 else []


def _describe_groups(files: Mapping[str, Sequence[LabelledFile]], *, pooled: bool) -> list[str]:
    """Say how many groups there are, and whether some of them are on both sides of the given splits."""
    splits: dict[str, set[str]] = {}
    for split, found in files.items():
        for file in found:
            if file.group:
                splits.setdefault(file.group, set()).add(split)
    if not splits:
        return []
    notes = [f"{counted(len(splits), 'group')}, held out only as a whole"]
    divided = sorted(group for group, places in splits.items() if len(places) > 1)
    if divided and not pooled:
        shared = ", ".join(sorted(splits[divided[0]]))
        notes.append(
            f"{counted(len(divided), 'group')} in more than one split, such as {printable(divided[0])} in "
            f"{shared}: accuracies may be too high"
        )
    return notes


def _inspect(rules: PixelRules, role: str, path: str, label: int) -> Inspected:
    try:
        content = read_file(path)
        header = header_of(path, content, rules)
        pixels = decode_picture(path, content, header, rules)
    except UnreadablePictureError as error:
        return Inspected(role, path, label, error.reason)
    width, height = header.width, header.height
    if (width > height) != (pixels.shape[1] > pixels.shape[0]):  # its EXIF orientation turns it by 90 degrees
        width, height = height, width
    return Inspected(
        role,
        path,
        label,
        digest=hashlib.sha256(content).digest(),
        width=width,
        height=height,
        colour=header.colour,
        wrong_name=bool(Path(path).suffix) and not has_suffix(path, header.format),
        pixels=pixels,
    )
