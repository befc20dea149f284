"""Held-out examples: a stratified choice that is the same on every machine and in every run."""

import hashlib
from collections.abc import Sequence

import numpy as np


def stratified_holdout(keys: Sequence[str], labels: np.ndarray, count: int, *, salt: str) -> np.ndarray:
    """Choose examples in proportion to the classes, by the SHA-256 of salt and key.

    Args:
        keys: One string per example that identifies it (a file name, a TFDS id).
        labels: Class of each example, int (examples,).
        count: Number of examples to choose.
        salt: Makes this choice independent of other choices over the same keys.

    Returns:
        bool (examples,), true for the chosen ones: at most `count`, and never the last example of a class.
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
    """Return the split of the data set that serves as train, validation and test; None: hold out from train.

    A set with train and validation only (ImageNet, whose test labels are not public) is tested on its validation
    split, as in the literature. Validation is then held out from train, so that the examples that guide the
    training are never those that judge it.
    """
    test = next((split for split in ("test", "validation") if split in splits), None)
    validation = "validation" if "validation" in splits and test != "validation" else None
    return {"train": "train", "validation": validation, "test": test}
