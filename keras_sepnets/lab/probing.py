"""Fitted classifiers on growing shares of the training pictures, whose features are computed once."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.learning_curves import FEWEST_TESTED
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.inference.forward import BATCH_SIZE
from keras_sepnets.lab.shares import Examples, Measured, measure_by_folds, measure_held_out
from keras_sepnets.training.classifier import compute_features, fit_classifier
from keras_sepnets.training.plan import Plan

MOST_FITTED = 10_000  # training pictures of the largest share


def fit_to_shares(
    plan: Plan,
    shares: Sequence[float],
    seeds: int,
    folds: int,
    cache_folder: Path | None,
    on_progress: Callable[[str], None],
) -> Measured:
    """Compute the features of a plan's pictures once, and fit classifiers to shares of them.

    Args:
        plan: A plan with a fitted classifier.
        shares: Of the training pictures of every class, ascending.
        seeds: Number of classifiers for each share, each with subsets of its own.
        folds: Number of folds of the training and validation pictures; 0 to test on validation.
        cache_folder: Folder for decoded pictures.
        on_progress: Called with a line about what takes a while.

    Raises:
        SepnetsError: There are too few pictures, or groups of them.
    """
    splits = plan.splits
    total = splits.num_examples("train")
    if total > MOST_FITTED:
        data = plan.config.data.model_copy(update={"training_fraction": MOST_FITTED / total})
        splits = Splits(splits.source, data, cache_folder=cache_folder)
    found = {}
    with splits.translated_failures():
        for role in ("train", "validation"):
            on_progress(f"computing the features of {counted(splits.num_examples(role), f'{role} picture')}")
            found[role] = compute_features(plan.network, splits.evaluation_batches(role, BATCH_SIZE))
    features, labels = map(np.concatenate, zip(*found.values(), strict=True))
    is_validation = np.repeat([False, True], [len(found[role][1]) for role in found])
    examples = Examples(
        features,
        labels,
        [f"{role}/{key}" for role in found for key in splits.keys(role)],
        len(splits.class_names),
        _groups(splits, found),
    )
    folds = min(folds, len(labels) if examples.groups is None else len(np.unique(examples.groups)))
    if len(labels) < FEWEST_TESTED or folds == 1:
        raise SepnetsError(
            f"A forecast needs at least {FEWEST_TESTED} pictures and, if they have groups, two groups. "
            f"Received: {counted(len(labels), 'picture')} of {printable(splits.source.name)}"
        )
    strengths: dict[float, float] = {}  # chosen once for each share
    balanced = plan.config.training.class_weights == "balanced"

    def fit_and_predict(features: np.ndarray, labels: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
        if len(np.unique(labels)) == 1:
            return np.full(len(others), labels[0])
        strength = strengths.get(share)
        fit = fit_classifier(features, labels, examples.classes, balanced=balanced, strength=strength)
        strengths[share] = fit.strength
        return (others @ fit.kernel + fit.bias).argmax(axis=1)

    on_progress(f"fitting {counted(len(shares) * seeds * max(folds, 1), 'classifier')}")
    if folds:
        return measure_by_folds(examples, shares, seeds, folds, fit_and_predict)
    return measure_held_out(examples, is_validation, shares, seeds, fit_and_predict)


def _groups(splits: Splits, roles: Iterable[str]) -> np.ndarray | None:
    """Return the group of every picture of these roles; None if they have none."""
    groups: list[str] = []
    for role in roles:
        index = splits.source.index(splits.parts[role].split)
        if index.groups is None:
            return None
        of = dict(zip(index.keys, index.groups, strict=True))
        groups += [of[key] for key in splits.keys(role)]
    return np.array(groups)
