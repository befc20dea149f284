"""A cross-validation: each picture is tested once, by a network that has not seen it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import keras
import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.samples import describe_change
from keras_sepnets.lab.experiment import (
    PlannedRun,
    open_experiment,
    train_all,
    with_choices,
    with_choices_of_runs,
)
from keras_sepnets.lab.pooling import CrossValidation as CrossValidation
from keras_sepnets.lab.pooling import fold_folder, pool_folds
from keras_sepnets.runs.folder import Run, dataset_slug, runs_root
from keras_sepnets.runs.kept import kept_network
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.plan import Plan, make_plan

# What a plan chooses by measurement, which would otherwise be measured, and might differ, for each fold.
MEASURED = ("batch_size", "precision", "accelerate", "jit_compile", "intra_op_threads")


def default_output(base: RunConfig, folds: int) -> Path:
    """Return the default folder of a cross-validation, where the same command finds it again."""
    return runs_root() / f"{base.model.name}-{dataset_slug(base)}-{folds}-folds"


def cross_validate(
    base: RunConfig,
    folds: int,
    *,
    output: str | Path,
    final: bool = False,
    download: bool = False,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    callbacks: Callable[[str, Plan], Sequence[keras.callbacks.Callback]] = lambda _title, _plan: (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> CrossValidation:
    """Train a network for each fold on the other folds, and pool their predictions for the pictures left out.

    All labelled pictures of a folder or a manifest take part, whatever their split; of a TFDS data set, those of
    train. The folds are stratified by class and, if the manifest has groups, keep each group together; see
    `assign_folds`. Finished runs in `output` are not trained again, so that the same call continues an interrupted
    cross-validation.

    Args:
        base: The settings of all runs, with one seed. What the plan of the first fold measures holds for all.
        folds: Number of folds, at least 2.
        output: The folder of the cross-validation; new, empty, or of the same one.
        final: Whether to train one more network on every picture; its accuracy is that of the folds.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        checkpoint_every: See `train`.
        callbacks: Returns the Keras callbacks of a run from its title and the plan of the first fold.
        on_plan: Called with the plan of the first fold before anything is written.
        on_progress: Called with a description before each measurement that the plan needs.

    Returns:
        The accuracy over all pictures and that of each fold. Also written: experiment.json, results.json,
        predictions.csv, confusion.csv, confusion.png.

    Raises:
        SepnetsError: The pictures cannot be divided so, the settings cannot be used, or `output` holds something
            else.
        InterruptedRunError: Ctrl-C; finished runs are kept.
    """
    output = Path(output)
    check_settings_of_folds(base, folds)
    base = with_fold(base, 0, folds)
    runs = [fold_folder(output, fold) for fold in range(folds)]
    plan = make_plan(
        with_choices_of_runs(base, runs, *MEASURED),
        download=download,
        cache_folder=cache_folder,
        on_progress=on_progress,
    )
    if on_plan:
        on_plan(plan)
    open_experiment(output, base)
    _check_same_pictures(runs[0], plan)
    shared = with_choices(base, plan.config, *MEASURED)

    def planned() -> Iterator[PlannedRun]:
        for fold, run in enumerate(runs):
            yield PlannedRun(run, with_fold(shared, fold, folds), run.name)
        if final:
            yield PlannedRun(output / "final", settings_of_final(with_fold(shared, "none", folds), runs), "final")

    train_all(
        planned(),
        total=folds + final,
        callbacks=lambda title: callbacks(title, plan),
        cache_folder=cache_folder,
        checkpoint_every=checkpoint_every,
    )
    return pool_folds(output, cache_folder=cache_folder, must_keep=True)


def with_fold(config: RunConfig, fold: int | str, folds: int) -> RunConfig:
    """Return the settings of the run that is tested on a fold, or for "none" of the final one."""
    return config.model_copy(update={"data": config.data.model_copy(update={"folds": folds, "fold": fold})})


def check_settings_of_folds(base: RunConfig, folds: int) -> None:
    """Refuse settings with which the folds' accuracy would not be that of one procedure."""
    if folds < 2:
        raise SepnetsError(f"A cross-validation needs at least 2 folds. Received: folds={folds}")
    if base.data.fold != 0:
        raise SepnetsError(
            "A cross-validation tests on each fold in turn; leave data.fold out. "
            f"Received: data.fold={base.data.fold!r}"
        )
    if base.training.epochs == "auto":
        raise SepnetsError(
            "All folds are trained for the same number of epochs; set --epochs. Received: training.epochs='auto'"
        )


def settings_of_final(config: RunConfig, folds: Sequence[Path]) -> RunConfig:
    """Return the settings of the final network: no picture is left to tell it when to stop, so the folds do.

    It stops at the median share of the epochs after which the folds' networks are kept.

    Args:
        config: The settings of the final network.
        folds: The folders of the finished folds.
    """
    return with_training(config, patience=0, stop_after=float(np.median([*map(_kept_share, map(Run, folds))])))


def _kept_share(run: Run) -> float:
    """Return the share of its epochs after which a run's network is kept."""
    kept = kept_network(run)
    if kept is None or kept.epoch is None:
        return 1.0
    return kept.epoch / max(int(run.config.training.epochs), 1)


def _check_same_pictures(first: Path, plan: Plan) -> None:
    """Refuse to continue with other pictures: the folds would be other ones, too."""
    if not Run(first).has("data.json"):
        return
    recorded, now = Run(first).read_data(), plan.splits.to_json()
    if describe_change(recorded, {role: now[role] for role in ROLES}):
        raise SepnetsError(
            f"The pictures of {printable(plan.splits.source.name)} have changed since the cross-validation began, "
            "and with them the folds; restore them, or name a new folder with --output. "
            f"Received: {str(first.parent)!r}"
        )
