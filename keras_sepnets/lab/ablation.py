"""An ablation: the matrix of an experiment, trained with paired seeds and compared."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.sequences import fewest_seeds
from keras_sepnets.base.text import counted
from keras_sepnets.lab.budget import Duration, fit_into, measure, recorded
from keras_sepnets.lab.comparing import open_comparisons
from keras_sepnets.lab.definition import Experiment
from keras_sepnets.lab.experiment import MEASURED, with_choices, with_choices_of_runs
from keras_sepnets.lab.jobs import Failure, Running, describe_failures, run_all
from keras_sepnets.lab.matrix import Arm, arms_of, pairs_of, plan_runs, same_arms
from keras_sepnets.lab.opening import as_in_folder, check_folder, opened
from keras_sepnets.lab.results import FILE, summarize
from keras_sepnets.lab.results_models import ExperimentResult as ExperimentResult
from keras_sepnets.lab.tuning import tune_arms
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.plan import Plan, make_plan


class Planning(NamedTuple):
    """How arms are planned."""

    download: bool = False
    """whether a TFDS data set may be downloaded"""
    budget: float | None = None
    """seconds for the runs that are missing; fewer seeds or epochs than asked for may fit"""
    on_plan: Callable[[Plan, Experiment], None] | None = None
    """called with the plan of the first arm that is new, before anything is written"""
    on_progress: Callable[[str], None] = lambda _text: None
    """called with a description of what takes a while"""


def ablate(
    experiment: Experiment,
    *,
    output: str | Path,
    planning: Planning | None = None,
    running: Running | None = None,
    on_result: Callable[[ExperimentResult], None] = lambda _result: None,
) -> ExperimentResult:
    """Train every arm of an experiment with every seed, and compare the arms.

    The runs of a seed share the initial weights of layers of the same name, the cut between train and validation,
    the order of the pictures and, unless that is the change, their augmentation. Finished runs in `output` are not
    trained again, so that an interrupted experiment can be continued and more seeds can be added.

    Args:
        experiment: The experiment.
        output: Its folder; new, empty, or of the same experiment.
        planning: How its arms are planned.
        running: How its runs are trained.
        on_result: Called with the result, also if some runs have failed.

    Returns:
        The arms and their differences. Also written: experiment.toml, results.json, the report.

    Raises:
        SepnetsError: An arm cannot be trained with these settings, `output` holds something else, or another
            process works in it.
        FailedRunError: Some runs failed; the others are finished.
        InterruptedRunError: Ctrl-C; finished runs are kept, and the others can be resumed.
    """
    output, planning, running = Path(output), planning or Planning(), running or Running()
    experiment = as_in_folder(experiment, output, with_epochs=planning.budget is not None)
    arms = arms_of(experiment)
    check_folder(output, experiment)
    arms, durations = _plan_arms(experiment, arms, output, planning, running)
    if planning.budget is not None:
        experiment, words = fit_into(planning.budget, experiment, arms, durations, output)
        epochs = experiment.base.get("training.epochs")
        arms = [arm._replace(config=_with_epochs(arm, epochs, experiment)) for arm in arms]
        planning.on_progress(words)
    with opened(output, experiment):
        tuned = {}
        if experiment.tune:
            tuned = tune_arms(output, arms, experiment.tune, experiment.fixed, running)
            arms = [
                arm._replace(config=with_training(arm.config, learning_rate=tuned[arm.name].learning_rate))
                for arm in arms
            ]
        failures, seeds = _train_seeds(experiment, arms, output, planning, running)
        runs = {arm.name: _finished(arm, output, seeds) for arm in arms}
        if not any(runs.values()):
            raise FailedRunError(describe_failures(failures, len(arms) * len(seeds)))
        result = summarize(output, experiment, arms, runs, tuned)
        write_file(output / FILE, to_json_bytes(result.to_json()))
        write_reports(result, output)
    on_result(result)
    if failures:
        raise FailedRunError(describe_failures(failures, len(arms) * len(seeds)))
    return result


def write_reports(result: ExperimentResult, folder: Path) -> None:
    """Write report.md, report.html and the figures of an experiment."""
    from keras_sepnets.lab import report  # draws, which an experiment that is only read does not

    report.write_reports(result, folder)


def _with_epochs(arm: Arm, epochs: Any, experiment: Experiment) -> Any:
    if epochs is None or "training.epochs" in arm.settings:
        return arm.config
    warmup = experiment.base.get("training.warmup_epochs")
    return with_training(arm.config, epochs=epochs, **({} if warmup is None else {"warmup_epochs": warmup}))


def _train_seeds(
    experiment: Experiment, arms: Sequence[Arm], output: Path, planning: Planning, running: Running
) -> tuple[list[Failure], list[int]]:
    """Train all seeds, or as many as it takes to decide; return the runs that failed, and the seeds."""
    seeds = experiment.seed_numbers
    if not experiment.until_decided:
        return run_all(plan_runs(output, arms, seeds, experiment.fixed), running), seeds
    failures: list[Failure] = []
    comparisons = max(1, len(pairs_of(experiment, arms)))
    count = min(fewest_seeds(comparisons), len(seeds))
    while True:
        failures += run_all(plan_runs(output, arms, seeds[:count], experiment.fixed), running)
        runs = {arm.name: _finished(arm, output, seeds[:count]) for arm in arms}
        shared = [seed for seed in seeds[:count] if all(seed in found for found in runs.values())]
        top1 = {
            name: [found[seed].read_json("evaluation-test.json")["top1"] for seed in shared]
            for name, found in runs.items()
        }
        still_open = open_comparisons(experiment, arms, top1)
        words = (
            f"{still_open} of {counted(comparisons, 'comparison')} not decided" if still_open else "all decided"
        )
        planning.on_progress(f"after {counted(count, 'seed')}: {words}")
        if failures or not still_open or count == len(seeds):
            return failures, list(seeds[:count])
        count = min(len(seeds), count + max(1, running.jobs // len(arms)))


def _finished(arm: Arm, output: Path, seeds: Sequence[int]) -> dict[int, Run]:
    runs = {seed: Run(arm.folder(output) / f"seed-{seed}") for seed in seeds}
    return {seed: run for seed, run in runs.items() if run.is_finished and run.has("evaluation-test.json")}


def _plan_arms(
    experiment: Experiment, arms: Sequence[Arm], output: Path, planning: Planning, running: Running
) -> tuple[list[Arm], dict[str, Duration]]:
    """Return the arms with what has to be measured for their runs, and how long a run takes if there is a budget.

    An arm of which a run has begun goes on with what that run measured.
    """
    runs = {arm.name: sorted(arm.folder(output).glob("seed-*")) for arm in arms}
    every = [run for found in runs.values() for run in found]
    keys = MEASURED if running.jobs == 1 else [key for key in MEASURED if key != "intra_op_threads"]
    planned: list[Arm] = []
    durations: dict[str, Duration] = {}
    seen: dict[str, Arm] = {}
    for arm in arms:
        begun = [run for run in map(Run, runs[arm.name]) if run.has("config.json")]
        config = with_choices(arm.config, begun[0].config, *keys) if begun else arm.config
        if running.jobs == 1:
            config = with_choices_of_runs(config, every, "intra_op_threads")
        duration = recorded(begun) if planning.budget is not None else None
        if not begun or (planning.budget is not None and duration is None):
            keras.backend.clear_session()
            plan = make_plan(
                config,
                download=planning.download,
                cache_folder=running.cache_folder,
                on_progress=planning.on_progress,
            )
            _check_other_network(arm, plan, seen)
            config = with_choices(config, plan.config, *keys)
            if len(seen) == 1 and planning.on_plan:
                planning.on_plan(plan, experiment)
            if planning.budget is not None:
                planning.on_progress(f"measuring how long a run of {arm.name} takes")
                duration = measure(plan, planning.budget, len(arms))
        if duration is not None:
            durations[arm.name] = duration
        planned.append(arm._replace(config=config))
    return planned, durations


def _check_other_network(arm: Arm, plan: Plan, seen: dict[str, Arm]) -> None:
    """Refuse arms whose settings differ but whose runs would not."""
    config = plan.config.model_dump(mode="json", exclude={"model"})
    for key in MEASURED:
        config["training"].pop(key, None)
    changes_network = all(key.startswith("model.") for key in arm.settings)
    about = json.dumps([plan.network.get_config()["layers"], config], sort_keys=True, default=str)
    if about in seen:
        raise SepnetsError(same_arms(seen[about], arm, "networks" if changes_network else "variants"))
    seen[about] = arm
