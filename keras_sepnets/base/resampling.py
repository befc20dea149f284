"""The interval of a paired difference over seeds and test examples together: a hierarchical bootstrap.

Each entry of a table, one row per seed and one column per test example, is the right answers (0 or 1) of one arm
minus those of the other: -1, 0 or 1. Another training draws another row, another test set other columns.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
_AT_ONCE = 2_000_000  # drawn examples held in memory at the same time


class Crossed(NamedTuple):
    """The mean of such a table, with the uncertainty that both its seeds and its examples bring."""

    mean: float
    error: float  # standard error
    freedom: float  # degrees of freedom of the error; infinite where the seeds do not differ

    @classmethod
    def of(cls, table: NDArray) -> "Crossed":
        """Estimate the error by analysis of variance, for two crossed random effects.

        The squared error is that of the seeds' means, as in the paired t test, plus the variance of the examples'
        means beyond what noise explains, if there is any, divided by their number. So it is never smaller than the
        t test's. The degrees of freedom count the seeds, because there are few of them. This is the analysis of
        readers and cases in radiology: Obuchowski and Rockette 1995, with the degrees of freedom of Hillis 2007
        (Statistics in Medicine 26).

        Args:
            table: Differences, of shape (seeds, examples), two or more of each.
        """
        seeds, examples = table.shape
        mean, rows, columns = float(table.mean()), table.mean(axis=1), table.mean(axis=0)
        residual = float(np.square(table - rows[:, None] - columns + mean).sum()) / ((seeds - 1) * (examples - 1))
        noise = residual / (seeds * examples)
        # Sums, because they are whole numbers: the variance of equal ones is exactly 0.
        by_seed = float(table.sum(axis=1).var(ddof=1)) / (seeds * examples**2) or noise
        by_example = max(float(columns.var(ddof=1)) - residual / seeds, 0) / examples
        squared = by_seed + by_example
        # At least the noise: where the seeds lie closer together by chance, they must not seem to matter less.
        uncertain = max(by_seed, noise)
        freedom = (seeds - 1) * max(squared / uncertain, 1) ** 2 if uncertain else math.inf
        return cls(mean, math.sqrt(squared), freedom)


def bootstrap_interval(table: NDArray, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean for new seeds and new test examples.

    Seeds are drawn with replacement, and so are examples, independently: the same examples for all seeds and both
    arms (the pigeonhole bootstrap of Owen 2007, doi:10.1214/07-AOAS122). Its plain percentiles are wrong twice
    over. They count the noise of single answers three times, which is most of the spread between trainings
    (arXiv:2304.01910), and they treat the spread of a few seeds as known. So the bootstrap gives the shape of the
    interval, and `Crossed` its scale: the distribution is brought to the standard error above, and stretched as
    Student's t is wider than the normal distribution.

    Args:
        table: Differences, of shape (seeds, examples), two or more of each.
        resamples: How many times both are drawn.
        seed: Of the drawing, which does not depend on the data: swapping the arms negates the interval.
    """
    means = resample_means(table, resamples, np.random.default_rng(seed))
    return scaled_interval(Crossed.of(table), means)


def scaled_interval(found: Crossed, means: NDArray) -> tuple[float, float]:
    """Return the interval with the shape of resampled means and the scale of the standard error."""
    spread = means.std()
    if spread == 0:
        return found.mean, found.mean
    tail = (1 - CONFIDENCE) / 2
    shape = (np.quantile(means, [tail, 1 - tail]) - means.mean()) / spread
    scale = found.error * float(stats.t.ppf(tail, found.freedom) / stats.norm.ppf(tail))
    low, high = found.mean + scale * shape
    return float(low), float(high)


def resample_means(table: NDArray, resamples: int, rng: np.random.Generator) -> NDArray:
    """Return the mean of each resample of seeds and examples."""
    table = np.asarray(table, np.float32)  # whole numbers below 2**24 are exact
    seeds, examples = table.shape
    means = []
    for start in range(0, resamples, step := max(1, _AT_ONCE // examples)):
        rows = min(step, resamples - start)
        by_seed = _counts(rng, rows, examples) @ table.T
        means.append((by_seed * _counts(rng, rows, seeds)).sum(axis=1, dtype=float) / (seeds * examples))
    return np.concatenate(means)


def _counts(rng: np.random.Generator, resamples: int, number: int) -> NDArray[np.float32]:
    """Return how often each of `number` things is drawn in each resample of `number` draws."""
    draws = rng.integers(number, size=(resamples, number)) + np.arange(resamples)[:, None] * number
    counts = np.bincount(draws.ravel(), minlength=resamples * number)
    return counts.reshape(resamples, number).astype(np.float32)
