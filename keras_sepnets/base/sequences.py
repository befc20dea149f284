"""A confidence sequence: an interval that stays valid when it is looked at after every seed.

A 95 % t interval that is computed again after each seed, until it leaves zero, is wrong far more often than in 5 %
of the experiments. The intervals here contain the mean difference of all seeds *at the same time* in 95 % of them,
so that one may stop at any of them.

They mix the t statistic's likelihood over normally distributed effects: after n seeds, with r = 1 + n g, the
hypothesis of a mean mu stays while

    r^(-1/2) * ((1 + x / r) / (1 + x))^(-n / 2) < 1 / alpha,    x = n (mean - mu)^2 / (n - 1) / sd^2.

The left side is a Bayes factor, a test martingale under mu whatever sigma is (Wang and Ramdas, arXiv:2310.03722,
after Lai 1976), and Ville's inequality bounds the probability that it ever reaches 1 / alpha. Sequences for
bounded values (empirical Bernstein, betting) need no normality, but differences of accuracies vary by a few
thousandths of the range from -1 to 1 that those must allow for: they would stay wider than the margin for hundreds
of seeds. Boundaries for a maximum number of seeds (group-sequential designs) could be narrower, but end with
it.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGNIFICANCE = 0.05
# g: the variance of the effects that are mixed, in those of a difference. 0.5 gives no bound before the sixth
# seed, which keeps the error of skewed differences below 5 % (docs/statistics.md); 1 would decide about a seed
# earlier, with more errors.
_EFFECTS = 0.5
_NO_SPREAD = 1e-12

Decision = Literal["better", "worse", "equivalent"]


def confidence_sequence(differences: ArrayLike, significance: float = SIGNIFICANCE) -> tuple[NDArray, NDArray]:
    """Return the lower and the upper ends of the intervals after 1, 2, ... seeds.

    Args:
        differences: Paired differences in the order of their seeds, along the last axis.
        significance: Probability that any of the intervals misses the mean.

    Returns:
        Two arrays of the shape of the differences; -inf and inf as long as there is no bound: with fewer seeds
        than `fewest_seeds`, or while all of them differ by the same amount.
    """
    values = np.asarray(differences, float)
    count = np.arange(1, values.shape[-1] + 1)
    first = values[..., :1]  # subtracted, so that the sums of squares keep their digits
    means = np.cumsum(values - first, axis=-1) / count
    squares = np.maximum(np.cumsum((values - first) ** 2, axis=-1) - count * means**2, 0)
    spread = np.sqrt(squares / np.maximum(count - 1, 1))
    critical = np.array([_critical(number, significance) for number in count.tolist()])
    half = np.where(spread > _NO_SPREAD, critical * np.maximum(spread, _NO_SPREAD) / np.sqrt(count), math.inf)
    return first + means - half, first + means + half


def decided(
    differences: ArrayLike,
    margin: float | None = None,
    *,
    comparisons: int = 1,
    higher_is_better: bool = True,
) -> Decision | None:
    """Return what the seeds so far decide; None: go on.

    However often one asks, the probability of any false answer is at most 5 %: of "better" or "worse" without a
    difference, and of "equivalent" for one of the margin or more.

    Args:
        differences: Other minus reference, in the order of the seeds.
        margin: The smallest difference that would matter; None: equivalence is never decided.
        comparisons: How many comparisons the experiment makes. Each gets its share of the 5 % (Bonferroni).
        higher_is_better: Whether larger values are better.
    """
    if (interval := current_interval(differences, comparisons=comparisons)) is None:
        return None
    low, high = interval
    if low > 0 or high < 0:
        return "better" if (low > 0) == higher_is_better else "worse"
    return "equivalent" if margin is not None and max(-low, high) < margin else None


def current_interval(differences: ArrayLike, *, comparisons: int = 1) -> tuple[float, float] | None:
    """Return the sequence's interval after all the seeds so far; None as long as there is no bound.

    Args:
        differences: Other minus reference, in the order of the seeds.
        comparisons: As for `decided`.
    """
    lows, highs = confidence_sequence(differences, SIGNIFICANCE / comparisons)
    return (float(lows[-1]), float(highs[-1])) if lows.size and math.isfinite(lows[-1]) else None


def fewest_seeds(comparisons: int = 1) -> int:
    """Return the number of seeds before which nothing can be decided: 6 for one comparison."""
    seeds = 2
    while not math.isfinite(_critical(seeds, SIGNIFICANCE / comparisons)):
        seeds += 1
    return seeds


def _critical(seeds: int, significance: float) -> float:
    """Return how large the t statistic may be: the inequality above, solved for its root."""
    rate = 1 + seeds * _EFFECTS
    bound = (rate / significance**2) ** (1 / seeds)
    if bound >= rate:
        return math.inf
    return math.sqrt((seeds - 1) * (bound - 1) / (1 - bound / rate))
