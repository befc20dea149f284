"""Paired comparisons of two arms of an experiment over seeds; docs/statistics.md explains every number."""

import base64
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from keras_sepnets.base.intervals import TOO_FEW
from keras_sepnets.base.resampling import CONFIDENCE, Crossed, bootstrap_interval

SIGNIFICANCE = 0.05
ONE_SEED = "one seed: no interval"
SAME_STEP = "undecided: every seed differs by the same amount; use more seeds"
NO_DIFFERENCE = "no measurable difference"
_TAIL = (1 - CONFIDENCE) / 2


class Compared(NamedTuple):
    """What pairs of runs say about one arm, minus the reference."""

    difference: float  # mean over the seeds
    interval: tuple[float, float] | None  # 95 %, t over the seeds; None if the pairs do not give one
    bootstrap_interval: tuple[float, float] | None  # 95 %, over seeds and test examples; None without examples
    probability: float | None  # that the arm is better than the reference on a new seed
    probability_interval: tuple[float, float] | None  # 95 %
    p: float | None  # of the paired t test
    correlation: float | None  # of the pairs; None with fewer than three, or where an arm does not vary
    variance_ratio: float | None  # of the difference to that of unpaired runs: 0.5 means half the seeds suffice
    equivalent: bool | None  # whether equivalence_p is below 5 %; None without a margin
    equivalence_p: float | None  # of the two one-sided tests, over seeds, and over seeds and examples
    seeds_for_margin: int | None  # seeds for a 95 % interval within +-margin; None without a margin
    verdict: str  # see `judge`


def bits(correct: Sequence[bool] | NDArray) -> str:
    """Return right and wrong answers as text: base64 of eight answers per byte."""
    return base64.b64encode(np.packbits(np.asarray(correct, bool)).tobytes()).decode("ascii")


