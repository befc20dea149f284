"""The changes that have an option of their own, each the question of a paper, as variants of an experiment."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.lab.definition import FILE, WRITTEN, Experiment, Variant, folder_name
from keras_sepnets.lab.matrix import check_free, configure, variant_of
from keras_sepnets.runs.folder import dataset_slug, runs_root
from keras_sepnets.settings.files import parse_assignment
from keras_sepnets.settings.layers import flatten
from keras_sepnets.settings.schema import NETWORK_SETTINGS, RunConfig

ACTIVATION = "model.intermediate_activation"
RELU = Variant(name="intermediate_relu", settings={ACTIVATION: "relu"})
NO_RELU = Variant(name="no_intermediate_relu", settings={ACTIVATION: "linear"})


class Change(NamedTuple):
    """What an option compares: the reference first."""

    question: str
    source: str
    variants: tuple[Variant, ...]
    network: str = "xception"  # whose paper asks, and which is trained unless another is named


CHANGES = {
    "intermediate_relu": Change(
        "Should there be a ReLU between the depthwise and the pointwise step?",
        "Xception, arXiv:1610.02357, section 4.7 and Figure 10",
        (NO_RELU, RELU),
    ),
    "no_intermediate_relu": Change(
        "Should there be a ReLU between the depthwise and the pointwise step?",
        "Xception, arXiv:1610.02357, section 4.7 and Figure 10",
        (RELU, NO_RELU),
    ),
    "no_residual": Change(
        "What do the shortcuts around the modules do?",
        "Xception, arXiv:1610.02357, Figure 9; MobileNetV2, arXiv:1801.04381, Figure 6b",
        (
            Variant(name="residual", settings={"model.residual": True}),
            Variant(name="no_residual", settings={"model.residual": False}),
        ),
    ),
    "standard_convolution": Change(
        "What do depthwise-separable convolutions cost in accuracy?",
        "MobileNets, arXiv:1704.04861, Table 4",
        (
            Variant(name="separable", settings={"model.separable": True}),
            Variant(name="standard_convolution", settings={"model.separable": False}),
        ),
        "mobilenet",
    ),
    "shallow": Change(
        "What do the five inner blocks of 512 filters do?",
        "MobileNets, arXiv:1704.04861, Table 5",
        (
            Variant(name="deep", settings={"model.shallow": False}),
            Variant(name="shallow", settings={"model.shallow": True}),
        ),
        "mobilenet",
    ),
    "nonlinear_bottleneck": Change(
        "Should bottlenecks be linear?",
        "MobileNetV2, arXiv:1801.04381, Figure 6a",
        (
            Variant(name="linear_bottleneck", settings={"model.bottleneck_activation": "none"}),
            Variant(name="nonlinear_bottleneck", settings={"model.bottleneck_activation": "relu6"}),
        ),
        "mobilenet_v2",
    ),
    "order": Change(
        "Which step of a separable convolution should come first?",
        "Xception, arXiv:1610.02357, section 2 and Figure 4",
        (
            Variant(name="spatial_first", settings={"model.order": "spatial_first"}),
            Variant(name="pointwise_first", settings={"model.order": "pointwise_first"}),
        ),
    ),
}
# Xception has a standard convolution as one segment of all channels.
STANDARD_XCEPTION = (
    Variant(name="separable", settings={"model.segments": "none"}),
    Variant(name="standard_convolution", settings={"model.segments": 1}),
)
LISTS = {  # option with a list of values -> setting
    "segments": "model.segments",
    "alphas": "model.alpha",
    "image_sizes": "data.image_size",
}


def usual_network(option: str | None) -> str:
    """Return the network that an option is about."""
    return CHANGES[option].network if option else "xception"


def experiment_of_options(
    settings: RunConfig,
    *,
    given: Collection[str] = (),
    option: str | None = None,
    changes: Sequence[str] = (),
    lists: Mapping[str, Sequence[Any]] | None = None,
    **others: Any,
) -> Experiment:
    """Return the experiment that options ask for.

    Args:
        settings: The settings of all runs.
        given: Dotted keys that the user set.
        option: A key of `CHANGES`.
        changes: Texts such as `model.residual=false`, which make one variant.
        lists: Values by a key of `LISTS`. Without another change, the first one makes the variants; the others
            cross with them.
        others: Further keys of the experiment.

    Raises:
        SepnetsError: Several changes are asked for, or one that changes nothing.
    """
    base = given_settings(settings)
    asked_lists = {LISTS[name]: values for name, values in (lists or {}).items() if values}
    grid = {key: ["none" if value == "all" else value for value in values] for key, values in asked_lists.items()}
    if option and changes:
        raise SepnetsError("Test one change at a time: --change or an option such as --no-residual, not both.")
    asked: dict[str, Any] = {}
    if option:
        change = CHANGES[option]
        variants = list(change.variants)
        if option == "standard_convolution" and settings.model.name == "xception":
            variants = list(STANDARD_XCEPTION)
        asked = {"question": change.question, "source": change.source}
    elif changes:
        variants = _changed(settings, base, changes)
    elif grid:
        key, values = next(iter(grid.items()))
        del grid[key]
        name = key.rpartition(".")[2]
        if any(value in values[:place] for place, value in enumerate(values)):
            raise SepnetsError(f"A value of {key} is named twice. Received: {values}")
        variants = [Variant(name=f"{name}={_said(value)}", settings={key: value}) for value in values]
    else:
        raise SepnetsError("An ablation needs a change to test, such as --change model.residual=false.")
    _check_not_given(settings, given, variants, grid)
    return Experiment(base=base, variants=variants, grid=grid, **(asked | others))


def _said(value: Any) -> str:
    return "all" if value in (None, "none") else f"{value:g}"


def _changed(settings: RunConfig, base: Mapping[str, Any], changes: Sequence[str]) -> list[Variant]:
    """Return the base, and the base with these changes."""
    changed: dict[str, Any] = {}
    for text in changes:
        values = parse_assignment(text).values
        check_free(values)
        if configure(base, values) == settings or values.keys() & changed.keys():
            raise SepnetsError(f"This changes nothing, or the same setting again. Received: {text!r}")
        changed |= values
    before = flatten(settings.model_dump())
    # What is open stays open; in a file, "none" would be a choice.
    reference = {key: before[key] for key in changed if before.get(key) is not None}
    return [Variant(name="reference", settings=reference), variant_of(changed)]


def _check_not_given(
    settings: RunConfig, given: Collection[str], variants: Sequence[Variant], grid: Mapping[str, Any]
) -> None:
    """Refuse settings that the ablation itself changes."""
    values = flatten(settings.model_dump())
    defaults = flatten({"model": NETWORK_SETTINGS[settings.model.name]().model_dump()})
    for key in (*variants[0].settings, *grid):
        fitting = (variants[0].settings.get(key, grid.get(key)), defaults.get(key))
        if key in given and values.get(key) not in fitting:
            raise SepnetsError(
                f"This ablation itself changes {key}; leave it out. Received: {key}={values.get(key)!r}"
            )


def given_settings(settings: RunConfig) -> dict[str, Any]:
    """Return the settings that are not left open, by dotted key."""
    return flatten(settings.model_dump(mode="json", exclude_unset=True))


def default_output(experiment: Experiment, settings: RunConfig, lists: Mapping[str, Any] | None = None) -> Path:
    """Return the default folder of an experiment that options ask for, where the same command finds it again."""
    names = [name for name, values in (lists or {}).items() if values]
    if not (names and LISTS[names[0]] in experiment.variants[0].settings):
        names.insert(0, folder_name(experiment.variants[-1].name))
    return runs_root() / f"ablate-{settings.model.name}-{dataset_slug(settings)}-{'-'.join(names)}"


def output_of_file(path: Path) -> Path:
    """Return the folder of an experiment from a file: its own if `sepnets ablate` wrote it, else one in runs/."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file() or file.read_text(encoding="utf-8", errors="replace").startswith(WRITTEN):
        return file.parent
    return runs_root() / (file.resolve().parent.name if file.name == FILE else file.stem)
