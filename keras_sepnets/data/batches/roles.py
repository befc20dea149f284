"""Which examples play which role: train, validation or test.

A split is what the data set has; a role is what a run uses examples for. They often coincide, but validation may
be cut from the train split, and a data set without a test split is tested on another split.
"""

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.batches.holdout import assign_roles, stratified_holdout
from keras_sepnets.data.sources.source import Part, Source

ROLES = ("train", "validation", "test")


def assign_parts(source: Source, holdout_fraction: float) -> dict[str, Part]:
    """Return the examples of each role; a role that no split serves is cut from train.

    Args:
        source: The data set.
        holdout_fraction: Size of each cut as a fraction of the train split.
    """
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
        places = np.flatnonzero(remaining)
        held_out = stratified_holdout(
            [index.keys[place] for place in places],
            index.labels[places],
            round(holdout_fraction * len(index.keys)),
            salt=role,
        )
        chosen = np.zeros(len(index.keys), bool)
        chosen[places[held_out]] = True
        remaining &= ~chosen
        parts[role] = Part("train", chosen)
    parts["train"] = Part("train", remaining)
    return parts


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
