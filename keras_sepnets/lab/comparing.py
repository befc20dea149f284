"""The statistics of `base` applied to the arms of an experiment."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from keras_sepnets.base.comparisons import Compared, compare_arms, from_bits, holm, judge
from keras_sepnets.base.convergence import area_under, first_reached, median_reached
from keras_sepnets.base.intervals import CONFIDENCE
from keras_sepnets.base.sequences import Decision, current_interval, decided
from keras_sepnets.base.text import counted
from keras_sepnets.lab.definition import Experiment
from keras_sepnets.lab.matrix import Arm, changes_loss, pairs_of
from keras_sepnets.lab.results_models import ArmComparison, ArmResult, Reached, RunResult

WIDEST, WIDEST_LOSS = 0.1, 0.2  # intervals of differences beyond which they show nothing: 10 points, a fifth
Metric = Literal["top1", "training_loss"]


def compare_all(experiment: Experiment, arms: Sequence[Arm], results: Sequence[ArmResult]) -> list[ArmComparison]:
    """Return the comparisons of test accuracies, then those of training losses.

    The p-values of a metric are adjusted over all its comparisons (Holm).
    """
    by_name = {result.name: result for result in results}
    pairs = [
        (one, other, by_name[one.name], by_name[other.name])
        for one, other in pairs_of(experiment, arms)
        if one.name in by_name and other.name in by_name and shared_runs(by_name[one.name], by_name[other.name])[0]
    ]
    accuracies = [(reference, arm) for _, _, reference, arm in pairs]
    losses = [(reference, arm) for one, other, reference, arm in pairs if not changes_loss(one, other)]
    incomparable = [(reference, arm) for one, other, reference, arm in pairs if changes_loss(one, other)]
    return [
        *_compare("top1", accuracies, experiment),
        *_compare("training_loss", losses, experiment),
        *(_not_comparable(*pair) for pair in incomparable),
    ]


class _Measured(NamedTuple):
    """A comparison before its p-values are adjusted."""

    compared: Compared
    differences: NDArray  # one per seed
    widest: float


def _compare(
    metric: Metric, pairs: Sequence[tuple[ArmResult, ArmResult]], experiment: Experiment
) -> list[ArmComparison]:
    higher, margin = metric == "top1", experiment.margin if metric == "top1" else None
    found = [_measure(metric, *pair, margin) for pair in pairs]
    adjusted = holm([one.compared.p for one in found])
    adjusted_equivalence = holm([one.compared.equivalence_p for one in found])
    comparisons = []
    for (reference, arm), one, p, equivalence_p in zip(pairs, found, adjusted, adjusted_equivalence, strict=True):
        if experiment.until_decided:
            said = _say_at_any_time(one, margin, higher=higher, comparisons=len(pairs))
        else:
            verdict = judge(
                one.compared,
                p=p,
                equivalence_p=equivalence_p,
                higher_is_better=higher,
                margin=margin,
                widest=one.widest,
            )
            equivalent = None if equivalence_p is None else equivalence_p < 1 - CONFIDENCE
            p_holm = equivalence_p if experiment.claim == "equivalence" and higher else p
            said = {"verdict": verdict, "equivalent": equivalent, "p_holm": p_holm}
        about = one.compared._asdict() | said
        comparisons.append(ArmComparison(metric=metric, reference=reference.name, arm=arm.name, **about))
    return comparisons


def _measure(metric: Metric, reference: ArmResult, arm: ArmResult, margin: float | None) -> _Measured:
    ours, theirs = shared_runs(reference, arm)
    higher = metric == "top1"
    widest = WIDEST if higher else WIDEST_LOSS * float(np.mean([run.training_loss for run in ours]))
    before, after = ([getattr(run, metric) for run in runs] for runs in (ours, theirs))
    correct = _answers(ours, theirs) if higher else None
    compared = compare_arms(before, after, higher_is_better=higher, margin=margin, correct=correct, widest=widest)
    return _Measured(compared, np.subtract(after, before), widest)


def _say_at_any_time(one: _Measured, margin: float | None, *, higher: bool, comparisons: int) -> dict[str, Any]:
    """Return what holds whenever one stops, in place of what holds for a number of seeds that was fixed before."""
    interval = current_interval(one.differences, comparisons=comparisons)
    decision = decided(one.differences, margin, comparisons=comparisons, higher_is_better=higher)
    return {
        "interval": interval,
        "sequence": interval,
        "bootstrap_interval": None,
        "p": None,
        "p_holm": None,
        "equivalence_p": None,
        "equivalent": None if margin is None else decision == "equivalent",
        "verdict": _decision_in_words(decision, margin, len(one.differences)),
    }


def _not_comparable(reference: ArmResult, arm: ArmResult) -> ArmComparison:
    ours, theirs = shared_runs(reference, arm)
    difference = np.mean([run.training_loss for run in theirs]) - np.mean([run.training_loss for run in ours])
    return ArmComparison(
        metric="training_loss",
        reference=reference.name,
        arm=arm.name,
        difference=float(difference),
        interval=None,
        verdict="not comparable: the change itself changes this loss",
    )


def shared_runs(reference: ArmResult, arm: ArmResult) -> tuple[list[RunResult], list[RunResult]]:
    """Return the runs of both arms with the seeds that both have, in their order."""
    by_seed = {run.seed: run for run in arm.runs}
    pairs = [(run, by_seed[run.seed]) for run in reference.runs if run.seed in by_seed]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _answers(ours: Sequence[RunResult], theirs: Sequence[RunResult]) -> tuple[NDArray, NDArray] | None:
    """Return which test examples each run has right, (seeds, examples); None if a run did not record it."""
    rows = [[from_bits(run.correct, run.num_examples) for run in runs if run.correct] for runs in (ours, theirs)]
    if [len(arm) for arm in rows] != [len(ours), len(theirs)] or not ours:
        return None
    return np.stack(rows[0]), np.stack(rows[1])


def _decision_in_words(decision: Decision | None, margin: float | None, seeds: int) -> str:
    if decision == "equivalent":
        return f"the same to within ±{100 * (margin or 0):g} points"
    return decision or f"not decided after {counted(seeds, 'seed')}"


def open_comparisons(experiment: Experiment, arms: Sequence[Arm], top1: dict[str, list[float]]) -> int:
    """Return how many comparisons of test accuracies the seeds so far do not decide.

    Args:
        experiment: The experiment.
        arms: Its arms.
        top1: Test accuracies by the name of the arm, in the order of the seeds, which all arms have.
    """
    pairs = pairs_of(experiment, arms)
    differences = [np.subtract(top1[other.name], top1[one.name]) for one, other in pairs]
    return sum(decided(one, experiment.margin, comparisons=len(pairs)) is None for one in differences)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % t interval of a mean; None for one value."""
    if len(values) < 2:
        return None
    if np.ptp(values) == 0:
        return values[0], values[0]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return float(low), float(high)


def area_mean(runs: Sequence[RunResult]) -> float | None:
    """Return the mean area under the curve of the validation accuracy over the epochs; None if it is unknown."""
    areas = [
        area_under([row.epoch for row in run.history], [row.val_accuracy for row in run.history]) for run in runs
    ]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known and len(known) == len(runs) else None


def reach_all(runs: Sequence[RunResult], accuracies: Sequence[float]) -> list[Reached]:
    """Return when an arm's runs reach validation accuracies."""
    found = []
    for accuracy in accuracies:
        epochs, steps = (_reached(runs, accuracy, positions) for positions in ("epoch", "step"))
        found.append(Reached(accuracy=accuracy, epochs=epochs[0], steps=steps[0], censored=epochs[1]))
    return found


def _reached(runs: Sequence[RunResult], accuracy: float, positions: str) -> tuple[float | None, int]:
    places = [[getattr(row, positions) for row in run.history] for run in runs]
    first = [
        first_reached(along, [row.val_accuracy for row in run.history], accuracy)
        for along, run in zip(places, runs, strict=True)
    ]
    median, censored = median_reached(first, [along[-1] for along in places])
    return median, censored
