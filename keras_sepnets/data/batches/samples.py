"""Pictures by their content: a sample of files tells moved pictures from others with the same names."""

import hashlib
import os
from collections.abc import Mapping

import numpy as np

from keras_sepnets.base.text import counted
from keras_sepnets.data.pictures.files import UnreadablePictureError, read_file
from keras_sepnets.data.sources.source import Part, Source

SAMPLED = 16  # files of each role
IDENTITY = ("num_examples", "digest", "sample")  # of a role in data.json


def take_sample(source: Source, part: Part) -> dict[str, int]:
    """Return the SHA-256 and the size in bytes of some files, always the same ones; none of a TFDS data set."""
    paths = source.paths(part.split)
    if paths is None:
        return {}
    keys = source.index(part.split).keys
    places = np.arange(len(keys)) if part.chosen is None else np.flatnonzero(part.chosen)
    in_order = sorted(places, key=lambda place: hashlib.sha256(os.fsencode(keys[place])).digest())
    sample = {}
    for place in in_order[:SAMPLED]:
        try:
            content = read_file(os.fsdecode(paths[place]))
        except UnreadablePictureError:  # it tells nothing
            continue
        sample[hashlib.sha256(content).hexdigest()] = len(content)
    return sample


def count_found(sample: Mapping[str, int], source: Source, part: Part) -> int:
    """Return how many files of a sample are among these pictures, whatever their names."""
    paths = source.paths(part.split)
    if paths is None:
        return 0
    sizes, found = set(sample.values()), set()
    for path in map(os.fsdecode, paths if part.chosen is None else paths[part.chosen]):
        try:
            if os.path.getsize(path) in sizes:  # noqa: PTH202  pathlib takes twice as long
                found.add(hashlib.sha256(read_file(path)).hexdigest())
        except (OSError, UnreadablePictureError):  # refused, or left out, where it is evaluated
            continue
    return len(found & sample.keys())


def describe_change(
    recorded: Mapping[str, object], now: Mapping[str, object], *, moved: bool = False
) -> str | None:
    """Return in words how the data differ from what data.json recorded; None if they are the same.

    Args:
        recorded: Content of data.json, or a part of it; what an older version did not record is not compared.
        now: The same of the data as they are now.
        moved: Whether the data may be in another place.
    """
    for name, value in now.items():
        if name not in recorded:
            continue
        known = recorded[name]
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            if all(known[key] == value[key] for key in IDENTITY if key in known and key in value):
                continue
            before, after = known.get("num_examples"), value.get("num_examples")
            if before == after:
                return f"{name} has other pictures than before"
            return f"{name} had {counted(int(str(before)), 'picture')} and has {after:,}"
        if known != value and not (moved and name == "dataset"):
            return f"{name} was {known!r} and is {value!r}"
    return None
