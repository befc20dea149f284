"""Held-out examples, folds and subsets: stratified choices that are the same on every machine and in every run."""

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold


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

    digests = _digests(keys, salt)
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = sorted(np.flatnonzero(labels == label), key=digests.__getitem__)
        chosen[members[:quota]] = True
    return chosen


def grouped_holdout(
    keys: Sequence[str], labels: np.ndarray, groups: np.ndarray, count: int, *, salt: str
) -> np.ndarray:
    """Choose whole groups, about in proportion to the classes, by the SHA-256 of salt and group.

    Of the folds of about `count` examples that scikit-learn makes of the groups, the one nearest to that size is
    chosen. See `stratified_holdout` for the other arguments.

    Args:
        groups: Group of each example, str (examples,).

    Returns:
        bool (examples,), true for the chosen ones: none if every choice would take the last group of a class.
    """
    chosen = np.zeros(len(labels), bool)
    most = min(len(np.unique(groups)), np.unique(labels, return_counts=True)[1].max())
    folds = min(round(len(labels) / count), most) if count else 0
    if folds < 2:
        return chosen
    assigned = assign_folds(keys, labels, folds, groups=groups, salt=salt)
    candidates = [assigned == fold for fold in range(folds)]
    possible = [held for held in candidates if held.any() and not missing_labels(labels, ~held).size]
    return min(possible, key=lambda held: abs(int(held.sum()) - count), default=chosen)


def assign_folds(
    keys: Sequence[str], labels: np.ndarray, folds: int, *, groups: np.ndarray | None = None, salt: str = "fold"
) -> np.ndarray:
    """Divide examples into folds, each with about the same share of every class, by scikit-learn.

    Its splitters do not shuffle here: they get the examples, or the groups, in the order of the SHA-256 of salt
    and key, so that the folds depend neither on the order of the files nor on a random generator.

    Args:
        keys: One string per example that identifies it.
        labels: Class of each example, int (examples,).
        folds: Number of folds, at least 2.
        groups: Group of each example, str (examples,); a group is never divided. None for no groups.
        salt: Makes these folds independent of other choices over the same keys.

    Returns:
        The fold of each example, from 0: int (examples,).
    """
    digests = _digests(keys, salt)
    order = np.array(sorted(range(len(keys)), key=digests.__getitem__))
    splitter = StratifiedKFold(folds) if groups is None else StratifiedGroupKFold(folds)
    ranks = None if groups is None else _ranks(groups, salt)[order]
    assigned = np.empty(len(keys), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer examples than folds, which are checked elsewhere
        for fold, (_, held_out) in enumerate(splitter.split(order, np.asarray(labels)[order], ranks)):
            assigned[order[held_out]] = fold
    return assigned


def nested_subset(
    keys: Sequence[str], labels: np.ndarray, fraction: float, *, salt: str, groups: np.ndarray | None = None
) -> np.ndarray:
    """Choose a share of every class, at least one example of each; a smaller share is part of a larger one.

    Args:
        keys: One string per example that identifies it.
        labels: Class of each example, int (examples,).
        fraction: The share, more than 0 and at most 1.
        salt: Makes this choice independent of other choices over the same keys.
        groups: Group of each example, str (examples,): a class gets one group after the other. None for no groups.

    Returns:
        bool (examples,), true for the chosen ones.
    """
    labels, digests = np.asarray(labels), _digests(keys, salt)
    ranks = np.zeros(len(labels), int) if groups is None else _ranks(groups, salt)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=lambda place: (ranks[place], digests[place]))
        chosen[members[: max(1, round(fraction * len(members)))]] = True
    return chosen


def missing_labels(labels: np.ndarray, remaining: np.ndarray) -> np.ndarray:
    """Return the classes of which no example remains: bool (examples,) marks those that do."""
    return np.setdiff1d(labels, np.asarray(labels)[remaining])


def _digests(keys: Sequence[str], salt: str) -> list[bytes]:
    return [hashlib.sha256(f"{salt}/{key}".encode(errors="surrogateescape")).digest() for key in keys]


def _ranks(groups: np.ndarray, salt: str) -> np.ndarray:
    """Return for each example the place of its group in the order of the groups' hashes."""
    names, numbers = np.unique(groups, return_inverse=True)
    digests = _digests([str(name).encode("utf-8", "backslashreplace").decode() for name in names], salt)
    places = np.empty(len(names), int)
    places[sorted(range(len(names)), key=digests.__getitem__)] = np.arange(len(names))
    return places[numbers]


def assign_roles(splits: Sequence[str]) -> dict[str, str | None]:
    """Return the split of the data set that serves as train, validation and test; None: hold out from train.

    A set with train and validation only (ImageNet, whose test labels are not public) is tested on its validation
    split, as in the literature. Validation is then held out from train, so that the examples that guide the
    training are never those that judge it.
    """
    test = next((split for split in ("test", "validation") if split in splits), None)
    validation = "validation" if "validation" in splits and test != "validation" else None
    return {"train": "train", "validation": validation, "test": test}
