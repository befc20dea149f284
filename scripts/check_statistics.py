"""Measure how often the intervals and decisions of base/ are right, by simulated experiments whose truth is known.

Usage: python scripts/check_statistics.py [--experiments 20000] [--part seeds|examples|sequences|holm]

Prints the tables of docs/statistics.md. tests/base/test_coverage.py runs 2,000 experiments of the main
settings.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from keras_sepnets.base.comparisons import equivalence, holm, probability_of_gain
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.resampling import RESAMPLES, Crossed, resample_means, scaled_interval
from keras_sepnets.base.sequences import confidence_sequence

SPREAD = 0.003  # standard deviation of a paired difference, as large as that of two arms on 10,000 test pictures


class Shape(NamedTuple):
    """A distribution of paired differences with mean 0 and variance 1."""

    draw: Callable[[Generator, tuple[int, ...]], NDArray]
    above: Callable[[float], float]  # the probability of a value above this


ROOT = math.sqrt(5 / 3)  # the standard deviation of t with 5 degrees of freedom
SHAPES = {
    "normal": Shape(lambda rng, size: rng.standard_normal(size), stats.norm.sf),
    "heavy tails (t, 5 df)": Shape(
        lambda rng, size: rng.standard_t(5, size) / ROOT, lambda value: stats.t.sf(value * ROOT, 5)
    ),
    "skewness 1 (gamma)": Shape(
        lambda rng, size: (rng.gamma(4, size=size) - 4) / 2, lambda value: stats.gamma.sf(4 + 2 * value, 4)
    ),
    "skewness 2 (exponential)": Shape(
        lambda rng, size: rng.exponential(size=size) - 1, lambda value: stats.expon.sf(1 + value)
    ),
}


class OverSeeds(NamedTuple):
    """Shares of experiments with a fixed number of seeds."""

    interval_covers: float  # the t interval contains the true difference
    probability_covers: float  # its interval contains the true probability of a gain
    wins_cover: float  # so does Wilson's interval of the share of seeds that gained
    false_difference: float  # p < 5 % without a difference
    false_equivalence: float  # "equivalent" although the true difference is the margin


def check_seeds(rng: Generator, experiments: int, seeds: int, shape: str, effect: float = 1.0) -> OverSeeds:
    """Simulate experiments with a true difference of `effect` standard deviations, and with none."""
    draw, above = SHAPES[shape]
    noise = SPREAD * draw(rng, (experiments, seeds))
    reference = 0.9 + 0.01 * rng.standard_normal((experiments, seeds))
    found = stats.ttest_rel(reference + noise + effect * SPREAD, reference, axis=1)
    low, high = found.confidence_interval(0.95)
    _, least, most = probability_of_gain(noise + effect * SPREAD)
    truth = above(-effect)
    wilson = np.array([wilson_interval(wins, seeds) for wins in range(seeds + 1)])
    fewest, highest = wilson[(noise + effect * SPREAD > 0).sum(axis=1)].T
    margin = 1.67 * SPREAD  # half a point
    null = stats.ttest_rel(reference + noise, reference, axis=1).pvalue
    return OverSeeds(
        interval_covers=np.mean((low <= effect * SPREAD) & (effect * SPREAD <= high)),
        probability_covers=np.mean((least <= truth) & (truth <= most)),
        wins_cover=np.mean((fewest <= truth) & (truth <= highest)),
        false_difference=np.mean(null < 0.05),
        false_equivalence=max(
            np.mean([equivalence(row + sign * margin, margin) < 0.05 for row in noise]) for sign in (-1, 1)
        ),
    )


class OverExamples(NamedTuple):
    """Shares of experiments whose interval contains the difference over all seeds and all test examples."""

    bootstrap: float  # `bootstrap_interval`
    closed_form: float  # mean +- t * error of `Crossed`
    percentiles: float  # those of the same bootstrap, as they are
    over_seeds: float  # the t interval, which takes the test set as it is
    seed_share: float  # of the squared error that new seeds account for, on average


def check_examples(
    rng: Generator,
    experiments: int,
    seeds: int,
    seed_sd: float = 0.1,
    example_sd: float = 0.3,
    *,
    examples: int = 200,
    resamples: int = RESAMPLES,
) -> OverExamples:
    """Simulate two equally good arms, tested on the same pictures.

    An answer is right where a sum of normal scores is above 0: the picture's ease, what the arm makes of this
    picture (`example_sd`), of this seed (`seed_sd`), and noise of variance 1.
    """
    hits, shares = [], []
    t_of_seeds = stats.t.ppf(0.975, seeds - 1)
    for _ in range(experiments):
        ease = 1.3 + rng.standard_normal(examples) + example_sd * rng.standard_normal((2, 1, examples))
        score = ease + seed_sd * rng.standard_normal((2, seeds, 1)) + rng.standard_normal((2, seeds, examples))
        table = np.subtract(*(score > 0).astype(np.int8))
        found = Crossed.of(table)
        over_seeds = table.mean(axis=1).std(ddof=1) / math.sqrt(seeds)
        means = resample_means(table, resamples, rng)  # with the next line, what `bootstrap_interval` does
        low, high = scaled_interval(found, means)
        halves = [stats.t.ppf(0.975, found.freedom) * found.error, t_of_seeds * over_seeds]
        start, end = np.quantile(means, [0.025, 0.975])
        closed_form, t_test = (abs(found.mean) <= half for half in halves)
        hits.append([low <= 0 <= high, closed_form, start <= 0 <= end, t_test])
        shares.append((over_seeds / found.error) ** 2)
    return OverExamples(*np.mean(hits, axis=0), float(np.mean(shares)))


class Peeking(NamedTuple):
    """Shares of experiments that were looked at after every seed, and how long they took."""

    false_difference: float  # "better" or "worse" without a difference
    false_equivalence: float  # "equivalent" although the true difference is the margin
    peeked_t_test: float  # p < 5 % after any seed without a difference: what not to do
    median_seeds: float  # until a difference of two standard deviations is found


def check_sequences(rng: Generator, experiments: int, most: int, shape: str) -> Peeking:
    """Simulate experiments that go on until they are decided, with at most so many seeds."""
    noise = SPREAD * SHAPES[shape].draw(rng, (experiments, most))
    low, high = confidence_sequence(noise)
    apart = (low > 0) | (high < 0)
    margin = 1.67 * SPREAD
    equivalent = [
        ((low + edge > -margin) & (high + edge < margin)).any(axis=1).mean() for edge in (-margin, margin)
    ]
    found = low + 2 * SPREAD > 0
    first = np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, math.inf)
    peeks = [stats.ttest_1samp(noise[:, :seeds], 0, axis=1).pvalue < 0.05 for seeds in range(2, most + 1)]
    return Peeking(
        false_difference=apart.any(axis=1).mean(),
        false_equivalence=max(equivalent),
        peeked_t_test=np.any(peeks, axis=0).mean(),
        median_seeds=float(np.median(first)),
    )


class OverComparisons(NamedTuple):
    """Shares of experiments with a false difference among several comparisons that all have none."""

    adjusted: float  # by Holm
    unadjusted: float


def check_holm(rng: Generator, experiments: int, comparisons: int, seeds: int = 8) -> OverComparisons:
    """Simulate arms that are all compared with the same reference, none of them different."""
    values = 0.9 + SPREAD * rng.standard_normal((experiments, comparisons + 1, seeds))
    p_values = stats.ttest_rel(values[:, 1:], values[:, :1], axis=2).pvalue
    adjusted = np.array([holm(row) for row in p_values.tolist()], float)
    return OverComparisons(*(np.mean(p.min(axis=1) < 0.05) for p in (adjusted, p_values)))


def print_table(head: str, kind: type, rows: Iterator[tuple[str, tuple]]) -> None:
    """Print a table in Markdown, row by row: shares in percent, other numbers as they are."""
    names = [name.replace("_", " ") for name in kind._fields]
    print("", f"| {head} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|", sep="\n")
    for label, values in rows:
        cells = (f"{100 * value:.1f} %" if value <= 1 else f"{value:g}" for value in values)
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def print_seeds(rng: Generator, experiments: int) -> None:
    """Fixed numbers of seeds, differences of several shapes."""
    settings = [(shape, seeds) for shape in SHAPES for seeds in (4, 8, 12)]
    rows = ((f"{shape}, {seeds} seeds", check_seeds(rng, experiments, seeds, shape)) for shape, seeds in settings)
    print_table("differences", OverSeeds, rows)


def print_examples(rng: Generator, experiments: int) -> None:
    """Seeds and examples together, with more and with less of the spread from the seeds; an eighth as often."""
    cases = {
        "seeds that hardly differ": (0.02, 0.3),
        "both": (0.1, 0.3),
        "arms that differ by picture": (0.1, 0.8),
    }
    rows = (
        (f"{case}, {seeds} seeds", check_examples(rng, experiments // 8, seeds, *cases[case], resamples=500))
        for case in cases
        for seeds in (4, 8, 12)
    )
    print_table("spread", OverExamples, rows)


def print_sequences(rng: Generator, experiments: int) -> None:
    """Looking after every seed."""
    settings = [(shape, most) for shape in SHAPES for most in (12, 24, 48)]
    rows = ((f"{shape}, up to {most}", check_sequences(rng, experiments, most, shape)) for shape, most in settings)
    print_table("differences", Peeking, rows)


def print_holm(rng: Generator, experiments: int) -> None:
    """Several comparisons with one reference."""
    rows = ((f"{number} comparisons", check_holm(rng, experiments, number)) for number in (3, 6, 12))
    print_table("family", OverComparisons, rows)


PARTS = {"seeds": print_seeds, "examples": print_examples, "sequences": print_sequences, "holm": print_holm}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=20_000)
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this table; may be given several times"
    )
    options = parser.parse_args()
    for part in options.part or PARTS:
        PARTS[part](np.random.default_rng(0), options.experiments)


if __name__ == "__main__":
    main()
