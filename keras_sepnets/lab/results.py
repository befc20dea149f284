"""From the runs of an experiment to its results.json; the models are in `results_models`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sepnets.base.comparisons import bits
from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.samples import describe_change
from keras_sepnets.inference.out_of_fold import read_predictions
from keras_sepnets.lab.comparing import area_mean, compare_all, mean_interval, reach_all
from keras_sepnets.lab.definition import Experiment
from keras_sepnets.lab.matrix import Arm
from keras_sepnets.lab.results_models import ArmResult, EpochRow, ExperimentResult, RunResult, Tuned
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.kept import kept_network

FILE = "results.json"


def read_results(folder: Path) -> ExperimentResult:
    """Return the results of an experiment's folder; raise SepnetsError if there are none, or of an older form."""
    file = folder / FILE
    try:
        return ExperimentResult.model_validate_json(file.read_bytes())
    except OSError:
        what = "There are no results; run the experiment first"
    except ValueError:
        what = f"{FILE} is damaged or of an older version; run the experiment again, which keeps its finished runs"
    raise SepnetsError(f"{what}: sepnets ablate {folder}. Received: {str(folder)!r}")


def summarize(
    output: Path,
    experiment: Experiment,
    arms: Sequence[Arm],
    runs: Mapping[str, Mapping[int, Run]],
    tuned: Mapping[str, Tuned],
) -> ExperimentResult:
    """Return the result of an experiment.

    Args:
        output: The folder of the experiment.
        experiment: Its definition.
        arms: Its arms.
        runs: The finished runs, by the name of the arm and the seed; at least one in all.
        tuned: The chosen learning rates by the name of the arm, if they were chosen.
    """
    every = [run for found in runs.values() for run in found.values()]
    _check_same_tests(every)
    first, environments = every[0], [run.read_json("environment.json") for run in every]
    test = first.read_json("evaluation-test.json")
    results = [
        _summarize_arm(experiment, arm, runs[arm.name], tuned.get(arm.name)) for arm in arms if runs[arm.name]
    ]
    newest = max(environments, key=lambda one: str(one.get("started", "")))
    return ExperimentResult(
        experiment=str(output),
        **{key: getattr(experiment, key) for key in ("question", "source", "command", "expected", "margin")},
        claim=experiment.claim,
        until_decided=experiment.until_decided,
        seeds=sorted({seed for found in runs.values() for seed in found}),
        fixed=list(experiment.fixed),
        dataset=first.config.data.dataset,
        num_test_examples=test["num_examples"],
        majority_top1=test.get("majority_top1"),
        arms=results,
        comparisons=compare_all(experiment, arms, results),
        environment={
            key: newest[key] for key in ("platform", "cpu_cores", "memory_bytes", "devices") if key in newest
        },
        versions={"python": newest.get("python", ""), **newest.get("packages", {})},
        date=str(newest.get("started", "")),
        seconds=round(sum(run.seconds for arm in results for run in arm.runs), 1),
    )


def _check_same_tests(runs: Sequence[Run]) -> None:
    """Refuse to compare runs that were tested on different pictures."""
    recorded = [run.read_data() for run in runs]
    for run, data in zip(runs, recorded, strict=True):
        change = describe_change({"test": recorded[0]["test"]}, {"test": data["test"]})
        if change:
            raise SepnetsError(
                f"The runs were not tested on the same pictures, so they cannot be compared: {change}. Restore "
                "the pictures and train the newer runs again. "
                f"Received: {str(runs[0].path)!r} and {str(run.path)!r}"
            )


def _summarize_arm(experiment: Experiment, arm: Arm, runs: Mapping[int, Run], tuned: Tuned | None) -> ArmResult:
    cost = next(iter(runs.values())).read_json("cost.json")
    found = [summarize_run(run) for _, run in sorted(runs.items())]
    top1 = [run.top1 for run in found]
    return ArmResult(
        name=arm.name,
        variant=arm.variant,
        point=arm.point,
        settings=_plain(arm.settings),
        parameters=cost["parameters"]["total"],
        multiply_adds=cost["multiply_adds"],
        tuned=tuned,
        top1=top1,
        mean=float(np.mean(top1)),
        std=float(np.std(top1, ddof=1)) if len(top1) > 1 else None,
        interval=mean_interval(top1),
        auc_mean=area_mean(found),
        reached=reach_all(found, experiment.reach),
        runs=found,
    )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: "none" if value is None else value for key, value in settings.items()}


def summarize_run(run: Run) -> RunResult:
    """Return what results.json says of a finished run."""
    config, history, kept = run.config, run.read_history(), kept_network(run)
    evaluation, training = run.read_json("evaluation-test.json"), run.read_json("training.json")
    steps = run.read_data()["train"]["num_examples"] // int(config.training.batch_size)
    return RunResult(
        seed=config.training.seed,
        top1=evaluation["top1"],
        val_top1=kept.validation_top1 if kept else None,
        training_loss=float(np.mean([row["loss"] for row in history])),
        correct=_correct(run, evaluation["num_examples"]),
        num_examples=evaluation["num_examples"],
        history=[
            EpochRow(
                epoch=epoch,
                step=epoch * steps,
                loss=row.get("loss"),
                accuracy=row.get("top1"),
                val_loss=row.get("val_loss"),
                val_accuracy=row.get("val_top1"),
            )
            for epoch, row in enumerate(history, start=1)
        ],
        seconds=float(sum(training.get("seconds", {}).values()) or training["train_seconds"]),
        learning_rate=config.training.learning_rate,
        run=printable(run.path),
    )


def _correct(run: Run, num_examples: int) -> str | None:
    """Return which test examples are right; None for a run of version 0.1.0, which did not record it."""
    if not run.has("predictions-test.csv"):
        return None
    rows = read_predictions(run)
    return bits([row.label == row.predicted for row in rows]) if len(rows) == num_examples else None
