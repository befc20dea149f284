"""The matrix of an experiment: variants times grid are its arms, arms times seeds its runs."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.lab.definition import Experiment, Variant, folder_name
from keras_sepnets.lab.experiment import PlannedRun
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.layers import Layer, with_rate_for_weights
from keras_sepnets.settings.schema import DEFAULT_NETWORK, NETWORK_SETTINGS, RunConfig
from keras_sepnets.training.choices import with_training

# What makes the tests of all runs comparable, or pairs them; an arm cannot change it.
SHARED = (
    "data.dataset", "data.holdout_fraction", "data.on_bad_picture", "data.overfit", "data.folds", "data.fold",
    "data.path_column", "data.label_column", "data.class_names", "data.max_megapixels",
)  # fmt: skip
SEEDS = (
    "training.seed", "training.weights_seed", "training.order_seed", "training.augmentation_seed",
    "training.dropout_seed", "data.holdout_seed",
)  # fmt: skip
# With these, the training loss of two arms is not the same quantity.
OTHER_LOSS = (
    "training.label_smoothing", "training.class_weights", "training.epochs", "training.min_steps",
    "training.stop_after", "data.augment",
)  # fmt: skip


class Arm(NamedTuple):
    """A variant at a point of the grid."""

    name: str
    variant: str
    point: dict[str, Any]  # setting of the grid -> value
    settings: dict[str, Any]  # of the variant and the point, by dotted key
    config: RunConfig  # with the base, without a seed

    def folder(self, output: Path) -> Path:
        """Return the folder of the arm's runs."""
        return output / folder_name(self.name)


def arms_of(experiment: Experiment) -> list[Arm]:
    """Return the arms: at the first point of the grid all variants, then at the next one.

    Raises:
        SepnetsError: A setting is invalid, not one of the variant's network, or what all runs have in common; or
            two arms are the same.
    """
    check_base(experiment.base)
    arms = []
    for point in itertools.product(*experiment.grid.values()):
        at = dict(zip(experiment.grid, point, strict=True))
        for variant in experiment.variants:
            settings = {**variant.settings, **at}
            check_free(settings)
            name = ",".join([variant.name, *(f"{key.rpartition('.')[2]}={_word(at[key])}" for key in at)])
            config = configure(experiment.base, settings)
            _check_same_length(config)
            arms.append(Arm(name, variant.name, at, settings, config))
    _check_different(arms)
    return arms


