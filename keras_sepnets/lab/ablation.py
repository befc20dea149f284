"""Ablating is comparing: the same network with and without one part, over paired seeds."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.intervals import PairedDifference, compare_pairs
from keras_sepnets.base.text import one_line
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.runs.folder import Run, check_output, dataset_slug, runs_root
from keras_sepnets.runs.plots import draw_ablation
from keras_sepnets.settings.files import make_config, override
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.plan import Plan, make_plan
from keras_sepnets.training.trainer import resume, train


class Variant(NamedTuple):
    """A name and the model settings that make the variant."""

    name: str
    settings: dict[str, Any]


class Ablation(NamedTuple):
    """A change under test: the reference, and the network that it turns into."""

    reference: Variant
    ablated: Variant


def intermediate_relu_ablation(*, intermediate_relu: bool) -> Ablation:
    """Return the ablation of the ReLU between the depthwise and the pointwise step (Xception, Figure 10).

    Args:
        intermediate_relu: Whether the change under test is to put the ReLU in (the reference is then the
            paper's network, without) or to take it out (the reference is then the network with it).
    """
    with_relu = Variant("intermediate_relu", {"intermediate_activation": "relu"})
    without = Variant("no_intermediate_relu", {"intermediate_activation": "linear"})
    return Ablation(without, with_relu) if intermediate_relu else Ablation(with_relu, without)


def setting_ablation(base: RunConfig, changes: Sequence[str]) -> Ablation:
    """Return the ablation of any of a network's settings: the base against the base with these changed.

    Args:
        base: The reference's settings.
        changes: Texts such as `model.residual=false`.

    Raises:
        SepnetsError: A change is not of the network's settings, or changes nothing.
    """
    if not changes:
        raise SepnetsError("An ablation needs a change to test, such as model.residual=false.")
    reference: dict[str, Any] = {}
    ablated: dict[str, Any] = {}
    for text in changes:
        key = text.partition("=")[0].strip()
        if not key.startswith("model.") or key == "model.name":
            raise SepnetsError(
                "An ablation changes settings of one network, such as model.residual=false; what else is to be "
                f"different from the defaults stays the same for both. Received: {text!r}"
            )
        before, after = base.model.model_dump(), override(base, text).model.model_dump()
        setting = key.removeprefix("model.")
        if setting in ablated or before[setting] == after[setting]:
            raise SepnetsError(f"This changes nothing, or the same setting again. Received: {text!r}")
        reference[setting], ablated[setting] = before[setting], after[setting]
    words = {setting: "none" if value is None else str(value).lower() for setting, value in ablated.items()}
    name = ",".join(f"{setting}={word}" for setting, word in words.items())
    return Ablation(Variant("reference", reference), Variant(re.sub(r"[^\w.,=-]+", "-", name), ablated))


def default_output(base: RunConfig, ablation: Ablation) -> Path:
    """Return the folder of an experiment that was not given one; the same command finds it again."""
    return runs_root() / f"ablate-{base.model.name}-{dataset_slug(base)}-{ablation.ablated.name}"


Callbacks: TypeAlias = Callable[[str, Plan], Sequence[keras.callbacks.Callback]]
TrainOne = Callable[[RunConfig, Path, str], Run]  # settings, run folder, title


@dataclass(frozen=True)
class VariantResult:
    """One variant over all seeds."""

    top1: list[float]  # final test accuracy, one a seed
    training_loss: list[float]  # mean of the loss curve over the epochs, one a seed
    parameters: int  # total
    multiply_adds: int
    runs: list[Run]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of results.json."""
        return {
            "top1": self.top1,
            "mean": float(np.mean(self.top1)),
            "std": _std(self.top1),
            "training_loss": self.training_loss,
            "training_loss_mean": float(np.mean(self.training_loss)),
            "training_loss_std": _std(self.training_loss),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "runs": [str(run.path) for run in self.runs],
        }


@dataclass(frozen=True)
class AblationResult:
    """Reference and ablated network, and their paired differences."""

    output: Path
    ablation: Ablation
    seeds: list[int]
    variants: dict[str, VariantResult]
    top1: PairedDifference
    training_loss: PairedDifference

    def to_json(self) -> dict[str, Any]:
        """Return the content of results.json, which is what `sepnets ablate --json` prints."""
        return {
            "experiment": str(self.output),
            "seeds": self.seeds,
            "variants": {name: variant.to_json() for name, variant in self.variants.items()},
            "comparison": self._comparison("top1", self.top1),
            "loss_comparison": self._comparison("training_loss", self.training_loss),
        }

    def _comparison(self, metric: str, difference: PairedDifference) -> dict[str, Any]:
        return {
            "metric": metric,
            "reference": self.ablation.reference.name,
            "ablated": self.ablation.ablated.name,
            "difference": difference.difference,
            "interval": list(difference.interval) if difference.interval else None,
            "verdict": difference.verdict,
        }


def ablate(
    base: RunConfig,
    ablation: Ablation,
    *,
    output: Path,
    seeds: int = 3,
    download: bool = False,
    cache_folder: Path | None = None,
    callbacks: Callbacks = lambda _title, _plan: (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> AblationResult:
    """Train the reference and the ablated network with paired seeds and compare them.

    A pair shares the initial weights of all layers of one name, the order of the pictures and their
    augmentation. Finished runs in `output` are kept and not trained again, so that an interrupted ablation goes
    on, and more seeds can be added.

    Args:
        base: What both variants share; its seed is replaced.
        ablation: The change under test.
        output: The folder of the experiment; new, empty, or of the same experiment.
        seeds: Number of pairs, trained with the seeds 0, 1, ...
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        callbacks: Gives Keras callbacks for the run of this title and plan.
        on_plan: Called with the plan of the reference before anything is written.
        on_progress: Told what is being measured for the plans.

    Returns:
        Both variants and their differences. Also written: experiment.json, results.json, learning_curves.png.

    Raises:
        SepnetsError: A variant cannot be trained with these settings, or `output` holds something else.
        InterruptedRunError: Ctrl-C; finished runs are kept.
    """
    if seeds < 1:
        raise SepnetsError(f"An ablation needs at least one seed. Received: seeds={seeds}")
    output = Path(output)
    configs = {variant.name: _apply(variant, _with_threads_of_runs(base, output)) for variant in ablation}
    _check_is_free(base, ablation)
    plan, other = (
        make_plan(config, download=download, cache_folder=cache_folder, on_progress=on_progress)
        for config in configs.values()
    )
    if plan.network.get_config()["layers"] == other.network.get_config()["layers"]:
        raise SepnetsError(
            "Both networks are the same, so there is nothing to compare. "
            f"Received: {ablation.reference.settings} against {ablation.ablated.settings}"
        )
    if on_plan:
        on_plan(plan)
    _open_experiment(output, base, ablation)

    def train_one(config: RunConfig, folder: Path, title: str) -> Run:
        run = Run(folder)
        if run.has_checkpoints:
            return resume(run, cache_folder=cache_folder, callbacks=callbacks(title, plan)).run
        return train(config, output=folder, cache_folder=cache_folder, callbacks=callbacks(title, plan)).run

    runs = _train_pairs(configs, output, seeds, train_one)
    variants = {name: _summarize(runs[name]) for name in configs}
    reference, ablated = (variants[variant.name] for variant in ablation)
    result = AblationResult(
        output=output,
        ablation=ablation,
        seeds=list(range(seeds)),
        variants=variants,
        top1=compare_pairs(reference.top1, ablated.top1, higher_is_better=True),
        training_loss=compare_pairs(reference.training_loss, ablated.training_loss, higher_is_better=False),
    )
    histories = {name: [run.read_history() for run in runs[name]] for name in configs}
    title = f"{base.model.name} on {base.data.dataset}, {seeds} seed{'s' if seeds > 1 else ''}"
    write_file(output / "learning_curves.png", draw_ablation(histories, title))
    write_file(output / "results.json", to_json_bytes(result.to_json()))
    return result


def _with_threads_of_runs(base: RunConfig, output: Path) -> RunConfig:
    """Return the settings with the number of threads that the experiment's runs have so far, if it is open."""
    if base.training.intra_op_threads != "auto":
        return base
    for file in sorted(output.glob("*/seed-*/config.json")):
        return _with(base, intra_op_threads=Run(file.parent).config.training.intra_op_threads)
    return base


def _apply(variant: Variant, base: RunConfig) -> RunConfig:
    tree = base.model_dump(exclude_unset=True)  # what was not said stays open
    tree["model"] = base.model.model_dump()
    missing = set(variant.settings) - set(tree["model"])
    if missing:
        raise SepnetsError(
            f"{base.model.name} cannot be ablated this way: it has no {sorted(missing)[0]}; name a setting "
            f"that it has, as in --change model.alpha=0.5, or another network. Received: --model {base.model.name}"
        )
    tree["model"].update(variant.settings)
    return make_config(tree)


def _check_is_free(base: RunConfig, ablation: Ablation) -> None:
    """Refuse settings that the ablation would override, or in which its runs would differ."""
    training = base.training
    for key, value in (("batch_size", training.batch_size), ("epochs", training.epochs)):
        if value == "auto":
            raise SepnetsError(
                "The runs of an ablation have the same number of pictures a step and of epochs; say it. "
                f"Received: training.{key}='auto'"
            )
    if training.patience:
        raise SepnetsError(
            "The runs of an ablation have the same number of epochs; leave training.patience out. "
            f"Received: training.patience={training.patience}"
        )
    if base.training.seed:
        raise SepnetsError(
            "An ablation trains with the seeds 0, 1, ...; say how many with --seeds and leave training.seed out. "
            f"Received: training.seed={base.training.seed}"
        )
    for setting in ablation.reference.settings:
        value = getattr(base.model, setting)
        if value not in (ablation.reference.settings[setting], type(base.model).model_fields[setting].default):
            raise SepnetsError(
                f"This ablation itself changes model.{setting}; leave it out. Received: model.{setting}={value!r}"
            )


def _with(config: RunConfig, **settings: Any) -> RunConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


def _open_experiment(output: Path, base: RunConfig, ablation: Ablation) -> None:
    """Write experiment.json, or make sure that the one that is there says the same."""
    experiment = {
        "base": base.model_dump(mode="json"),
        "reference": list(ablation.reference),
        "ablated": list(ablation.ablated),
    }
    file = output / "experiment.json"
    if file.is_file():
        try:
            found = json.loads(file.read_bytes())
            found["base"] = make_config(found["base"]).model_dump(mode="json")  # settings that are newer than it
        except (ValueError, TypeError, KeyError) as error:
            raise SepnetsError(f"{file} is damaged: {one_line(error)}") from None
        if found != experiment:
            raise SepnetsError(
                f"The output folder holds another experiment: {_first_difference(found, experiment)}; name a new "
                f"one with --output. Received: {str(output)!r}"
            )
        return
    try:
        check_output(output)
        output.mkdir(parents=True, exist_ok=True)
        write_file(file, to_json_bytes(experiment))
    except OSError as error:
        raise SepnetsError(f"The output folder cannot be written: {error}") from error


def _first_difference(found: Any, wanted: Any, path: str = "") -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                return _first_difference(found.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    return f"its {path} is {found!r}, not {wanted!r}"


def _train_pairs(
    configs: dict[str, RunConfig],
    output: Path,
    seeds: int,
    train_one: TrainOne,
) -> dict[str, list[Run]]:
    """Return for each variant its finished runs, one a seed; train those that are missing, pair by pair."""
    runs: dict[str, list[Run]] = {name: [] for name in configs}
    for seed in range(seeds):
        for name, config in configs.items():
            title = f"{name}, seed {seed}"
            keras.backend.clear_session()
            try:
                run = _train_once(output / name / f"seed-{seed}", _with(config, seed=seed), title, train_one)
            except InterruptedRunError as error:
                finished = sum(map(len, runs.values()))
                raise type(error)(
                    f"Interrupted in {title}; {finished} of {seeds * len(configs)} runs are finished. "
                    "Run the same command again to go on with the others."
                ) from error
            runs[name].append(run)
    return runs


def _train_once(folder: Path, config: RunConfig, title: str, train_one: TrainOne) -> Run:
    """Return the finished run in `folder`; train it if there is none, or go on with it if it was interrupted."""
    run = Run(folder)
    if run.is_finished:
        if not run.has("evaluation-test.json"):
            evaluate(run, "test")
        return run
    if folder.exists() and not run.has_checkpoints:
        with run.locked():  # unless another process has just begun with it
            shutil.rmtree(folder)
    return train_one(config, folder, title)


def _summarize(runs: Sequence[Run]) -> VariantResult:
    cost = runs[0].read_json("cost.json")
    return VariantResult(
        top1=[run.read_json("evaluation-test.json")["top1"] for run in runs],
        training_loss=[float(np.mean([row["loss"] for row in run.read_history()])) for run in runs],
        parameters=cost["parameters"]["total"],
        multiply_adds=cost["multiply_adds"],
        runs=list(runs),
    )


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
