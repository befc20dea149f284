"""Listed picture files with their classes: names, groups and splits, and what is wrong with them."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypedDict

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.sources.class_names import composed

UNCLEAR = "(unclear)"  # the class of all pictures of a list whose labels are not clear, in a check


class LabelledFile(NamedTuple):
    """A picture file with its class."""

    key: str  # its path within the data set, which is the same on every machine
    path: str
    label: str
    group: str = ""  # pictures that belong together, of one patient for example; empty: on its own


class Faults(list[str]):
    """What is wrong with a data set, in sentences: the first one is raised, unless all are collected."""

    def __init__(self, *, collect: bool = False) -> None:
        """Start empty; `collect` opens as much as possible of a data set that cannot be used, to check it."""
        super().__init__()
        self.collect = collect

    def add(self, sentence: str) -> None:
        """Remember a fault; raise SepnetsError unless faults are collected."""
        if not self.collect:
            raise SepnetsError(sentence)
        self.append(sentence)


class Opening(TypedDict, total=False):
    """How picture files are opened; by default, to train on them, and up to the first fault."""

    skip_bad: bool
    """Whether to leave out files that cannot be read; otherwise one is an error."""
    pooled: bool
    """Whether to make one split, train, of the pictures of all splits."""
    as_written: bool
    """Whether the names of classes and groups stay as they are written; otherwise in composed Unicode."""
    known: Collection[str]
    """Class names of a run that is only evaluated on the files: no need of a train split or of two classes."""
    faults: Faults
    """Collects what is wrong, where as much as possible shall be opened."""


def with_composed_names(files: Sequence[LabelledFile]) -> list[LabelledFile]:
    """Return files with the names of classes and groups in one form of Unicode."""
    spellings = {name: composed(name) for file in files for name in (file.label, file.group)}
    if all(name == spelling for name, spelling in spellings.items()):
        return list(files)
    return [file._replace(label=spellings[file.label], group=spellings[file.group]) for file in files]


def pool_splits(files: Mapping[str, Sequence[LabelledFile]]) -> dict[str, list[LabelledFile]]:
    """Return the files of all splits as those of train."""
    return {"train": sorted(itertools.chain(*files.values()), key=lambda file: (file.label, file.key))}


def describe_pool(files: Mapping[str, Sequence[LabelledFile]]) -> list[str]:
    """Say which splits are pooled, if there are several."""
    splits = [split for split, found in files.items() if found]
    return [f"the pictures of {', '.join(splits)} are pooled"] if len(splits) > 1 else []


def describe_groups(files: Mapping[str, Sequence[LabelledFile]], *, pooled: bool) -> list[str]:
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
