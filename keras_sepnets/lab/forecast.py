"""How many more pictures? Trainings on growing shares of the training pictures, and the curve through them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.learning_curves import FEWEST_SIZES
from keras_sepnets.base.text import counted
from keras_sepnets.data.batches.roles import assign_parts
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.inference.out_of_fold import read_predictions
from keras_sepnets.lab.experiment import (
    FILE,
    MEASURED,
    PlannedRun,
    open_experiment,
    train_all,
    with_choices,
    with_choices_of_runs,
)
from keras_sepnets.lab.growth import LEVEL, WIDER_LEVEL, Growth, curve_of, describe_growth, list_shares
from keras_sepnets.lab.growth import Forecast as Forecast
from keras_sepnets.lab.probing import fit_to_shares
from keras_sepnets.lab.shares import Measured
from keras_sepnets.runs.folder import Run, check_output, dataset_slug, runs_root
from keras_sepnets.runs.plots import draw_growth
from keras_sepnets.settings.layers import flatten
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.plan import Plan, make_plan

SHARES = (0.125, 0.25, 0.5, 1.0)
RESULT, PICTURE = "forecast.json", "forecast.png"
FOLDS = 5  # of fitted classifiers
ENOUGH = 1000  # validation pictures, with which folds are not worth their time
OWN = ("training.seed", "data.subset_seed", "data.training_fraction", "data.overfit", "data.folds")

Callbacks: TypeAlias = Callable[[str, Plan], Sequence[keras.callbacks.Callback]]


def fits_only(config: RunConfig) -> bool:
    """Return whether classifiers are fitted to features, so that no network is trained."""
    return config.training.epochs == 0


def default_output(base: RunConfig) -> Path:
    """Return the default folder of a forecast, where the same command finds its trainings again."""
    return runs_root() / f"forecast-{dataset_slug(base)}{'-fitted' if fits_only(base) else ''}"


def forecast(
    base: RunConfig,
    *,
    target: float | None = None,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    output: str | Path,
    download: bool = False,
    cache_folder: Path | None = None,
    callbacks: Callbacks = lambda _title, _plan: (),
    on_plan: Callable[[Plan, list[str]], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Forecast:
    """Measure the accuracy with growing shares of the training pictures, and say what more of them would bring.

    With settings that only fit a classifier to features of given weights, the features are computed once and
    classifiers are fitted to shares of them. Otherwise a network is trained for each share and seed: for as many
    steps as on all pictures, because otherwise small shares would be judged by trainings that are too short, and
    without a choice by the validation pictures, which measure the accuracy. Finished runs in `output` are not
    trained again. The test pictures are not part of the answer.

    Args:
        base: Settings of all trainings; seeds and shares are replaced.
        target: Accuracy asked for, a fraction; None for what twice the pictures would bring.
        shares: Of the training pictures of every class, ascending; the last one is 1.
        seeds: Number of trainings for each share, each with subsets of its own.
        output: The folder of the forecast; new, empty, or of the same one.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        callbacks: Returns the Keras callbacks of a run from its title and the plan.
        on_plan: Called with the plan for all pictures and lines that say how the shares are trained and tested,
            before anything is written.
        on_progress: Called with a line about what takes a while.

    Returns:
        The forecast. Also written: forecast.json, forecast.png, and for trainings experiment.json.

    Raises:
        SepnetsError: The settings, the pictures or `output` cannot be used.
        InterruptedRunError: Ctrl-C; finished runs are kept.
    """
    output = Path(output)
    _check(base, target, shares, seeds)
    only_fits = fits_only(base)
    if only_fits:
        _check_output_of_fits(output)
    else:
        base = with_training(base, keep="final", patience=0)
    runs = {(share, seed): output / f"fraction-{share:g}/seed-{seed}" for share in shares for seed in range(seeds)}
    plan = make_plan(
        with_choices_of_runs(base, runs.values(), *MEASURED),
        download=download,
        cache_folder=cache_folder,
        on_progress=on_progress,
    )
    if only_fits and plan.config.transfer.classifier != "fitted":
        raise SepnetsError(
            "Nothing would be trained; name weights whose features a classifier can be fitted to (--weights), or "
            "a number of epochs. Received: training.epochs=0"
        )
    folds = FOLDS if only_fits and plan.splits.num_examples("validation") < ENOUGH else 0
    tested_on = _describe_tested(plan, folds)
    if on_plan:
        on_plan(plan, _describe_trainings(plan, shares, seeds, tested_on))
    if only_fits:
        measured = fit_to_shares(plan, shares, seeds, folds, cache_folder, on_progress)
    else:
        digests = {role: plan.splits.digest(role) for role in ("train", "validation")}
        open_experiment(output, base, pictures_of_forecast=digests)  # others would be other shares
        trained = _train_shares(base, plan, runs, callbacks, cache_folder)
        measured = _read_runs(plan, trained, shares, seeds, cache_folder)
    overall, classes = _answer(plan, measured, target)
    result = Forecast(
        output=output,
        dataset=plan.splits.source.name,
        method="fitted classifiers" if only_fits else "trainings",
        tested_on=tested_on,
        seeds=seeds,
        shares=list_shares(shares, measured),
        overall=overall,
        classes=classes,
    )
    _write(result, measured)
    return result


def _check(base: RunConfig, target: float | None, shares: Sequence[float], seeds: int) -> None:
    """Refuse what a forecast cannot be made of."""
    if target is not None and not 0 < target < 1:
        raise SepnetsError(f"The target is an accuracy between 0 and 1, such as 0.95. Received: {target:g}")
    if sorted({*shares}) != [*shares] or len(shares) < FEWEST_SIZES or shares[0] <= 0 or shares[-1] != 1:
        raise SepnetsError(
            f"The shares of the training pictures ascend to 1, and a curve needs at least {FEWEST_SIZES} of them, "
            f"such as 0.25,0.5,1. Received: {','.join(f'{share:g}' for share in shares)}"
        )
    if seeds < 1:
        raise SepnetsError(f"A forecast needs at least one seed. Received: seeds={seeds}")
    values, defaults = (flatten(config.model_dump()) for config in (base, RunConfig()))
    for key in OWN:
        if values[key] != defaults[key]:
            raise SepnetsError(f"A forecast itself chooses {key}; leave it out. Received: {key}={values[key]}")
    if base.training.epochs == "auto":
        raise SepnetsError(
            "All shares are trained for the same number of steps; set training.epochs. "
            "Received: training.epochs='auto'"
        )


def _check_output_of_fits(output: Path) -> None:
    """Refuse a folder with anything but an earlier forecast of fitted classifiers, which is replaced."""
    if (output / FILE).exists() or not (output / RESULT).is_file():
        check_output(output)


def _describe_tested(plan: Plan, folds: int) -> str:
    """Return on which pictures the accuracy is measured, in words."""
    validation = plan.splits.num_examples("validation")
    if not folds:
        return counted(validation, "validation picture")
    total = validation + plan.splits.num_examples("train")
    pictures = counted(total, "training and validation picture")
    return f"{pictures} in {folds} folds, each by classifiers that have not seen it"


def _describe_trainings(plan: Plan, shares: Sequence[float], seeds: int, tested_on: str) -> list[str]:
    """Return lines that say how the shares are trained and tested."""
    several = f"{', '.join(f'{share:.4g}' for share in shares)} of the training pictures of every class"
    if fits_only(plan.config):
        how = f"classifiers fitted to {several}, {counted(seeds, 'seed')}; the features are computed once"
    else:
        how = (
            f"{counted(len(shares) * seeds, 'training')}, on {several}, {counted(seeds, 'seed')}; each takes "
            f"{plan.steps:,} steps, so that small shares are not trained too briefly, and keeps its last network, "
            "so that the pictures that measure the accuracy choose nothing"
        )
    return [how, f"tested on {tested_on}"]


def _train_shares(
    base: RunConfig,
    plan: Plan,
    runs: Mapping[tuple[float, int], Path],
    callbacks: Callbacks,
    cache_folder: Path | None,
) -> list[Run]:
    """Train the runs, by share and seed, that are missing, for as many steps as the plan for all pictures has."""
    steps = plan.steps_per_epoch * plan.epochs
    shared = with_training(with_choices(base, plan.config, *MEASURED), min_steps=steps)
    planned = []
    for (share, seed), run in runs.items():
        data = shared.data.model_copy(update={"training_fraction": share, "subset_seed": seed})
        config = with_training(shared.model_copy(update={"data": data}), seed=seed)
        planned.append(PlannedRun(run, config, f"{share:.4g} of the pictures, seed {seed}"))
    return train_all(
        planned,
        total=len(planned),
        callbacks=lambda title: callbacks(title, plan),
        cache_folder=cache_folder,
    )


def _read_runs(
    plan: Plan, runs: Sequence[Run], shares: Sequence[float], seeds: int, cache_folder: Path | None
) -> Measured:
    """Return what finished runs, for each share those of all seeds, say to the validation pictures."""
    names = plan.splits.class_names
    counts, wrong, labels = np.zeros((len(shares), len(names))), [], np.zeros(0, int)
    for place, run in enumerate(runs):
        if not run.has("predictions-validation.csv"):
            evaluate(run, "validation", cache_folder=cache_folder, must_keep=True)
        rows = read_predictions(run, "predictions-validation.csv")
        wrong.append([row.label != row.predicted for row in rows])
        labels = np.array([names.index(row.label) for row in rows])
        split, chosen = assign_parts(plan.splits.source, run.config.data)["train"]
        of_run = plan.splits.source.index(split).labels
        of_run = of_run if chosen is None else of_run[chosen]
        counts[place // seeds] += np.bincount(of_run, minlength=len(names)) / seeds
    by_share = np.array(wrong).reshape(len(shares), seeds, len(labels))
    return Measured(counts, by_share.swapaxes(0, 1), labels)


def _answer(plan: Plan, measured: Measured, target: float | None) -> tuple[Growth, list[Growth]]:
    """Return the answers for all pictures and for each class that was tested."""
    there = plan.splits.class_counts("train")
    classes = [
        describe_growth(curve_of(measured, label), int(there[label]), target, plan.splits.class_names[label])
        for label in np.unique(measured.labels)
    ]
    return describe_growth(curve_of(measured), int(there.sum()), target, None), classes


def _write(result: Forecast, measured: Measured) -> None:
    """Write forecast.json and forecast.png."""
    picture = draw_growth(
        curve_of(measured),
        1 - measured.wrong.mean(axis=2),
        there=result.overall.num_examples,
        target=result.overall.target,
        title=f"{DatasetName.parse(result.dataset).short}: {result.overall.sentence}",
        levels=(LEVEL, WIDER_LEVEL),
    )
    try:
        result.output.mkdir(parents=True, exist_ok=True)
        write_file(result.output / PICTURE, picture)
        write_file(result.output / RESULT, to_json_bytes(result.to_json()))
    except OSError as error:
        raise SepnetsError(f"The output folder cannot be written: {error}") from error