def from_bits(text: str, count: int) -> NDArray[np.bool_]:
    """Return the `count` answers that `bits` turned into text."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def compare_arms(
    reference: Sequence[float],
    other: Sequence[float],
    *,
    higher_is_better: bool = True,
    margin: float | None = None,
    correct: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    widest: float = math.inf,
) -> Compared:
    """Compare two arms, seed by seed.

    Args:
        reference: One value per seed.
        other: One value per seed, in the same order.
        higher_is_better: Whether larger values are better (accuracy) or smaller ones (loss).
        margin: The difference that would matter, stated before the runs, in the unit of the values.
        correct: For accuracies, the right answers of the reference and the other arm on the same test examples,
            each of shape (seeds, examples).
        seed: Of the bootstrap.
        widest: Width of an interval beyond which one that contains zero shows nothing at all.

    Returns:
        The comparison; its verdict takes it for the only one (see `judge` for several).
    """
    differences = np.subtract(other, reference)
    table = None if correct is None else _table(*correct)
    several = len(differences) > 1
    varying = several and not _is_constant(differences)
    equal = several and not varying and math.isclose(differences[0], 0, abs_tol=1e-12)
    interval, p = ((0.0, 0.0), 1.0) if equal else (None, None)
    if varying:
        test = stats.ttest_rel(other, reference)
        interval, p = _floats(test.confidence_interval(CONFIDENCE)), float(test.pvalue)
    equivalence_p = None
    if margin is not None and several:
        equivalence_p = equivalence(differences, margin)
        if table is not None:
            equivalence_p = max(equivalence_p, _two_one_sided(*Crossed.of(table), margin))
    gains = probability_of_gain(differences if higher_is_better else -differences) if varying else None
    found = Compared(
        difference=0.0 if equal else float(differences.mean()),
        interval=interval,
        bootstrap_interval=None if table is None else bootstrap_interval(table, seed=seed),
        probability=float(gains[0]) if gains else None,
        probability_interval=_floats(gains[1:]) if gains else None,
        p=p,
        correlation=_correlation(reference, other),
        variance_ratio=_variance_ratio(reference, other),
        equivalent=None if equivalence_p is None else equivalence_p < SIGNIFICANCE,
        equivalence_p=equivalence_p,
        seeds_for_margin=seeds_needed(differences, margin) if margin is not None and several else None,
        verdict=SAME_STEP if several else ONE_SEED,
    )
    judged = judge(found, higher_is_better=higher_is_better, margin=margin, widest=widest)
    return found._replace(verdict=judged)


def judge(
    found: Compared,
    *,
    p: float | None = None,
    equivalence_p: float | None = None,
    higher_is_better: bool = True,
    margin: float | None = None,
    widest: float = math.inf,
) -> str:
    """Return a comparison's verdict, given what Holm's adjustment over all comparisons made of its p-values.

    There is a winner only if p is below 5 % and no interval contains zero, neither that over seeds nor that over
    seeds and test examples. Equivalence stands beside it: a difference can be sure and still smaller than the
    margin.

    Args:
        found: The comparison.
        p: The adjusted p-value of the difference; default: as found.
        equivalence_p: The adjusted p-value of the equivalence; default: as found.
        higher_is_better: As for `compare_arms`.
        margin: As for `compare_arms`.
        widest: As for `compare_arms`.
    """
    if found.interval is None:
        return found.verdict
    p = found.p if p is None else p
    equivalence_p = found.equivalence_p if equivalence_p is None else equivalence_p
    low, high = found.interval
    intervals = [found.interval, found.bootstrap_interval or found.interval]
    sure = p is not None and p < SIGNIFICANCE and not any(start <= 0 <= end for start, end in intervals)
    equivalent = margin is not None and equivalence_p is not None and equivalence_p < SIGNIFICANCE
    points = f"{100 * margin:g} points" if margin is not None else ""
    if sure:
        winner = "better" if (found.difference > 0) == higher_is_better else "worse"
        return f"{winner}, by less than {points}" if equivalent else winner
    if equivalent:
        return f"the same to within ±{points}"
    return NO_DIFFERENCE if high - low <= widest else TOO_FEW


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values (1979), in the given order.

    None, the p-value of a pair that gives none, stays None and is not counted. With all those below 5 % called
    differences, the probability of any false one is at most 5 %, however the comparisons depend on each other.
    `scipy.stats.false_discovery_control` bounds the share of false ones instead.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        adjusted[place] = largest = max(largest, min(1.0, (len(known) - rank) * p))
    return adjusted


def equivalence(differences: ArrayLike, margin: float) -> float:
    """Return the p-value of the two one-sided t tests (Schuirmann 1987): the larger of the two.

    Below 5 %, the mean difference lies within +-margin; the same as a 90 % t interval within +-margin. Pairs that
    all differ by the same amount show nothing (1), except for no difference at all (0).

    Args:
        differences: One per seed, two or more.
        margin: The smallest difference that would matter.
    """
    values = np.asarray(differences, float)
    if _is_constant(values):
        return 0.0 if math.isclose(values[0], 0, abs_tol=1e-12) else 1.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return _two_one_sided(values.mean(), error, len(values) - 1, margin)


def seeds_needed(differences: ArrayLike, margin: float) -> int:
    """Return how many seeds bring the half-width of the 95 % t interval to the margin, at the spread found.

    The spread of a few seeds is itself uncertain: with eight, the number may be half or four times as large.

    Args:
        differences: One per seed, two or more.
        margin: The half-width.
    """
    spread = float(np.asarray(differences, float).std(ddof=1))
    # The normal quantile is smaller than every quantile of t, so that the search starts below the answer.
    seeds = max(2, math.floor((float(stats.norm.isf(_TAIL)) * spread / margin) ** 2))
    while special.stdtrit(seeds - 1, 1 - _TAIL) * spread / math.sqrt(seeds) > margin:
        seeds += 1
    return seeds


def probability_of_gain(gains: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Return the probability that a new seed gains, median-unbiased, and both ends of its 95 % interval.

    For normal gains, sqrt(n) * mean / sd is noncentral t with noncentrality sqrt(n) * mu / sigma, and the
    probability is Phi(mu / sigma): both are exact then. The share of seeds that gained, with Wilson's interval,
    needs no normality, but knows only the signs: it covers from 90 to 98.5 % at 4 to 12 seeds
    (docs/statistics.md).

    Args:
        gains: One per seed along the last axis, two or more that are not all the same.
    """
    values = np.asarray(gains, float)
    seeds = values.shape[-1]
    t = values.mean(axis=-1) / values.std(axis=-1, ddof=1) * math.sqrt(seeds)
    size = np.minimum(np.abs(t), 1000)  # beyond, the probability is 0 or 1 to all digits, and SciPy takes long
    near = np.maximum(size, 1e-3)  # below, SciPy's median is wrong; it is proportional to t there
    centres = [
        special.nctdtrinc(seeds - 1, 1 - _TAIL, size),
        special.nctdtrinc(seeds - 1, 0.5, near) * size / near,
        special.nctdtrinc(seeds - 1, _TAIL, size),
    ]
    low, middle, high = special.ndtr(np.array(centres) / math.sqrt(seeds))
    down = t < 0
    return np.where(down, 1 - middle, middle), np.where(down, 1 - high, low), np.where(down, 1 - low, high)


def _table(reference: ArrayLike, other: ArrayLike) -> NDArray | None:
    """Return right answers, other minus reference; None if there are fewer than two seeds or examples."""
    table = np.asarray(other, np.int8) - np.asarray(reference, np.int8)
    return table if min(table.shape) > 1 else None


def _two_one_sided(mean: float, error: float, freedom: float, margin: float) -> float:
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    # Student's t with infinitely many degrees of freedom, where the seeds do not differ, is normal.
    distance = (abs(mean) - margin) / error
    return float(special.ndtr(distance) if math.isinf(freedom) else special.stdtr(freedom, distance))


def _correlation(reference: Sequence[float], other: Sequence[float]) -> float | None:
    if len(reference) < 3 or _is_constant(reference) or _is_constant(other):
        return None
    return float(np.corrcoef(reference, other)[0, 1])


def _variance_ratio(reference: Sequence[float], other: Sequence[float]) -> float | None:
    if len(reference) < 3 or (_is_constant(reference) and _is_constant(other)):
        return None
    unpaired = np.var(reference, ddof=1) + np.var(other, ddof=1)
    return float(np.var(np.subtract(other, reference), ddof=1) / unpaired)


def _is_constant(values: ArrayLike) -> bool:
    return math.isclose(float(np.ptp(values)), 0, abs_tol=1e-12)


def _floats(pair: tuple) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
