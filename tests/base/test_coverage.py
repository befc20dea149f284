"""2,000 simulated experiments each: the standard error of a share of 95 % is half a percent.

`scripts/check_statistics.py` is the long form, with more settings.
"""

import numpy as np
import pytest
from check_statistics import check_examples, check_holm, check_seeds, check_sequences

EXPERIMENTS = 2000


def test_intervals_over_eight_seeds_cover_in_95_percent():
    found = check_seeds(np.random.default_rng(0), EXPERIMENTS, 8, "normal")
    assert found.interval_covers == pytest.approx(0.95, abs=0.01)
    assert found.probability_covers == pytest.approx(0.95, abs=0.01)
    assert found.false_difference == pytest.approx(0.05, abs=0.01)
    assert found.false_equivalence == pytest.approx(0.05, abs=0.01)


def test_interval_over_seeds_and_examples_covers_in_95_percent():
    found = check_examples(np.random.default_rng(1), EXPERIMENTS, 8, example_sd=0.8, examples=100, resamples=200)
    assert found.bootstrap == pytest.approx(0.95, abs=0.01)
    assert found.closed_form == pytest.approx(0.95, abs=0.01)
    assert found.over_seeds < 0.9  # takes the test set as it is


@pytest.mark.parametrize("shape", ["normal", "heavy tails (t, 5 df)", "skewness 1 (gamma)"])
def test_looking_after_every_seed_decides_falsely_in_at_most_5_percent(shape):
    found = check_sequences(np.random.default_rng(2), EXPERIMENTS, 48, shape)
    assert found.false_difference <= 0.05
    assert found.false_equivalence <= 0.05
    assert found.peeked_t_test > 0.2
    assert found.median_seeds <= 10


def test_holm_keeps_the_error_of_all_comparisons_together():
    found = check_holm(np.random.default_rng(3), EXPERIMENTS, 6)
    assert found.adjusted <= 0.055  # 5 % and one standard error
    assert found.unadjusted > 0.15
