"""How the error falls with the number of training pictures: error(n) = a + b n^-c, its intervals, its limits.

The form is the usual one (Hestness et al. 2017, arXiv:1712.00409; Viering and Loog 2021, arXiv:2103.10948). A few
sizes hardly determine three numbers, so c is drawn towards 0.5, where many curves lie (Hoiem et al. 2021,
arXiv:2010.11029), but only as strongly as SPREAD says. For a given c, a and b follow from least squares; so all c
of a grid are tried, and no start value can be wrong. docs/forecast.md says how often the intervals hold.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(0.05, 2.0, 38)  # of the grid
CENTRE, SPREAD = math.log(0.5), 0.8  # mean and standard deviation of log(c) before anything is measured
REPLICATES = 1000
FARTHEST = 8  # times the pictures: so far the intervals are checked
FEWEST_SIZES, FEWEST_TESTED = 3, 20
AT_ONCE = 2_000_000  # random weights

Reason = Literal["too few", "flat", "levels off", "too far", "too wide"]


class Curve(NamedTuple):
    """Curves error(n) = a + b (n / unit)^-c, as arrays of one shape."""

    a: Floats  # the error that is left with any number of pictures, at least 0
    b: Floats  # the rest of the error with `unit` pictures, at least 0
    c: Floats
    unit: float

    def error(self, pictures: ArrayLike) -> Floats:
        """Return the error with this number of pictures."""
        return self.a + self.b * (np.asarray(pictures, float) / self.unit) ** -self.c

    def pictures_for(self, error: float) -> Floats:
        """Return the number of pictures with which the error is this small; infinite if it never is."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            needed = self.unit * (np.maximum(error - self.a, 0) / self.b) ** (-1 / self.c)
        return np.where(error > self.a, np.where(self.b > 0, needed, 0), np.inf)


class Needed(NamedTuple):
    """How many pictures an accuracy needs in all, or why the measurements cannot say."""

    pictures: float | None  # the median; None with a reason
    low: float
    high: float  # may be infinite
    reason: Reason | None


class LearningCurve(NamedTuple):
    """A fitted curve, and its replicates from which intervals come."""

    sizes: Floats  # of the measured training sets, ascending
    errors: Floats  # measured, mean over the seeds
    num_tested: int
    fitted: Curve  # to the measured errors; scalars
    replicates: Curve
    drops: Floats  # of each replicate's errors, from the smallest to the largest training set

    def accuracy(self, pictures: float) -> float:
        """Return the forecast of the accuracy: the median of the replicates."""
        return 1 - float(np.median(self.replicates.error(pictures)))

    def interval(self, pictures: ArrayLike, level: float) -> tuple[Floats, Floats]:
        """Return the interval of the expected accuracy with each of these numbers of pictures."""
        errors = self.replicates.error(np.asarray(pictures, float)[..., None])
        low, high = np.quantile(errors, _ends(level), axis=-1)
        return 1 - high, 1 - low

    @property
    def is_too_short(self) -> bool:
        """Whether too little was measured for a curve."""
        return len(np.unique(self.sizes)) < FEWEST_SIZES or self.num_tested < FEWEST_TESTED

    def pictures_for(self, accuracy: float, level: float) -> Needed:
        """Return how many pictures this accuracy needs, or the reason why the measurements cannot say.

        Args:
            accuracy: The target, a fraction.
            level: Of the interval.
        """
        needed = self.replicates.pictures_for(1 - accuracy)
        low, median, high = np.quantile(needed, (_ends(level)[0], 0.5, _ends(level)[1]), method="nearest")
        reason = self._reason(float(low), float(median), float(high))
        return Needed(None if reason else float(median), float(low), float(high), reason)

    def _reason(self, low: float, median: float, high: float) -> Reason | None:
        if self.is_too_short:
            return "too few"
        if high <= self.sizes[-1]:
            return None  # it is reached, whatever the curve does from here on
        if np.quantile(self.drops, _ends(0.95)[0]) <= 0:
            return "flat"
        if low == np.inf:
            return "levels off"
        farthest = FARTHEST * self.sizes[-1]
        if median > farthest:
            return "too far"
        return "too wide" if high > farthest else None


