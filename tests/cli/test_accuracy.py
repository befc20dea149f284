"""Accuracies in words."""

import numpy as np
import pytest

from keras_sepnets.cli.accuracy import describe_evaluation, list_limits
from keras_sepnets.inference.evaluation import summarize


def evaluation(labels, predicted, classes=2):
    return summarize(np.eye(classes)[predicted] * 0.9 + 0.1 / classes, np.array(labels), "test")


def test_the_majority_class_is_beside_every_accuracy():
    line = describe_evaluation(evaluation([0, 0, 0, 1], [0, 0, 0, 0]))
    assert "top-1 75.00% (95 % interval" in line
    assert "always naming the most frequent class 75.00%" in line


@pytest.mark.parametrize(("classes", "shown"), [(5, False), (6, True)])
def test_top5_is_shown_only_where_it_tells_something(classes, shown):
    line = describe_evaluation(evaluation([0, 1], [0, 1], classes))
    assert ("top-5" in line) == shown


def test_limits_are_said_where_there_are_any():
    assert list_limits(evaluation([0, 1] * 200, [0, 1] * 190 + [1, 0] * 10)) == []
    few = list_limits(evaluation([0, 1] * 5, [0, 1] * 4 + [0, 0]))
    assert any("10 pictures say little: the interval is" in limit for limit in few)
    uneven = list_limits(evaluation([0] * 90 + [1] * 10, [0] * 100))
    assert "100 pictures do not show that this is better than always naming the most frequent class" in uneven
    assert "90% of the pictures are of one class; averaged over the classes, top-1 is 50.00%" in uneven
    worse = list_limits(evaluation([0] * 90 + [1] * 10, [1] * 100))
    assert "this is worse than always naming the most frequent class" in worse
    (alone,) = list_limits(evaluation([0] * 50, [0] * 40 + [1] * 10))
    assert alone.startswith("all pictures are of one class")
