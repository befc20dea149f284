"""Which examples play which role: train, validation or test.

A split is what the data set has; a role is what a run uses examples for. They often coincide, but validation may
be cut from the train split, and a data set without a test split is tested on another split. In a cross-validation,
each fold of the train split is the test of one run.
"""

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.holdout import (
    assign_folds,
    assign_roles,
    grouped_holdout,
    missing_labels,
    nested_subset,
    stratified_holdout,
)
from keras_sepnets.data.sources.source import Index, Part, Source
from keras_sepnets.settings.schema import DataConfig

ROLES = ("train", "validation", "test")


def assign_parts(source: Source, config: DataConfig) -> dict[str, Part]:
    """Return the examples of each role; a role that no split serves is cut from train.

    Args:
        source: The data set; for a cross-validation, its train split has all examples.
        config: `holdout_fraction`, the size of each cut as a fraction of the train split; `holdout_seed`, which
            moves the cut of validation, never that of test; `folds` and `fold`; `training_fraction` and
            `subset_seed`, which leave training pictures out and change nothing else.

    Raises:
        SepnetsError: The examples cannot be divided into that many folds.
    """
    parts = _assign_all(source, config)
    if config.training_fraction < 1:
        parts["train"] = _choose_share(source, parts["train"], config)
    return parts


def _assign_all(source: Source, config: DataConfig) -> dict[str, Part]:
    if config.trains_on_all:
        everything = Part("train")
        nothing = Part("train", np.zeros(source.num_examples("train"), bool))
        return {"train": everything, "validation": everything, "test": nothing}
    if config.folds:
        return _assign_fold(source.index("train"), source.class_names, config)
    parts: dict[str, Part] = {}
    roles = assign_roles(source.splits)
    remaining = None
    for role in ("test", "validation"):
        split = roles[role]
        if split is not None:
            parts[role] = Part(split)
            continue
        index = source.index("train")
        if remaining is None:
            remaining = np.ones(len(index.keys), bool)
        salt = _salt_of_validation(config) if role == "validation" else role
        chosen = _hold_out(index, remaining, round(config.holdout_fraction * len(index.keys)), salt)
        remaining &= ~chosen
        parts[role] = Part("train", chosen)
    parts["train"] = Part("train", remaining)
    return parts


def _assign_fold(index: Index, class_names: tuple[str, ...], config: DataConfig) -> dict[str, Part]:
    """Return the roles of a fold: it is the test, and validation is cut from the others."""
    _check_folds(index, class_names, config.folds)
    assigned = assign_folds(index.keys, index.labels, config.folds, groups=index.groups)
    for fold in range(config.folds):
        missing = missing_labels(index.labels, assigned != fold)
        if missing.size or fold not in assigned:
            name = printable(class_names[missing[0]]) if missing.size else ""
            fault = f'all pictures of the class "{name}" are in one of them' if name else "one of them is empty"
            raise SepnetsError(
                f"The groups cannot be divided into these folds: {fault}; choose another number of folds, or "
                f"smaller groups. Received: folds={config.folds}"
            )
    test = assigned == config.fold
    count = round(config.holdout_fraction * int((~test).sum()))
    held_out = _hold_out(index, ~test, count, _salt_of_validation(config))
    return {
        "train": Part("train", ~test & ~held_out),
        "validation": Part("train", held_out),
        "test": Part("train", test),
    }


def _check_folds(index: Index, class_names: tuple[str, ...], folds: int) -> None:
    """Refuse more folds than the smallest class has members, or than there are groups."""
    sizes = np.bincount(index.labels, minlength=len(class_names))
    smallest = int(sizes.argmin())
    limits = [(int(sizes[smallest]), f'pictures of the class "{printable(class_names[smallest])}"')]
    if index.groups is not None:
        limits.append((len(np.unique(index.groups)), "groups of pictures"))
    most, what = min(limits)
    if folds > most:
        raise SepnetsError(
            f"There are more folds than {what}, of which there are {most}; choose fewer folds, or add pictures. "
            f"Received: folds={folds}"
        )


def _salt_of_validation(config: DataConfig) -> str:
    return "validation" if config.holdout_seed is None else f"validation {config.holdout_seed}"


def _hold_out(index: Index, remaining: np.ndarray, count: int, salt: str) -> np.ndarray:
    """Choose about `count` of the remaining examples, in whole groups if there are groups."""
    places = np.flatnonzero(remaining)
    keys, labels = [index.keys[place] for place in places], index.labels[places]
    if index.groups is None:
        held_out = stratified_holdout(keys, labels, count, salt=salt)
    else:
        held_out = grouped_holdout(keys, labels, index.groups[places], count, salt=salt)
    chosen = np.zeros(len(index.keys), bool)
    chosen[places[held_out]] = True
    return chosen


def _choose_share(source: Source, train: Part, config: DataConfig) -> Part:
    """Return a share of the training examples, of every class."""
    index = source.index(train.split)
    places = np.arange(len(index.keys)) if train.chosen is None else np.flatnonzero(train.chosen)
    subset = nested_subset(
        [index.keys[place] for place in places],
        index.labels[places],
        config.training_fraction,
        salt=f"subset-{config.subset_seed}",
        groups=None if index.groups is None else index.groups[places],
    )
    chosen = np.zeros(len(index.keys), bool)
    chosen[places[subset]] = True
    return Part(train.split, chosen)


def check_overfit(count: int, available: int) -> None:
    """Raise SepnetsError unless a run can overfit on `count` of the available training pictures."""
    if count >= available:
        raise SepnetsError(
            f"There are only {available} training pictures; choose fewer. Received: overfit={count}"
        )


def choose_few(source: Source, train: Part, count: int) -> Part:
    """Return `count` training examples, in proportion to the classes, for a run that overfits on purpose.

    Raises:
        SepnetsError: There are not enough examples.
    """
    index = source.index(train.split)
    places = np.arange(len(index.keys)) if train.chosen is None else np.flatnonzero(train.chosen)
    check_overfit(count, len(places))
    held = stratified_holdout([index.keys[at] for at in places], index.labels[places], count, salt="overfit")
    if not held.any():
        raise SepnetsError(
            "Every class has only one picture, so none can be chosen; add some, or leave data.overfit out. "
            f"Received: overfit={count}"
        )
    chosen = np.zeros(len(index.keys), bool)
    chosen[places[held]] = True
    return Part(train.split, chosen)
