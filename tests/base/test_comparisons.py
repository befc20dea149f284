import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from keras_sepnets.base.comparisons import (
    bits,
    compare_arms,
    equivalence,
    from_bits,
    holm,
    judge,
    probability_of_gain,
    seeds_needed,
)

pairs = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=12)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)
# Differences of 1, 2, 3 and 4 points: mean 2.5, sd sqrt(5/3) = 1.290994, error 0.645497, t = sqrt(15).
REFERENCE, OTHER = [0.90, 0.90, 0.90, 0.90], [0.91, 0.92, 0.93, 0.94]
# Student's distribution function at 3 degrees of freedom: 1/2 + (x / (1 + x^2) + atan x) / pi, x = t / sqrt(3).
TAIL = 0.5 - (math.sqrt(5) / 6 + math.atan(math.sqrt(5))) / math.pi  # of t = sqrt(15): 0.015233


def varied(values):
    """Return both arms, if their differences have a spread."""
    reference, other = map(list, zip(*values, strict=True))
    assume(np.std(np.subtract(other, reference)) > 1e-6)
    return reference, other


def test_difference_interval_and_p_are_those_computed_by_hand():
    found = compare_arms(REFERENCE, OTHER)
    assert found.difference == pytest.approx(0.025)
    assert found.interval == pytest.approx(
        (0.025 - 3.182446 * 0.00645497, 0.025 + 3.182446 * 0.00645497), rel=1e-5
    )
    assert found.p == pytest.approx(2 * TAIL, rel=1e-6)
    assert found.verdict == "better"
    assert (found.bootstrap_interval, found.equivalent, found.seeds_for_margin) == (None, None, None)


def test_equivalence_is_computed_by_hand():
    # (5 - 2.5) / 0.645497 = sqrt(15): the tail above; with a margin of 6 points (6 - 2.5) / 0.645497 = 5.42.
    differences = np.subtract(OTHER, REFERENCE)
    assert equivalence(differences, 0.05) == pytest.approx(TAIL, rel=1e-6)
    assert equivalence(-differences, 0.05) == pytest.approx(TAIL, rel=1e-6)
    assert equivalence(differences, 0.025) == pytest.approx(0.5)
    assert equivalence(differences, 0.06) < TAIL


def test_seeds_for_a_margin_are_computed_by_hand():
    # Half-widths: t(7) = 2.36462 * 1.290994 / sqrt(8) = 1.079, t(8) = 2.30600 * 1.290994 / 3 = 0.992.
    assert seeds_needed(np.subtract(OTHER, REFERENCE), 0.01) == 9
    assert seeds_needed([0.1, 0.1], 0.01) == 2


def test_probability_of_a_gain_is_half_without_a_difference():
    # sqrt(4) * mean / sd = 0, which the noncentrality plus a standard normal gives: Phi(+-1.959964 / sqrt(4)).
    middle, low, high = probability_of_gain([-0.03, -0.01, 0.01, 0.03])
    ends = stats.norm.cdf([-0.979982, 0.979982])
    assert (middle, low, high) == pytest.approx((0.5, *ends), abs=1e-6)


@given(pairs)
def test_interval_of_the_probability_inverts_the_noncentral_t_distribution(values):
    reference, other = varied(values)
    gains = np.subtract(other, reference)
    t = stats.ttest_1samp(gains, 0).statistic
    assume(0.01 < abs(t) < 20)
    low, high = compare_arms(reference, other).probability_interval
    assume(low > 1e-6 and high < 1 - 1e-6)  # where the distribution function still has digits
    for end, tail in ((low, 0.975), (high, 0.025)):
        noncentrality = math.sqrt(len(gains)) * stats.norm.ppf(end)
        assert stats.nct.cdf(t, len(gains) - 1, noncentrality) == pytest.approx(tail, abs=1e-4)


def test_correlation_and_what_pairing_bought_are_computed_by_hand():
    # Variances 1 and 4, of the difference 1: unpaired runs would give 1 + 4.
    found = compare_arms([1, 2, 3], [2, 4, 6])
    assert found.correlation == pytest.approx(1)
    assert found.variance_ratio == pytest.approx(0.2)
    assert compare_arms([1, 2], [2, 4]).correlation is None


def test_holms_adjustment_is_computed_by_hand():
    # 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not be below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([]) == []


@given(p_values, st.randoms(use_true_random=False))
def test_holm_stays_between_none_and_bonferroni_and_knows_no_order(values, random):
    adjusted = holm(values)
    assert all(p <= a <= min(1, len(values) * p) + 1e-12 for p, a in zip(values, adjusted, strict=True))
    assert adjusted[np.argmin(values)] == pytest.approx(min(1, len(values) * min(values)))
    places = list(range(len(values)))
    random.shuffle(places)
    assert holm([values[place] for place in places]) == [adjusted[place] for place in places]


