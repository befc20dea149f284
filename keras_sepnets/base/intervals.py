"""Intervals of accuracies, paired comparisons of runs, and ratios of speeds measured in turns."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
TOO_FEW = "too few seeds to tell"


def wilson_interval(correct: int, num_examples: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy, as fractions."""
    interval = stats.binomtest(correct, num_examples).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


class Ratio(NamedTuple):
    """The ratio of two speeds that were measured in turns, over all rounds."""

    median: float
    low: float
    high: float


def compare_rounds(speeds: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Return the ratios of a side's speeds to the reference's: median, smallest and largest over the rounds."""
    ratios = [one / other for one, other in zip(speeds, reference, strict=True)]
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


class PairedDifference(NamedTuple):
    """The mean of ablated minus reference over pairs, its interval and a verdict."""

    difference: float
    interval: tuple[float, float] | None  # 95 %; None if the pairs do not give one
    verdict: str


def compare_pairs(
    reference: Sequence[float],
    ablated: Sequence[float],
    *,
    higher_is_better: bool,
    widest: float = math.inf,
) -> PairedDifference:
    """Compare paired runs by the 95 % t interval of their differences.

    Args:
        reference: One value per seed.
        ablated: One value per seed, in the same order.
        higher_is_better: Whether larger values are better (accuracy) or smaller ones (loss).
        widest: Width of an interval beyond which one that contains zero shows nothing at all.

    Returns:
        The mean difference, its interval, and a verdict: "no measurable difference" if the interval contains
        zero, and "too few seeds to tell" if it is also wider than `widest`. One pair, or pairs that all differ by
        the same amount, give no interval and no verdict.
    """
    differences = np.subtract(ablated, reference)
    mean = float(differences.mean())
    if len(differences) < 2:
        return PairedDifference(mean, None, "one seed: no interval")
    spread = float(differences.std(ddof=1))
    if math.isclose(spread, 0, abs_tol=1e-12):
        if math.isclose(mean, 0, abs_tol=1e-12):
            return PairedDifference(0.0, (0.0, 0.0), "no measurable difference")
        return PairedDifference(mean, None, "undecided: every seed differs by the same amount; use more seeds")
    low, high = map(float, stats.ttest_rel(ablated, reference).confidence_interval(CONFIDENCE))
    if low <= 0 <= high:
        verdict = "no measurable difference" if high - low <= widest else TOO_FEW
    else:
        verdict = "ablated is better" if (mean > 0) == higher_is_better else "reference is better"
    return PairedDifference(mean, (low, high), verdict)
