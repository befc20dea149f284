"""A change under test: two variants of a network that differ in it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.settings.files import make_config, override
from keras_sepnets.settings.schema import RunConfig


class Variant(NamedTuple):
    """A name and the settings of the network that make the variant."""

    name: str
    settings: dict[str, Any]


class Ablation(NamedTuple):
    """A change under test, from the reference to the ablated variant."""

    reference: Variant
    ablated: Variant


def intermediate_relu_ablation(*, intermediate_relu: bool) -> Ablation:
    """Return the ablation of the ReLU between the depthwise and the pointwise step (Xception, Figure 10).

    Args:
        intermediate_relu: True to test adding the ReLU to the paper's network, which has none; False to test
            removing it from the network with it.
    """
    with_relu = Variant("intermediate_relu", {"intermediate_activation": "relu"})
    without = Variant("no_intermediate_relu", {"intermediate_activation": "linear"})
    return Ablation(without, with_relu) if intermediate_relu else Ablation(with_relu, without)


def setting_ablation(base: RunConfig, changes: Sequence[str]) -> Ablation:
    """Return the ablation of any of a network's settings: the base against the base with these changes.

    Args:
        base: The settings of the reference.
        changes: Texts such as `model.residual=false`.

    Raises:
        SepnetsError: A change is not one of the network's settings, or changes nothing.
    """
    if not changes:
        raise SepnetsError("An ablation needs a change to test, such as model.residual=false.")
    reference: dict[str, Any] = {}
    ablated: dict[str, Any] = {}
    for text in changes:
        key = text.partition("=")[0].strip()
        if not key.startswith("model.") or key == "model.name":
            raise SepnetsError(
                "An ablation changes settings of one network, such as model.residual=false; other settings are "
                f"the same for both variants. Received: {text!r}"
            )
        before, after = base.model.model_dump(), override(base, text).model.model_dump()
        setting = key.removeprefix("model.")
        if setting in ablated or before[setting] == after[setting]:
            raise SepnetsError(f"This changes nothing, or the same setting again. Received: {text!r}")
        reference[setting], ablated[setting] = before[setting], after[setting]
    words = {setting: "none" if value is None else str(value).lower() for setting, value in ablated.items()}
    name = ",".join(f"{setting}={word}" for setting, word in words.items())
    return Ablation(Variant("reference", reference), Variant(re.sub(r"[^\w.,=-]+", "-", name), ablated))


def apply_variant(variant: Variant, base: RunConfig) -> RunConfig:
    """Return the settings of a variant; raise SepnetsError if its network does not have the changed settings."""
    tree = base.model_dump(exclude_unset=True)  # settings that the user left open stay open
    tree["model"] = base.model.model_dump()
    missing = set(variant.settings) - set(tree["model"])
    if missing:
        raise SepnetsError(
            f"{base.model.name} cannot be ablated this way: it has no {sorted(missing)[0]}; name a setting "
            f"that it has, as in --change model.alpha=0.5, or another network. Received: --model {base.model.name}"
        )
    tree["model"].update(variant.settings)
    return make_config(tree)


def check_is_free(base: RunConfig, ablation: Ablation) -> None:
    """Refuse settings that the ablation itself changes, and settings with which its runs would differ."""
    training = base.training
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
    if training.seed:
        raise SepnetsError(
            "An ablation trains with the seeds 0, 1, ...; set their number with --seeds and leave training.seed "
            f"out. Received: training.seed={training.seed}"
        )
    for setting in ablation.reference.settings:
        value = getattr(base.model, setting)
        if value not in (ablation.reference.settings[setting], type(base.model).model_fields[setting].default):
            raise SepnetsError(
                f"This ablation itself changes model.{setting}; leave it out. Received: model.{setting}={value!r}"
            )
