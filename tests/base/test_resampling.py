import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from keras_sepnets.base.resampling import Crossed, bootstrap_interval, resample_means


def test_error_over_seeds_and_examples_is_computed_by_hand():
    # Means of the rows 1/2 and 0, of the columns too: variances 1/8. Residuals +-1/4: 4/16 over one degree of
    # freedom. The seeds bring 1/8 / 2; the examples' 1/8 is what the noise of two seeds explains.
    assert Crossed.of(np.array([[1, 0], [0, 0]])) == (0.25, 0.25, 1.0)


def test_equal_seeds_leave_the_examples():
    # Columns 1 and 0: variance 1/2 over two examples, without noise.
    assert Crossed.of(np.array([[1, 0], [1, 0]])) == (0.5, 0.5, math.inf)


def test_seeds_that_differ_by_chance_by_the_same_amount_are_not_certain():
    # Both rows sum to 1, in other columns: residuals +-1/2, 4/4 over one degree of freedom; 1 / (2 * 2) of it.
    assert Crossed.of(np.array([[1, 0], [0, 1]])) == (0.5, 0.5, 1.0)


def test_equal_examples_leave_the_t_test():
    table = np.tile([[1], [0], [1], [-1]], (1, 5))
    found = Crossed.of(table)
    assert found.error == pytest.approx(stats.sem([1, 0, 1, -1]))
    assert found.freedom == pytest.approx(3)


def test_error_is_unbiased_for_crossed_effects():
    # Variances 1 of seeds, 9 of examples and 4 of noise: 1 / 6 + 9 / 30 + 4 / 180.
    rng = np.random.default_rng(0)
    squared = [
        Crossed.of(rng.normal(0, 1, (6, 1)) + rng.normal(0, 3, 30) + rng.normal(0, 2, (6, 30))).error ** 2
        for _ in range(2000)
    ]
    assert np.mean(squared) == pytest.approx(1 / 6 + 9 / 30 + 4 / 180, rel=0.03)


def testresample_meanss_are_those_of_a_plain_loop():
    table = np.random.default_rng(1).integers(-1, 2, (3, 5))
    rng = np.random.default_rng(2)
    examples, seeds = rng.integers(5, size=(4, 5)), rng.integers(3, size=(4, 3))
    expected = [table[np.ix_(rows, columns)].mean() for rows, columns in zip(seeds, examples, strict=True)]
    assert resample_means(table, 4, np.random.default_rng(2)) == pytest.approx(expected)


def test_large_samples_give_the_closed_form():
    rng = np.random.default_rng(3)
    table = (rng.normal(0.5, 1, (30, 400)) + rng.normal(0, 0.5, 400) + rng.normal(0, 0.1, (30, 1)) > 0.8).astype(
        int
    )
    found = Crossed.of(table)
    half = stats.t.ppf(0.975, found.freedom) * found.error
    low, high = bootstrap_interval(table, resamples=20_000)
    assert (low, high) == pytest.approx((found.mean - half, found.mean + half), abs=0.05 * half)


tables = st.tuples(st.integers(2, 6), st.integers(2, 20), st.integers(0, 2**32 - 1))


@given(tables)
def test_swapping_the_arms_negates_the_interval(table):
    seeds, examples, seed = table
    table = np.random.default_rng(seed).integers(-1, 2, (seeds, examples))
    low, high = bootstrap_interval(table, resamples=50)
    assert bootstrap_interval(-table, resamples=50) == pytest.approx((-high, -low))
    assert bootstrap_interval(table, resamples=50) == (low, high)
    assert low <= table.mean() <= high
