"""What can be said of accuracies, of differences between paired runs, and of speeds that took turns."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def wilson_interval(correct: int, num_examples: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy, as fractions."""
    interval = stats.binomtest(correct, num_examples).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


class Ratio(NamedTuple):
    """Of two speeds that were measured in turns, round by round."""

    median: float
    low: float
    high: float


def compare_rounds(speeds: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Return how many times as fast a side is as the reference: median, smallest and largest of the rounds."""
    ratios = [one / other for one, other in zip(speeds, reference, strict=True)]
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


class PairedDifference(NamedTuple):
    """The mean of ablated minus reference over pairs, and what it allows one to say."""

    difference: float
    interval: tuple[float, float] | None  # None where the pairs do not give one
    verdict: str


def compare_pairs(
    reference: Sequence[float], ablated: Sequence[float], *, higher_is_better: bool
) -> PairedDifference:
    """Compare paired runs by the 95 % t interval of their differences.

    Args:
        reference: One value a seed.
        ablated: One value a seed, in the same order.
        higher_is_better: Whether a larger value is the better one (accuracy) or the smaller (loss).

    Returns:
        The mean difference, its interval, and a verdict: "no measurable difference" when the interval covers
        zero. One pair, or pairs that differ by exactly the same amount, give no interval and no verdict.
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
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * spread / math.sqrt(len(differences))
    low, high = mean - half, mean + half
    if low <= 0 <= high:
        verdict = "no measurable difference"
    else:
        verdict = "ablated is better" if (mean > 0) == higher_is_better else "reference is better"
    return PairedDifference(mean, (low, high), verdict)
