import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from keras_sepnets.base.sequences import confidence_sequence, current_interval, decided, fewest_seeds

differences = st.lists(st.floats(-1, 1).map(lambda value: round(value, 6)), min_size=1, max_size=20)
EIGHT = [0.004, 0.006, 0.005, 0.007, 0.003, 0.005, 0.006, 0.004]  # mean 0.005, squares 12e-6: sd 0.00130931


def test_interval_after_eight_seeds_is_computed_by_hand():
    # r = 1 + 8 / 2 = 5; (5 * 20^2)^(1/8) = 2.58598; x = 1.58598 / (1 - 2.58598 / 5) = 3.2849; sqrt(7 x) = 4.79524.
    half = 4.79524 * 0.00130931 / math.sqrt(8)
    assert current_interval(EIGHT) == pytest.approx((0.005 - half, 0.005 + half), rel=1e-4)


@pytest.mark.parametrize("seeds", [6, 8, 15, 40])
def test_end_of_the_interval_is_where_the_bayes_factor_reaches_20(seeds):
    values = np.random.default_rng(seeds).normal(0, 1, seeds)
    _, high = current_interval(values)
    t = (values.mean() - high) / stats.sem(values)

    def weighted(effect):
        density = stats.nct.pdf(t, seeds - 1, math.sqrt(seeds) * effect)
        return density * stats.norm.pdf(effect, scale=math.sqrt(0.5))

    mixture = integrate.quad(weighted, -6, 6, limit=200)[0]
    assert mixture / stats.t.pdf(t, seeds - 1) == pytest.approx(20, rel=1e-4)


def test_there_is_no_bound_before_the_sixth_seed():
    assert fewest_seeds() == 6
    low, high = confidence_sequence(EIGHT)
    assert np.isinf([low[:5], high[:5]]).all()
    assert np.isfinite([low[5:], high[5:]]).all()
    assert current_interval(EIGHT[:5]) is None
    assert decided(EIGHT[:5], 0.9) is None


def test_more_comparisons_need_more_seeds():
    assert fewest_seeds(comparisons=3) == 7
    one, three = current_interval(EIGHT), current_interval(EIGHT, comparisons=3)
    assert three[0] < one[0] < one[1] < three[1]


@given(differences)
def test_swapping_the_arms_negates(values):
    low, high = confidence_sequence(values)
    other_low, other_high = confidence_sequence(np.negative(values))
    assert other_low == pytest.approx(-high)
    assert other_high == pytest.approx(-low)


@given(differences)
def test_a_seed_changes_no_earlier_interval(values):
    low, high = confidence_sequence(values)
    earlier_low, earlier_high = confidence_sequence(values[:-1])
    assert earlier_low.tolist() == low[:-1].tolist()
    assert earlier_high.tolist() == high[:-1].tolist()


def test_several_experiments_are_computed_at_once():
    values = np.random.default_rng(0).normal(0, 1, (3, 10))
    together = confidence_sequence(values)
    for row, one in enumerate(values):
        assert np.array_equal(confidence_sequence(one), [ends[row] for ends in together])


def test_a_decision_needs_an_interval_on_one_side_of_zero_or_within_the_margin():
    same = [-0.001, 0.001, 0.0, 0.0005, -0.0005, 0.0, 0.001, -0.001]
    assert decided(EIGHT) == "better"
    assert decided(EIGHT, higher_is_better=False) == "worse"
    assert decided(np.negative(EIGHT)) == "worse"
    assert decided(same) is None
    assert decided(same, 0.005) == "equivalent"
    assert decided(same, 0.001) is None


def test_differences_without_any_spread_decide_nothing():
    assert decided([0.01] * 20, 0.5) is None
    assert decided([0.0] * 20, 0.5) is None
    assert current_interval([]) is None
