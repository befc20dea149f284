import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sepnets.base.convergence import area_under, first_reached, median_reached


def test_first_epoch_that_reaches_an_accuracy():
    assert first_reached([1, 2, 3, 4], [0.5, None, 0.8, 0.7], 0.8) == 3
    assert first_reached([1, 2, 3], [0.5, 0.6, 0.7], 0.8) is None
    assert first_reached([], [], 0.8) is None


def test_median_of_runs_that_all_reached_it():
    assert median_reached([4, 2, 3], [9, 9, 9]) == (3, 0)
    assert median_reached([4, 2, 3, 7], [9, 9, 9, 9]) == (3, 0)


def test_runs_that_never_reach_it_count_as_later():
    # After 2, 3 of 4 remain; after 3, 2 of 4.
    assert median_reached([2, 3, None, 5], [5, 5, 5, 5]) == (3, 1)
    assert median_reached([2, None, None, 5], [5, 5, 5, 5]) == (5, 2)
    assert median_reached([2, None, None], [5, 5, 5]) == (None, 2)
    assert median_reached([None, None], [5, 5]) == (None, 2)
    assert median_reached([], []) == (None, 0)


def test_a_run_that_ended_early_counts_while_it_ran():
    # Kaplan-Meier: one run ends at 1. At 2, 2/3 of three remain; at 3, half of those: 1/3.
    assert median_reached([None, 2, 3, None], [1, 9, 9, 4]) == (3, 2)
    # Left out, or taken as reached at its end, the median would be 2.
    assert np.median([2, 3]) < 3
    assert sorted([1, 2, 3, 4])[1] == 2


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_without_censoring_it_is_the_smaller_middle(reached):
    assert median_reached(reached, [9] * len(reached)) == (sorted(reached)[(len(reached) - 1) // 2], 0)


def test_area_is_computed_by_hand():
    # 1 * (0 + 1) / 2 + 2 * (1 + 1) / 2 = 2.5, over a length of 3.
    assert area_under([1, 2, 4], [0.0, 1.0, 1.0]) == pytest.approx(2.5 / 3)
    assert area_under([1, 2, 3, 4], [0.0, 1.0, None, 1.0]) == pytest.approx(2.5 / 3)
    assert area_under([3], [0.7]) == 0.7
    assert area_under([1, 2], [None, None]) is None


@given(st.floats(0, 1), st.lists(st.integers(1, 100), min_size=1, max_size=9, unique=True))
def test_area_under_a_constant_is_the_constant(accuracy, positions):
    assert area_under(sorted(positions), [accuracy] * len(positions)) == pytest.approx(accuracy)
