"""Sides that take turns, with workers of plain Python."""

import sys

import pytest

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.training.tuning.turns import measure_steps, take_turns

COUNTING = """
from keras_sepnets.training.tuning.turns import serve_turns
done = []
serve_turns(lambda task: (done.append, task["multiply_adds"]))
"""
DYING = "input()\nprint('= 7', flush=True)\ninput()\nraise ValueError('the third step failed')"


def program(code):
    return [sys.executable, "-c", code]


def test_every_side_is_measured_once_a_round_in_the_same_order():
    calls = []
    sides = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in ("a", "b")}
    assert take_turns(sides, rounds=2, on_round=calls.append) == {"a": [2.0, 5.0], "b": [3.0, 6.0]}
    assert calls == [1, "a", "b", 2, "a", "b"]


def test_workers_take_turns_and_the_first_one_counts_the_multiply_adds():
    tasks = {
        side: {"multiply_adds": cost, "seconds": 0.01, "batch_size": 4} for side, cost in (("a", 5), ("b", 6))
    }
    rounds, messages = [], []
    found = measure_steps(
        tasks,
        rounds=3,
        programs=dict.fromkeys(tasks, program(COUNTING)),
        on_progress=messages.append,
        on_round=rounds.append,
    )
    assert found.multiply_adds == 5
    assert all(len(speeds) == 3 and min(speeds) > 0 for speeds in found.images_per_second.values())
    assert rounds == [1, 2, 3]
    assert messages == ["building and tracing: a, b", *(f"measuring, round {number} of 3" for number in rounds)]


def test_a_side_that_dies_is_named_with_its_reason():
    task = {"multiply_adds": 5, "seconds": 0.01, "batch_size": 4}
    with pytest.raises(FailedRunError, match=r"^b could not be measured: ValueError: the third step failed$"):
        measure_steps({"a": task, "b": task}, rounds=1, programs={"a": program(COUNTING), "b": program(DYING)})