def fit_curve(
    sizes: ArrayLike,
    errors: ArrayLike,
    variances: ArrayLike,
    centres: ArrayLike = CENTRE,
    favours: ArrayLike = 0.0,
) -> Curve:
    """Fit curves by weighted least squares with a >= 0 and b >= 0; the best c of a grid.

    Args:
        sizes: Numbers of training pictures, ascending (sizes,).
        errors: Fractions (..., sizes); a curve for each.
        variances: Of the errors (sizes,).
        centres: Where log(c) is drawn to (...).
        favours: How much worse, in chi-squared, a curve without a may fit and be taken all the same (...).
    """
    sizes, errors, weight = np.asarray(sizes, float), np.asarray(errors, float), 1 / np.asarray(variances, float)
    x = (sizes / sizes[-1]) ** -EXPONENTS[:, None]  # (exponents, sizes)
    s, sx, sxx = weight.sum(), x @ weight, x**2 @ weight
    sy, syy, sxy = (errors @ weight)[..., None], (errors**2 @ weight)[..., None], errors @ (weight * x).T
    far = ((np.log(EXPONENTS) - np.asarray(centres)[..., None]) / SPREAD) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where all sizes are the same
        b = (s * sxy - sx * sy) / (s * sxx - sx**2)
        a = (sy - b * sx) / s
    # Where one of them would be negative, the better of the two fits without one of them is the best.
    power, is_inside, is_power = sxy / sxx, (a >= 0) & (b >= 0), sxy**2 / sxx >= sy**2 / s
    a = np.where(is_inside, a, np.where(is_power, 0, sy / s))
    b = np.where(is_inside, b, np.where(is_power, power, 0))
    misfit = syy - a * sy - b * sxy + far
    misfit_of_power = syy - power * sxy + far
    best, best_power = misfit.argmin(axis=-1)[..., None], misfit_of_power.argmin(axis=-1)[..., None]
    worse = _at(misfit_of_power, best_power) - _at(misfit, best)
    without = worse < np.asarray(favours)
    exponent = np.where(without, EXPONENTS[best_power[..., 0]], EXPONENTS[best[..., 0]])
    return Curve(
        np.where(without, 0, _at(a, best)),
        np.where(without, _at(power, best_power), _at(b, best)),
        exponent,
        float(sizes[-1]),
    )


def _at(values: Floats, place: NDArray) -> Floats:
    return np.take_along_axis(values, place, axis=-1)[..., 0]


def learn_curve(sizes: ArrayLike, wrong: NDArray, *, replicates: int = REPLICATES, seed: int = 0) -> LearningCurve:
    """Fit a curve to trainings on growing sets, and to replicates of them.

    A replicate draws the seeds with replacement and weights the examples at random (Rubin's Bayesian bootstrap),
    the same way for all sizes, because they are tested on the same examples. So that what is not measured counts,
    too, it draws log(c) towards another centre, and leaves a out with a probability that follows from how much
    worse the curve then fits.

    Args:
        sizes: Numbers of training pictures, ascending (sizes,).
        wrong: Whether each example was classified wrongly: bool (seeds, sizes, examples).
        replicates: Their number.
        seed: Of the draws.
    """
    sizes, wrong = np.asarray(sizes, float), np.asarray(wrong, float)
    seeds, _, examples = wrong.shape
    random = np.random.default_rng(seed)
    by_seed = _weighted_errors(wrong, replicates, random)
    means = by_seed.mean(axis=1)
    drawn = random.integers(seeds, size=(replicates, seeds))
    of_drawn = np.take_along_axis(by_seed, drawn[..., None], axis=1).mean(axis=1)
    # Of k seeds drawn with replacement, the variance is (k - 1) / k of what it should be.
    errors = means + math.sqrt(seeds / max(seeds - 1, 1)) * (of_drawn - means)
    measured = wrong.mean(axis=(0, 2))
    smoothed = (measured * examples + 0.5) / (examples + 1)  # so that no mistake at all is no certainty
    variances = smoothed * (1 - smoothed) / examples
    if seeds > 1:
        variances = variances + wrong.mean(axis=2).var(axis=0, ddof=1) / seeds
    centres = random.normal(CENTRE, SPREAD, replicates)
    favours = random.logistic(0, 2, replicates)
    return LearningCurve(
        sizes=sizes,
        errors=measured,
        num_tested=examples,
        fitted=fit_curve(sizes, measured, variances),
        replicates=fit_curve(sizes, errors, variances, centres, favours),
        drops=errors[:, 0] - errors[:, -1],
    )


def _weighted_errors(wrong: Floats, replicates: int, random: np.random.Generator) -> Floats:
    """Return the error (replicates, seeds, sizes) of each replicate's weights of the examples."""
    seeds, sizes, examples = wrong.shape
    flat, parts = wrong.reshape(seeds * sizes, examples).T, []
    for start in range(0, replicates, most := max(1, AT_ONCE // examples)):
        weights = random.standard_exponential((min(most, replicates - start), examples))
        parts.append(weights @ flat / weights.sum(axis=1, keepdims=True))
    return np.concatenate(parts).reshape(replicates, seeds, sizes)


def _ends(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
