"""Which examples are held out: the same ones on every machine, in every run, in proportion to the classes."""

import hashlib
from collections.abc import Sequence

import numpy as np


def stratified_holdout(keys: Sequence[str], labels: np.ndarray, count: int, *, salt: str) -> np.ndarray:
    """Choose `count` examples, from each class its share, by the SHA-256 of salt and key.

    Args:
        keys: One text per example that identifies it (a file name, a TFDS id).
        labels: The class of each example.
        count: How many to choose.
        salt: A word that makes this choice independent of other choices over the same keys.

    Returns:
        A boolean array, true for the chosen examples. No class of two or more examples is emptied.
    """
    labels = np.asarray(labels)
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / len(labels))
    quotas = np.floor(exact).astype(int)
    by_remainder = np.argsort(quotas - exact, kind="stable")
    quotas[by_remainder[: count - quotas.sum()]] += 1
    quotas = np.minimum(quotas, sizes - 1)

    digests = [hashlib.sha256(f"{salt}/{key}".encode(errors="surrogateescape")).digest() for key in keys]
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = sorted(np.flatnonzero(labels == label), key=digests.__getitem__)
        chosen[members[:quota]] = True
    return chosen


def assign_roles(splits: Sequence[str]) -> dict[str, str | None]:
    """Return for train, validation and test the split of the data set that serves as it, None to cut from train.

    A set with train and validation only (ImageNet, whose test labels are not public) is tested on its
    validation split, as its literature does; validation is then cut from train, so that what guides the
    training is never what judges it.
    """
    test = next((split for split in ("test", "validation") if split in splits), None)
    validation = "validation" if "validation" in splits and test != "validation" else None
    return {"train": "train", "validation": validation, "test": test}
