"""The plan of a run that continues, and where its pictures are now."""

from pathlib import Path

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.samples import describe_change
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.inference.pictures import check_still_there
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.plan import Plan, make_plan


def settings_of(run: Run, dataset: str | None) -> RunConfig:
    """Return the settings of a run, with the place where its picture files are now, if they have moved."""
    config = run.config
    if dataset is None:
        check_still_there(run)
        return config
    name = DatasetName.parse(dataset)
    if not (name.is_own_pictures and DatasetName.parse(config.data.dataset).is_own_pictures):
        raise SepnetsError(
            f"A run continues with its data set, {printable(config.data.dataset)}; only picture files may be in "
            f"another place. Received: dataset={printable(dataset)!r}"
        )
    return config.model_copy(update={"data": config.data.model_copy(update={"dataset": str(name.resolve())})})


def plan_again(run: Run, config: RunConfig, cache_folder: Path | None, *, moved: bool) -> Plan:
    """Return the plan of a run that continues; raise SepnetsError if it cannot continue exactly."""
    if not run.has_checkpoints:
        raise SepnetsError(
            f"The run has no checkpoint to resume from; train it again. Received: {str(run.path)!r}"
        )
    plan = make_plan(config, cache_folder=cache_folder, load_weights=False)
    check_same_data(run, plan, moved=moved)
    return plan


def check_same_data(run: Run, plan: Plan, *, moved: bool) -> None:
    """Raise SepnetsError unless the data are those that the run began with, in the same place or another."""
    change = describe_change(run.read_data(), plan.splits.to_json(), moved=moved)
    if change:
        raise SepnetsError(
            f"The data have changed since the run began, so it cannot continue exactly: {change}. Restore the "
            f"data, or start a new run. Received: {printable(plan.splits.source.name)}"
        )