@given(pairs, st.floats(0.001, 0.5))
def test_swapping_the_arms_negates(values, margin):
    reference, other = varied(values)
    one, two = compare_arms(reference, other, margin=margin), compare_arms(other, reference, margin=margin)
    assert two.difference == pytest.approx(-one.difference)
    assert two.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert two.probability == pytest.approx(1 - one.probability, abs=1e-9)
    assert two.probability_interval == pytest.approx(
        [1 - end for end in reversed(one.probability_interval)], abs=1e-9
    )
    assert two[5:11] == pytest.approx(one[5:11], nan_ok=True)  # p to seeds_for_margin
    swapped = {"better": "worse", "worse": "better"}
    word, *rest = one.verdict.split(",")
    assert two.verdict == ",".join([swapped.get(word, word), *rest])


@given(pairs, st.floats(0.001, 0.5))
def test_equivalent_means_that_a_90_percent_interval_lies_within_the_margin(values, margin):
    reference, other = varied(values)
    low, high = stats.ttest_rel(other, reference).confidence_interval(0.9)
    assume(abs(max(-low, high) - margin) > 1e-6)
    assert compare_arms(reference, other, margin=margin).equivalent == (-margin < low and high < margin)


def test_smaller_is_better_where_it_is_said():
    assert compare_arms(REFERENCE, OTHER, higher_is_better=False).verdict == "worse"
    up, down = (compare_arms(REFERENCE, OTHER, higher_is_better=higher) for higher in (True, False))
    assert down.difference == up.difference
    assert down.probability == pytest.approx(1 - up.probability)


def test_a_sure_difference_below_the_margin_says_both():
    assert compare_arms(REFERENCE, OTHER, margin=0.05).verdict == "better, by less than 5 points"


def test_verdicts_without_a_sure_difference():
    near = ([0.80, 0.81, 0.80, 0.81], [0.81, 0.80, 0.80, 0.81])  # +1, -1, 0, 0 points
    assert compare_arms(*near).verdict == "no measurable difference"
    assert compare_arms(*near, margin=0.02).verdict == "the same to within ±2 points"
    assert compare_arms(*near, margin=0.005).verdict == "no measurable difference"
    assert compare_arms(*near, widest=0.01).verdict == "too few seeds to tell"


def test_adjusted_p_values_can_take_a_verdict_back():
    found = compare_arms(REFERENCE, OTHER, margin=0.05)
    assert judge(found, p=0.06, margin=0.05) == "the same to within ±5 points"
    assert judge(found, p=0.06, equivalence_p=0.06, margin=0.05) == "no measurable difference"
    assert judge(found, equivalence_p=0.06, margin=0.05) == "better"


def test_pairs_that_give_no_interval_say_so():
    one = compare_arms([0.9], [0.8], margin=0.005)
    assert one.difference == pytest.approx(-0.1)
    assert (one[1:-1], one.verdict) == ((None,) * 10, "one seed: no interval")
    same_step = compare_arms([0.9, 0.8], [0.8, 0.7], margin=0.005)
    assert (same_step.interval, same_step.p, same_step.probability, same_step.equivalent) == (
        None,
        None,
        None,
        False,
    )
    assert same_step.verdict == "undecided: every seed differs by the same amount; use more seeds"
    assert judge(same_step, p=0.01) == same_step.verdict


def test_arms_that_never_differ_are_the_same():
    equal = compare_arms([0.9, 0.8], [0.9, 0.8])
    assert (equal.difference, equal.interval, equal.p) == (0.0, (0.0, 0.0), 1.0)
    assert equal.verdict == "no measurable difference"
    assert compare_arms([0.9, 0.8], [0.9, 0.8], margin=0.005).verdict == "the same to within ±0.5 points"


def test_equal_accuracies_from_other_pictures_are_not_yet_the_same():
    right = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
    found = compare_arms([0.5, 0.5], [0.5, 0.5], margin=0.005, correct=(right, ~right))
    assert found.equivalent is False
    assert found.verdict == "no measurable difference"
    same = compare_arms([0.5, 0.5], [0.5, 0.5], margin=0.005, correct=(right, right))
    assert (same.equivalent, same.bootstrap_interval) == (True, (0.0, 0.0))


def test_no_winner_where_other_test_pictures_could_reverse_the_difference():
    rng = np.random.default_rng(0)
    # In every seed, the other arm is right on nearly the same 6 pictures more and 3 pictures fewer, of 100.
    reference = np.tile(np.arange(100) < 80, (8, 1))
    other = reference.copy()
    other[:, :3], other[:, 80:86] = False, True
    other[np.arange(8), 90 + rng.integers(2, size=8)] = rng.random(8) < 0.5
    found = compare_arms(reference.mean(axis=1), other.mean(axis=1), correct=(reference, other))
    assert found.p < 0.001
    assert found.interval[0] > 0 > found.bootstrap_interval[0]
    assert found.verdict == "no measurable difference"


def test_answers_become_bits_of_bytes():
    # 1000 0001 and 1000 0000: the bytes 81 80 in base64.
    answers = [True, False, False, False, False, False, False, True, True]
    assert bits(answers) == "gYA="
    assert from_bits("gYA=", 9).tolist() == answers


@given(st.lists(st.booleans(), max_size=50))
def test_bits_keep_every_answer(answers):
    assert from_bits(bits(answers), len(answers)).tolist() == answers