def configure(base: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run; of the base of another network, those that this network has.

    Raises:
        SepnetsError: A setting is invalid, or the network does not have it.
    """
    before = base.get("model.name", DEFAULT_NETWORK)
    network = settings.get("model.name", before)
    shared = dict(base)
    if network in NETWORK_SETTINGS:
        known = {f"model.{field}" for field in NETWORK_SETTINGS[network].model_fields}
        everywhere = {f"model.{field}" for kind in NETWORK_SETTINGS.values() for field in kind.model_fields}
        missing = [key for key in settings if key in everywhere - known]
        if missing:
            raise SepnetsError(
                f"{network} cannot be ablated this way: it has no {missing[0].removeprefix('model.')}; name a "
                "setting that it has, as in --change model.alpha=0.5, or another network. "
                f"Received: --model {network}"
            )
        if network != before:
            shared = {key: value for key, value in base.items() if key in known or not key.startswith("model.")}
    layer = Layer.of(settings).over(Layer.of(shared))
    return make_config(with_rate_for_weights(layer).tree())


def check_base(base: Mapping[str, Any]) -> None:
    """Refuse a base that sets what the seeds of the experiment set."""
    for key in SEEDS:
        if base.get(key) not in (None, "none") and not (key == "training.seed" and base[key] == 0):
            raise SepnetsError(
                "An experiment trains with the seeds 0, 1, ...; set their number with --seeds and leave "
                f"{key} out. Received: {key}={base[key]}"
            )
    if base.get("data.folds"):
        raise SepnetsError(
            "An experiment tests all runs on the same pictures, so it has no folds; leave data.folds out. "
            f"Received: data.folds={base['data.folds']}"
        )


def check_free(settings: Mapping[str, Any]) -> None:
    """Refuse to change what all runs have in common."""
    for key in settings:
        if key in SHARED or key in SEEDS:
            raise SepnetsError(
                "An experiment compares its variants on the same test pictures and with the same seeds, so it "
                f"cannot vary {key}; choose another setting, such as training.label_smoothing=0.1. "
                f"Received: {key}={settings[key]!r}"
            )


def _check_same_length(config: RunConfig) -> None:
    """Refuse settings with which the length of a run depends on what was measured or on its validation."""
    for key in ("batch_size", "epochs"):
        if getattr(config.training, key) == "auto":
            raise SepnetsError(
                f"The runs of an experiment have the same batch size and number of epochs; set training.{key}. "
                f"Received: training.{key}='auto'"
            )
    if config.training.patience:
        raise SepnetsError(
            "The runs of an experiment have the same number of epochs; leave training.patience out. "
            f"Received: training.patience={config.training.patience}"
        )


def _check_different(arms: Sequence[Arm]) -> None:
    for number, arm in enumerate(arms):
        for other in arms[:number]:
            if folder_name(arm.name).lower() == folder_name(other.name).lower():
                raise SepnetsError(
                    f"Two arms have the name of one folder. Received: {other.name!r} and {arm.name!r}"
                )
            if arm.config == other.config:
                raise SepnetsError(same_arms(other, arm))


def same_arms(arm: Arm, other: Arm, what: str = "variants") -> str:
    """Return the sentence about two arms between which there is nothing to compare."""
    return (
        f"Both {what} are the same, so there is nothing to compare; change a setting of one of them. "
        f"Received: {arm.name} {arm.settings} against {other.name} {other.settings}"
    )


def with_seed(config: RunConfig, seed: int, fixed: Iterable[str] = ()) -> RunConfig:
    """Return the settings of a run: its seed moves every source of variation that is not fixed.

    Args:
        config: The settings of its arm.
        seed: The seed.
        fixed: Of weights, order, augmentation, dropout and split, those that are the same for every seed.
    """
    own = {f"{source}_seed": 0 for source in fixed if source != "split"}
    config = with_training(config, seed=seed, **own)
    if "split" in fixed:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"holdout_seed": seed})})


def plan_runs(
    output: Path, arms: Sequence[Arm], seeds: Iterable[int], fixed: Iterable[str] = ()
) -> list[PlannedRun]:
    """Return the runs, all arms with the first seed first."""
    return [
        PlannedRun(
            arm.folder(output) / f"seed-{seed}", with_seed(arm.config, seed, fixed), f"{arm.name}, seed {seed}"
        )
        for seed in seeds
        for arm in arms
    ]


def pairs_of(experiment: Experiment, arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Return which arms are compared, the reference first.

    At each point of the grid, the variants are compared with the first one there, or with each other. A single
    variant is compared along the grid.
    """
    groups = [list(arms)]
    if len(experiment.variants) > 1:
        size = len(experiment.variants)
        groups = [list(arms[start : start + size]) for start in range(0, len(arms), size)]
    if experiment.compare == "all pairs":
        return [pair for group in groups for pair in itertools.combinations(group, 2)]
    return [(group[0], other) for group in groups for other in group[1:]]


def changes_loss(arm: Arm, other: Arm) -> bool:
    """Whether the training losses of two arms are not the same quantity."""
    keys = {key for key in (*arm.settings, *other.settings) if arm.settings.get(key) != other.settings.get(key)}
    return any(key.startswith(OTHER_LOSS) for key in keys)


def _word(value: Any) -> str:
    return "none" if value is None else str(value).lower()


def variant_of(settings: Mapping[str, Any], name: str | None = None) -> Variant:
    """Return a variant with a name that says its settings."""
    said = ",".join(f"{key.removeprefix('model.')}={_word(value)}" for key, value in settings.items())
    return Variant(name=name or folder_name(said), settings=dict(settings))
