"""A learning rate for each arm: pilots try the same rates, and validation chooses."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.lab.definition import FIRST_PILOT, Tune
from keras_sepnets.lab.experiment import PlannedRun
from keras_sepnets.lab.jobs import Failure, Running, describe_failures, run_all
from keras_sepnets.lab.matrix import Arm, with_seed
from keras_sepnets.lab.results_models import Tuned
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.kept import kept_network
from keras_sepnets.training.choices import with_training


def tune_arms(
    output: Path, arms: Sequence[Arm], tune: Tune, fixed: Sequence[str], running: Running
) -> dict[str, Tuned]:
    """Train the pilots that are missing, and return the choice for each arm by its name.

    A rate at which a pilot diverges counts as 0 %.

    Raises:
        FailedRunError: A pilot failed for another reason.
    """
    pilots = plan_pilots(output, arms, tune, fixed)
    failures = run_all(pilots, running)
    others = [failure for failure in failures if not failure.diverged]
    if others:
        raise FailedRunError(describe_failures(others, len(pilots)))
    return {arm.name: choose_rate(output, arm, tune, failures) for arm in arms}


def plan_pilots(output: Path, arms: Sequence[Arm], tune: Tune, fixed: Sequence[str]) -> list[PlannedRun]:
    """Return the pilots of all arms."""
    return [
        PlannedRun(folder, with_seed(with_training(arm.config, learning_rate=rate), seed, fixed), title)
        for arm in arms
        for rate in tune.learning_rate
        for seed, folder in _folders(output, arm, rate, tune.seeds)
        for title in [f"{arm.name}, pilot {seed} at learning rate {rate:g}"]
    ]


def choose_rate(output: Path, arm: Arm, tune: Tune, failures: Sequence[Failure] = ()) -> Tuned:
    """Return the rate with the best mean validation accuracy, the smallest of equals."""
    diverged = {failure.run.folder for failure in failures}
    tried = {}
    for rate in sorted(tune.learning_rate):
        folders = [folder for _, folder in _folders(output, arm, rate, tune.seeds)]
        if diverged.intersection(folders):
            tried[rate] = 0.0
            continue
        kept = [kept_network(Run(folder)) for folder in folders]
        tried[rate] = float(np.mean([one.validation_top1 or 0.0 for one in kept if one]))
    best = max(tried, key=tried.__getitem__)
    rates = list(tried)
    return Tuned(
        learning_rate=best,
        tried={f"{rate:g}": accuracy for rate, accuracy in tried.items()},
        at_end=best in (rates[0], rates[-1]),
    )


def _folders(output: Path, arm: Arm, rate: float, pilots: int) -> Iterator[tuple[int, Path]]:
    """Yield the seed and the folder of each pilot of an arm at a rate."""
    for seed in range(FIRST_PILOT, FIRST_PILOT + pilots):
        yield seed, output / "pilots" / arm.folder(output).name / f"lr-{rate:g}" / f"seed-{seed}"
