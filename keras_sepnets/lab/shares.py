"""Classifiers fitted to growing shares of given examples: how often they are wrong."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from keras_sepnets.data.batches.holdout import assign_folds, nested_subset

# From features (n, length) and classes (n,) of a share of the examples, the features of others, and the share:
# their predicted classes.
FitAndPredict: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


class Examples(NamedTuple):
    """Features of pictures, their classes, and what identifies them."""

    features: np.ndarray  # (examples, length)
    labels: np.ndarray  # int (examples,)
    keys: Sequence[str]
    classes: int
    groups: np.ndarray | None = None  # str (examples,): group of each, kept together by folds; None for no groups


class Measured(NamedTuple):
    """Trainings on growing shares of the training examples, all tested on the same ones."""

    counts: np.ndarray  # training examples of each class: float (shares, classes), mean over all trainings
    wrong: np.ndarray  # bool (seeds, shares, tested examples)
    labels: np.ndarray  # of the tested examples


def measure_by_folds(
    examples: Examples, shares: Sequence[float], seeds: int, folds: int, fit: FitAndPredict
) -> Measured:
    """Test every example by classifiers that have not seen it, fitted to shares of the other folds.

    Args:
        examples: The examples.
        shares: Of the other folds, ascending.
        seeds: Number of repetitions; each has folds and nested subsets of its own.
        folds: Number of folds.
        fit: Fits and predicts.
    """
    labels, keys, groups = examples.labels, examples.keys, examples.groups

    def tests(seed: int) -> Iterable[np.ndarray]:
        assigned = assign_folds(keys, labels, folds, groups=groups, salt=f"fold-{seed}")
        return (assigned == fold for fold in range(folds))

    return _measure(examples, shares, [tests(seed) for seed in range(seeds)], fit)


def measure_held_out(
    examples: Examples, held_out: np.ndarray, shares: Sequence[float], seeds: int, fit: FitAndPredict
) -> Measured:
    """Test the held-out examples, bool (examples,), by classifiers fitted to shares of the others."""
    measured = _measure(examples, shares, [[held_out]] * seeds, fit)
    return measured._replace(wrong=measured.wrong[..., held_out], labels=examples.labels[held_out])


def _measure(
    examples: Examples, shares: Sequence[float], tests: Sequence[Iterable[np.ndarray]], fit: FitAndPredict
) -> Measured:
    features, labels, keys, classes, groups = examples
    wrong = np.zeros((len(tests), len(shares), len(labels)), bool)
    counts = np.zeros((len(shares), classes))
    trainings = 0
    for seed, tested_parts in enumerate(tests):
        for tested in tested_parts:
            rest = np.flatnonzero(~tested)
            trainings += 1
            for row, share in enumerate(shares):
                part = rest[nested_subset(
                    [keys[place] for place in rest.tolist()],
                    labels[rest],
                    share,
                    salt=f"subset-{seed}",
                    groups=None if groups is None else groups[rest],
                )]  # fmt: skip
                predicted = fit(features[part], labels[part], features[tested], share)
                wrong[seed, row, tested] = predicted != labels[tested]
                counts[row] += np.bincount(labels[part], minlength=classes)
    return Measured(counts / trainings, wrong, labels)
