import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from keras_sepnets.base.intervals import compare_pairs, wilson_interval

accuracies = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_the_closed_form(counts):
    correct, n = counts
    z, p = stats.norm.ppf(0.975), correct / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(correct, n) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-9)


@given(accuracies, st.randoms(use_true_random=False))
def test_interval_is_that_of_the_paired_t_test(reference, random):
    ablated = [value + random.uniform(-0.1, 0.1) for value in reference]
    assume(np.std(np.subtract(ablated, reference)) > 1e-6)
    result = compare_pairs(reference, ablated, higher_is_better=True)
    expected = stats.ttest_rel(ablated, reference).confidence_interval(0.95)
    assert result.difference == pytest.approx(np.mean(ablated) - np.mean(reference), abs=1e-9)
    assert result.interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (result.verdict == "no measurable difference") == (result.interval[0] <= 0 <= result.interval[1])


def test_verdict_depends_on_which_direction_is_better():
    low, high = [0.5, 0.51, 0.52], [0.9, 0.92, 0.91]
    assert compare_pairs(low, high, higher_is_better=True).verdict == "ablated is better"
    assert compare_pairs(low, high, higher_is_better=False).verdict == "reference is better"
    assert compare_pairs(high, low, higher_is_better=True).verdict == "reference is better"


def test_an_interval_that_is_too_wide_to_show_anything_says_so():
    narrow, wide = ([0.80, 0.81, 0.80], [0.81, 0.80, 0.80]), ([0.80, 0.60, 0.90], [0.70, 0.95, 0.60])
    verdicts = [compare_pairs(*pair, higher_is_better=True, widest=0.1).verdict for pair in (narrow, wide)]
    assert verdicts == ["no measurable difference", "too few seeds to tell"]
    clear = compare_pairs([0.1, 0.2, 0.3], [0.8, 0.7, 0.95], higher_is_better=True, widest=0.1)
    assert clear.verdict == "ablated is better"


def test_pairs_that_cannot_give_an_interval_say_so():
    one = compare_pairs([0.9], [0.8], higher_is_better=True)
    assert (one.interval, one.verdict) == (None, "one seed: no interval")
    assert one.difference == pytest.approx(-0.1)
    same_step = compare_pairs([0.9, 0.8], [0.8, 0.7], higher_is_better=True)
    assert same_step.interval is None
    assert "undecided" in same_step.verdict
    equal = compare_pairs([0.9, 0.8], [0.9, 0.8], higher_is_better=True)
    assert equal == (0.0, (0.0, 0.0), "no measurable difference")
