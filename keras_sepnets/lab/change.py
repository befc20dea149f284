"""A change under test: two variants of a run's settings that differ in it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.settings.files import make_config, override
from keras_sepnets.settings.layers import Layer, flatten
from keras_sepnets.settings.schema import RunConfig

# What makes the tests of two runs comparable, or pairs them.
SHARED = (
    "model.name", "data.dataset", "data.holdout_fraction", "data.on_bad_picture", "data.overfit", "data.folds",
    "data.fold", "data.path_column", "data.label_column", "data.class_names", "data.max_megapixels",
    "training.seed",
)  # fmt: skip
# With these, the training loss of both variants is not the same quantity.
OTHER_LOSS = (
    "training.label_smoothing", "training.class_weights", "training.epochs", "training.min_steps",
    "training.stop_after", "data.augment",
)  # fmt: skip


class Variant(NamedTuple):
    """A name and the settings, by dotted key, that make the variant."""

    name: str
    settings: dict[str, Any]


class Ablation(NamedTuple):
    """A change under test, from the reference to the ablated variant."""

    reference: Variant
    ablated: Variant

    @property
    def changes_network(self) -> bool:
        """Whether only settings of the network change."""
        return all(key.startswith("model.") for key in self.ablated.settings)

    @property
    def changes_loss(self) -> bool:
        """Whether the training losses of both variants cannot be compared."""
        return any(key.startswith(OTHER_LOSS) for key in self.ablated.settings)


def intermediate_relu_ablation(*, intermediate_relu: bool) -> Ablation:
    """Return the ablation of the ReLU between the depthwise and the pointwise step (Xception, Figure 10).

    Args:
        intermediate_relu: True to test adding the ReLU to the paper's network, which has none; False to test
            removing it from the network with it.
    """
    with_relu = Variant("intermediate_relu", {"model.intermediate_activation": "relu"})
    without = Variant("no_intermediate_relu", {"model.intermediate_activation": "linear"})
    return Ablation(without, with_relu) if intermediate_relu else Ablation(with_relu, without)


def setting_ablation(base: RunConfig, changes: Sequence[str]) -> Ablation:
    """Return the ablation of any settings: the base against the base with these changes.

    Args:
        base: The settings of the reference.
        changes: Texts such as `model.residual=false` or `training.label_smoothing=0.1`.

    Raises:
        SepnetsError: A change changes nothing, or what both variants need in common.
    """
    if not changes:
        raise SepnetsError("An ablation needs a change to test, such as model.residual=false.")
    reference: dict[str, Any] = {}
    ablated: dict[str, Any] = {}
    for text in changes:
        key = text.partition("=")[0].strip()
        if key in SHARED:
            raise SepnetsError(
                "An ablation compares two variants of one network on the same test pictures, so it cannot change "
                f"{key}; choose another setting, such as training.label_smoothing=0.1. Received: {text!r}"
            )
        before, after = values_of(base), values_of(override(base, text))
        changed = {one: value for one, value in after.items() if value != before.get(one)}
        if not changed or changed.keys() & ablated.keys():
            raise SepnetsError(f"This changes nothing, or the same setting again. Received: {text!r}")
        reference |= {one: before.get(one) for one in changed}
        ablated |= changed
    words = {
        key.removeprefix("model."): "none" if value is None else str(value).lower()
        for key, value in ablated.items()
    }
    name = ",".join(f"{setting}={word}" for setting, word in words.items())
    return Ablation(Variant("reference", reference), Variant(re.sub(r"[^\w.,=-]+", "-", name), ablated))


def apply_variant(variant: Variant, base: RunConfig) -> RunConfig:
    """Return the settings of a variant; raise SepnetsError if its network does not have the changed settings."""
    values = values_of(base)
    missing = [key for key in variant.settings if key.startswith("model.") and key not in values]
    if missing:
        raise SepnetsError(
            f"{base.model.name} cannot be ablated this way: it has no {missing[0].removeprefix('model.')}; name a "
            "setting that it has, as in --change model.alpha=0.5, or another network. "
            f"Received: --model {base.model.name}"
        )
    tree = base.model_dump(exclude_unset=True)  # settings that the user left open stay open
    tree["model"] = base.model.model_dump()
    changed = {key: value for key, value in variant.settings.items() if value != values.get(key)}
    return make_config(Layer.of(changed).over(Layer.of(flatten(tree))).tree())


def check_is_free(base: RunConfig, ablation: Ablation) -> None:
    """Refuse settings that the ablation itself changes, and settings with which its runs would differ."""
    for variant in ablation:
        training = apply_variant(variant, base).training
        for key, value in (("batch_size", training.batch_size), ("epochs", training.epochs)):
            if value == "auto":
                raise SepnetsError(
                    f"The runs of an ablation have the same batch size and number of epochs; set training.{key}. "
                    f"Received: training.{key}='auto'"
                )
        if training.patience:
            raise SepnetsError(
                "The runs of an ablation have the same number of epochs; leave training.patience out. "
                f"Received: training.patience={training.patience}"
            )
    if base.training.seed:
        raise SepnetsError(
            "An ablation trains with the seeds 0, 1, ...; set their number with --seeds and leave training.seed "
            f"out. Received: training.seed={base.training.seed}"
        )
    values, defaults = values_of(base), flatten({"model": type(base.model)().model_dump()})
    for key, own in ablation.reference.settings.items():
        given = values.get(key)
        if given not in (own, defaults.get(key)):
            raise SepnetsError(f"This ablation itself changes {key}; leave it out. Received: {key}={given!r}")


def values_of(config: RunConfig) -> dict[str, Any]:
    """Return every setting by dotted key; of the amounts of augmentation, those that override the preset's."""
    amounts = config.data.augmentation
    tree = config.model_dump()
    tree["data"]["augmentation"] = amounts.model_dump(exclude_unset=True) if amounts else {}
    return flatten(tree)
