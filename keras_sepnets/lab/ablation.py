"""An ablation: a run with and without one part or setting, trained with paired seeds and compared."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.text import counted
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.lab.change import Ablation as Ablation
from keras_sepnets.lab.change import Variant as Variant
from keras_sepnets.lab.change import apply_variant, check_is_free
from keras_sepnets.lab.change import intermediate_relu_ablation as intermediate_relu_ablation
from keras_sepnets.lab.change import setting_ablation as setting_ablation
from keras_sepnets.lab.experiment import PlannedRun, open_experiment, train_all, with_choices_of_runs
from keras_sepnets.lab.results import AblationResult as AblationResult
from keras_sepnets.lab.results import summarize
from keras_sepnets.runs.folder import Run, dataset_slug, runs_root
from keras_sepnets.runs.plots import draw_ablation
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.plan import Plan, make_plan

Callbacks: TypeAlias = Callable[[str, Plan], Sequence[keras.callbacks.Callback]]


def default_output(base: RunConfig, ablation: Ablation) -> Path:
    """Return the default folder of an experiment, where the same command finds it again."""
    return runs_root() / f"ablate-{base.model.name}-{dataset_slug(base)}-{ablation.ablated.name}"


def ablate(
    base: RunConfig,
    ablation: Ablation,
    *,
    output: str | Path,
    seeds: int = 3,
    download: bool = False,
    cache_folder: Path | None = None,
    callbacks: Callbacks = lambda _title, _plan: (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> AblationResult:
    """Train the reference and the ablated variant with paired seeds and compare them.

    The runs of a pair share the initial weights of layers of the same name, the order of the pictures and, unless
    that is the change, their augmentation. Finished runs in `output` are not trained again, so that an interrupted
    ablation can be continued and more seeds can be added.

    Args:
        base: Settings of both variants; the seed is replaced.
        ablation: The change under test.
        output: The folder of the experiment; new, empty, or of the same experiment.
        seeds: Number of pairs, trained with the seeds 0, 1, ...
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        callbacks: Returns the Keras callbacks of a run from its title and plan.
        on_plan: Called with the plan of the reference before anything is written.
        on_progress: Called with a description before each measurement that a plan needs.

    Returns:
        Both variants and their differences. Also written: experiment.json, results.json, learning_curves.png.

    Raises:
        SepnetsError: A variant cannot be trained with these settings, or `output` holds something else.
        InterruptedRunError: Ctrl-C; finished runs are kept.
    """
    if seeds < 1:
        raise SepnetsError(f"An ablation needs at least one seed. Received: seeds={seeds}")
    output = Path(output)
    shared = with_choices_of_runs(base, sorted(output.glob("*/seed-*")), "intra_op_threads")
    configs = {variant.name: apply_variant(variant, shared) for variant in ablation}
    check_is_free(base, ablation)
    plans = {
        name: make_plan(config, download=download, cache_folder=cache_folder, on_progress=on_progress)
        for name, config in configs.items()
    }
    plan, other = plans.values()
    same_network = plan.network.get_config()["layers"] == other.network.get_config()["layers"]
    if same_network and (ablation.changes_network or plan.config == other.config):
        raise SepnetsError(
            f"Both {'networks' if ablation.changes_network else 'variants'} are the same, so there is nothing to "
            f"compare. Received: {ablation.reference.settings} against {ablation.ablated.settings}"
        )
    if on_plan:
        on_plan(plan)
    open_experiment(output, base, reference=list(ablation.reference), ablated=list(ablation.ablated))
    pairs = [
        PlannedRun(output / name / f"seed-{seed}", with_training(config, seed=seed), f"{name}, seed {seed}")
        for seed in range(seeds)
        for name, config in configs.items()
    ]
    finished = train_all(
        pairs,
        total=len(pairs),
        callbacks=lambda title: callbacks(title, plans[title.rpartition(",")[0]]),
        cache_folder=cache_folder,
    )
    runs: dict[str, list[Run]] = {name: finished[place :: len(configs)] for place, name in enumerate(configs)}
    result = summarize(output, ablation, runs)
    histories = {name: [run.read_history() for run in found] for name, found in runs.items()}
    title = f"{base.model.name} on {DatasetName.parse(base.data.dataset).short}, {counted(seeds, 'seed')}"
    write_file(output / "learning_curves.png", draw_ablation(histories, title))
    write_file(output / "results.json", to_json_bytes(result.to_json()))
    return result
