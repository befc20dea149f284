"""Labelled picture files: what folders and manifests have in common."""

import contextlib
import functools
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Unpack

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import did_you_mean, printable
from keras_sepnets.data.batches.caches import memory_budget
from keras_sepnets.data.batches.stores import FileStore
from keras_sepnets.data.pictures.decoding import decode_picture
from keras_sepnets.data.pictures.files import (
    BadPictures,
    UnreadablePictureError,
    check_signatures,
    list_faults,
    open_picture,
    read_file,
)
from keras_sepnets.data.pictures.formats import has_suffix
from keras_sepnets.data.pictures.headers import header_of, read_header
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.pictures.sixteen_bit import sample_values
from keras_sepnets.data.sources.class_names import describe_names
from keras_sepnets.data.sources.listing import (
    UNCLEAR,
    Faults,
    LabelledFile,
    Opening,
    describe_groups,
    describe_pool,
    pool_splits,
    with_composed_names,
)
from keras_sepnets.data.sources.source import Index, Inspected, Part

NAMED = 5  # missing classes that a note names
MEASURED = 200  # pictures whose headers tell the size of all
TYPICAL = 90  # percent of the pictures, which are at most as long as the size that is told


class FileSource:
    """Picture files with labels, in splits; each is decoded only when it is needed."""

    def __init__(
        self,
        name: str,
        files: dict[str, list[LabelledFile]],
        *,
        notes: Sequence[str] = (),
        **opening: Unpack[Opening],
    ) -> None:
        """Check the classes and the first bytes of every file; decode nothing.

        Args:
            name: Opens the same files anywhere on this machine.
            files: The files of each split, in a fixed order.
            notes: Remarks for the plan of a run.
            opening: See `Opening`; its faults may have those of the listing already.

        Raises:
            SepnetsError: There are no files, or a file is not a picture; for training, there are fewer than two
                classes, or a split has a class that train lacks.
        """
        pooled, skip_bad = opening.get("pooled", False), opening.get("skip_bad", False)
        to_train = "known" not in opening
        if not opening.get("as_written"):
            notes = [*notes, *describe_names({file.label for found in files.values() for file in found})]
            files = {split: with_composed_names(found) for split, found in files.items()}
        notes = [*notes, *describe_groups(files, pooled=pooled)]
        if pooled:
            notes = [*notes, *describe_pool(files)]
            files = pool_splits(files)
        self.name = name
        self.splits = tuple(split for split in ("train", "validation", "test") if files.get(split))
        labelled = files.get("train", ()) if to_train else itertools.chain(*files.values())
        self.class_names = tuple(sorted({file.label for file in labelled}))
        self.bad = BadPictures(skip=skip_bad)
        self.faults = opening.get("faults", Faults())
        self._files = files
        self._check_classes(to_train=to_train)
        self.notes = [*notes, *self._missing_classes()]
        unreadable = list(check_signatures(file.path for file in itertools.chain(*files.values())))
        if unreadable and not skip_bad:
            raise SepnetsError(
                f"{list_faults(unreadable)} --on-bad-picture skip (--set data.on_bad_picture=skip) leaves them "
                "out."
            )
        self.bad |= {fault.path: fault.reason for fault in unreadable}
        if to_train:
            self._check_remaining_classes()
        if unreadable:
            self.notes.append(f"left out: {list_faults(unreadable)}")

    @functools.cached_property
    def picture_size(self) -> int | None:
        """The longer side in px that nine of ten training pictures do not exceed; None if none can be read."""
        paths = [file.path for file in self._files.get("train", ()) if file.path not in self.bad]
        sides = []
        for path in paths[:: -(-len(paths) // MEASURED) or 1]:
            with contextlib.suppress(UnreadablePictureError), open_picture(path) as file:
                header = read_header(path, file, PixelRules(shortest=0))
                sides.append(max(header.width, header.height))
        return int(np.percentile(sides, TYPICAL, method="higher")) if sides else None

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
        return np.array([os.fsencode(file.path) for file in self._files.get(split, ())])

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
    def deep_values(self, rules: PixelRules) -> np.ndarray | None:
        """Return values of some 16-bit training pictures; see `Source`."""
        return sample_values([os.fsdecode(path) for path in self.paths("train")], rules)

    def _paths_and_labels(self, part: Part) -> Iterator[tuple[bytes, int]]:
        keep = slice(None) if part.chosen is None else part.chosen
        return zip(self.paths(part.split)[keep], self.index(part.split).labels[keep], strict=True)

    def _check_classes(self, *, to_train: bool) -> None:
        received = f"Received: {printable(self.name)}"
        if not self.splits or (to_train and "train" not in self.splits):
            self.faults.add(f"There are no {'training ' if to_train else ''}pictures. {received}")
        elif to_train and len(self.class_names) < 2 and self.class_names != (UNCLEAR,):
            names = ", ".join(map(printable, self.class_names))
            self.faults.add(
                f"A classifier needs training pictures of at least two classes. {received} with {names}"
            )
        for name in self.class_names:
            if not _is_utf8(name):
                self.faults.add(f'The name of a class is not in UTF-8: "{printable(name)}"; rename it. {received}')
        unknown = set()
        for split in self.splits:
            for label in sorted({file.label for file in self._files[split]}.difference(self.class_names)):
                unknown.add(label)
                near = did_you_mean(label, self.class_names)
                if "train" in self.splits:
                    self.faults.add(
                        f'The {split} pictures have the class "{printable(label)}", which train does not '
                        f"have.{printable(near)} {received}"
                    )
        self.class_names = tuple(sorted({*self.class_names, *unknown}))  # of a check, which goes on

    def _check_remaining_classes(self) -> None:
        files = self._files.get("train", ())
        readable = {file.label for file in files if file.path not in self.bad}
        for name in self.class_names:
            unreadable = [file.path for file in files if file.label == name] if name not in readable else []
            if unreadable:
                self.faults.add(
                    f'No training picture of the class "{printable(name)}" can be read, such as '
                    f'"{printable(unreadable[0])}", which {self.bad[unreadable[0]]}; replace them or remove the '
                    f"class. Received: {printable(self.name)}"
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


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


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
