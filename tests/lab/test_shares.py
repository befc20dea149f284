"""Classifiers on growing shares of given features, without a network."""

import numpy as np
import pytest

from keras_sepnets.lab.shares import Examples, measure_by_folds, measure_held_out

SHARES = (0.25, 0.5, 1.0)
LABELS = np.repeat([0, 1, 2], 20)
# Each feature is the number of its example, so that a fit knows which examples it gets.
EXAMPLES = Examples(np.arange(60)[:, None], LABELS, [f"{n}.png" for n in range(60)], 4)


class Recorder:
    """A fit that remembers what it was given, and predicts class 0."""

    def __init__(self):
        self.calls = []

    def __call__(self, features, labels, others, share):
        assert np.array_equal(labels, LABELS[features[:, 0]])
        self.calls.append((share, set(features[:, 0]), set(others[:, 0])))
        return np.zeros(len(others), int)


def test_every_example_is_tested_once_a_seed_by_others_only():
    fit = Recorder()
    measured = measure_by_folds(EXAMPLES, SHARES, 2, 5, fit)
    assert measured.wrong.shape == (2, 3, 60)
    assert (measured.wrong == (LABELS != 0)).all()
    assert measured.counts.tolist() == [[4, 4, 4, 0], [8, 8, 8, 0], [16, 16, 16, 0]]
    assert not any(trained & tested for _, trained, tested in fit.calls)
    for share in SHARES:
        tested = [number for of, _, others in fit.calls if of == share for number in others]
        assert sorted(tested) == sorted(2 * [*range(60)])


def test_a_smaller_share_is_part_of_a_larger_one_and_seeds_differ():
    fit = Recorder()
    measure_by_folds(EXAMPLES, SHARES, 2, 5, fit)
    for quarter, half, whole in zip(*[iter(fit.calls)] * 3, strict=True):
        assert quarter[1] < half[1] < whole[1]
        assert quarter[2] == whole[2]
    assert {frozenset(call[2]) for call in fit.calls[:15]}.isdisjoint(frozenset(c[2]) for c in fit.calls[15:])


def test_groups_stay_together():
    fit = Recorder()
    groups = np.array([f"writer {n % 10}" for n in range(60)])
    measure_by_folds(EXAMPLES._replace(groups=groups), (1.0,), 1, 5, fit)
    assert not any(set(groups[[*trained]]) & set(groups[[*tested]]) for _, trained, tested in fit.calls)


def test_held_out_examples_are_tested_by_shares_of_the_others():
    fit, held_out = Recorder(), np.arange(60) % 4 == 0
    measured = measure_held_out(EXAMPLES, held_out, SHARES, 3, fit)
    assert measured.wrong.shape == (3, 3, 15)
    assert measured.labels.tolist() == LABELS[held_out].tolist()
    assert measured.counts[-1].tolist() == [15, 15, 15, 0]
    assert all(tested == {*range(0, 60, 4)} for _, _, tested in fit.calls)


def test_more_examples_of_a_learnable_problem_are_worth_more():
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 1)) + LABELS[:, None]

    def nearest_mean(features, labels, others, _share):
        means = np.array([features[labels == label].mean() for label in range(3)])
        return np.abs(others - means).argmin(axis=1)

    measured = measure_by_folds(EXAMPLES._replace(features=features), (0.1, 0.5, 1.0), 5, 5, nearest_mean)
    errors = measured.wrong.mean(axis=(0, 2))
    assert errors[0] > errors[-1]
    assert errors[-1] == pytest.approx(0.41, abs=0.12)  # 2/3 of a normal tail beyond 0.5, twice for the middle
