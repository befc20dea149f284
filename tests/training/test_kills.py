"""No SIGKILL, whenever it comes, changes the result of a run."""

from functools import partial

import pytest
from kill_runs import kill_and_compare
from warm import start_sepnets


@pytest.mark.parametrize("wanted", [2, pytest.param(8, marks=pytest.mark.long)])
def test_kills_of_a_training_change_nothing(wanted):
    """At least half of the kills come within a save.

    The processes are forked from one that has imported TensorFlow; `scripts/kill_runs.py` starts new ones, 200
    times.
    """
    start = partial(start_sepnets, "train", quick=True)
    kills, within, different = kill_and_compare(wanted, seed=0, start=start)
    assert different == []
    assert kills == wanted
    assert within >= wanted / 2
