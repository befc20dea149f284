"""How many seeds of an experiment fit into a time, or how many epochs if the seeds would be too few."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted
from keras_sepnets.lab.definition import Experiment
from keras_sepnets.lab.jobs import is_complete
from keras_sepnets.lab.matrix import Arm, plan_runs
from keras_sepnets.lab.tuning import plan_pilots
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.plan import Plan
from keras_sepnets.training.tuning.duration import MEASURED_SHARE, measure_run

FEWEST_SEEDS = 5  # before which epochs are given up rather than seeds: a spread of fewer says little


class Duration(NamedTuple):
    """How long a run takes, in seconds."""

    once: float
    epoch: float

    def of(self, epochs: int) -> float:
        """Return the seconds of a run of this many epochs."""
        return self.once + epochs * self.epoch


def measure(plan: Plan, budget: float, arms: int) -> Duration:
    """Measure how long a run of a plan takes, in a share of the budget; the weights of its network change."""
    speed, work = measure_run(plan, plan.config, MEASURED_SHARE * budget / arms)
    precise = int(plan.config.training.precise_batch_norm)  # batches before each validation; a plan has a number
    work = work._replace(validation_batches=work.validation_batches + precise)
    once = speed.seconds_of(work, 0)
    return Duration(once, speed.seconds_of(work, 1) - once)


def recorded(runs: Sequence[Run]) -> Duration | None:
    """Return how long the finished ones of these runs took; None if none is finished."""
    finished = [run for run in runs if run.is_finished]
    if not finished:
        return None
    seconds = [sum(run.read_json("training.json").get("seconds", {}).values()) for run in finished]
    return Duration(0.0, sum(seconds) / sum(max(1, int(run.config.training.epochs)) for run in finished))


class Fit(NamedTuple):
    """What fits into a budget."""

    experiment: Experiment
    words: str


def fit_into(
    budget: float, experiment: Experiment, arms: Sequence[Arm], durations: Mapping[str, Duration], output: Path
) -> Fit:
    """Return the experiment with the seeds, or in a new folder the epochs, that fit into a time.

    Args:
        budget: Seconds from now on, for the runs that are missing.
        experiment: The experiment as it is asked for.
        arms: Its arms.
        durations: How long a run of each arm takes, by its name. Parallel processes share the machine, so they are
            expected to take as long together as one after the other.
        output: The folder of the experiment.

    Raises:
        SepnetsError: Not even one seed, or one epoch, fits.
    """
    seeds = experiment.seed_numbers
    for count in range(len(seeds), 0, -1):
        if (needed := _seconds(experiment, arms, durations, output, seeds[:count])) <= budget:
            break
    else:
        count = 0
    whole = _seconds(experiment, arms, durations, output, seeds)
    fewest = min(FEWEST_SEEDS, len(seeds))
    begun = any(Run(path).has("config.json") for path in output.glob("**/seed-*"))
    if count >= fewest or (count and begun):
        words = f"{counted(count, 'seed')} of {len(seeds)} fit into {_minutes(budget)}"
        if count == len(seeds):
            words = f"all {counted(count, 'seed')} fit into {_minutes(budget)}"
        return Fit(_with_seeds(experiment, count), f"{words}, about {_minutes(needed)}")
    epochs = 0 if begun else _epochs_that_fit(budget, experiment, arms, durations, output, seeds[:fewest])
    if not epochs:
        raise SepnetsError(
            f"The runs that are missing take about {_minutes(whole)}, and not even one seed of each arm fits into "
            "the budget; allow more time, or train a smaller network or on smaller pictures. "
            f"Received: --budget {budget:g}s"
        )
    shorter = {**experiment.base, "training.epochs": epochs}
    if experiment.base.get("training.warmup_epochs", 0) > epochs / 2:
        shorter["training.warmup_epochs"] = epochs / 2
    words = (
        f"{counted(fewest, 'seed')} of {counted(epochs, 'epoch')} fit into {_minutes(budget)}; with fewer seeds, "
        "their spread would say little, so the epochs were reduced"
    )
    return Fit(_with_seeds(experiment, fewest).model_copy(update={"base": shorter}), words)


def _with_seeds(experiment: Experiment, count: int) -> Experiment:
    seeds = count if isinstance(experiment.seeds, int) else experiment.seeds[:count]
    return experiment.model_copy(update={"seeds": seeds})


def _seconds(
    experiment: Experiment,
    arms: Sequence[Arm],
    durations: Mapping[str, Duration],
    output: Path,
    seeds: Sequence[int],
    epochs: int | None = None,
) -> float:
    """Return the seconds of the runs and pilots that are missing."""
    total = 0.0
    for arm in arms:
        planned = plan_runs(output, [arm], seeds, experiment.fixed)
        if experiment.tune:
            planned += plan_pilots(output, [arm], experiment.tune, experiment.fixed)
        missing = sum(not is_complete(run) for run in planned)
        total += missing * durations[arm.name].of(epochs or int(arm.config.training.epochs))
    return total


def _epochs_that_fit(
    budget: float,
    experiment: Experiment,
    arms: Sequence[Arm],
    durations: Mapping[str, Duration],
    output: Path,
    seeds: Sequence[int],
) -> int:
    """Return how many epochs of these seeds fit; 0 if none, or if the arms differ in their epochs."""
    asked = {int(arm.config.training.epochs) for arm in arms}
    if len(asked) > 1:
        return 0
    once = _seconds(experiment, arms, durations, output, seeds, epochs=1)
    each = _seconds(experiment, arms, durations, output, seeds, epochs=2) - once
    return min(asked.pop(), max(0, 1 + math.floor((budget - once) / each))) if each else 0


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
