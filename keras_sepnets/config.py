"""What a run is: frozen, strict settings; people write TOML, run folders keep JSON."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from keras_sepnets.errors import SepnetsError, did_you_mean

Rate = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


def _none_word(value: Any) -> Any:
    """TOML has no null; people write "none"."""
    return None if value == "none" else value


def _linear_word(value: Any) -> Any:
    """Let "none" mean that there is no activation, where null means the paper's."""
    return "linear" if value == "none" else value


def _residual_word(value: Any) -> Any:
    """Let true and false choose between the paper's shortcut and none, as for Xception."""
    return {True: "bottleneck", False: None}[value] if isinstance(value, bool) else _none_word(value)


class _Settings(BaseModel):
    """The text under a field is what `sepnets models` says of it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class _NetworkConfig(_Settings):
    """What every network takes; the fields are the keyword arguments of its builder."""

    alpha: PositiveFloat = 1.0
    """width multiplier: scales every layer's filters"""
    bn_momentum: Rate | None = None
    """of batch norm's moving statistics; by default chosen from the number of training steps"""
    bn_epsilon: PositiveFloat = 1e-3
    """added to batch norm's variance"""


class MobileNetConfig(_NetworkConfig):
    """Settings of `build_mobilenet`."""

    name: Literal["mobilenet"] = "mobilenet"
    dropout: Rate = 1e-3
    """before the classifier"""
    separable: bool = True
    """depthwise-separable blocks; false for standard convolutions (Conv MobileNet, Table 4)"""
    shallow: bool = False
    """true leaves out the five blocks with 14x14x512 (Shallow MobileNet, Table 5)"""


class MobileNetV2Config(_NetworkConfig):
    """Settings of `build_mobilenet_v2`."""

    name: Literal["mobilenet_v2"] = "mobilenet_v2"
    dropout: Rate = 0.0
    """before the classifier"""
    residual: Annotated[Literal["bottleneck", "expansion"] | None, BeforeValidator(_residual_word)] = "bottleneck"
    """shortcuts between bottlenecks; or expansion, or none (Figure 6b)"""
    bottleneck_activation: Annotated[Literal["relu6"] | None, BeforeValidator(_none_word)] = None
    """none by default: linear bottlenecks; or relu6 (Figure 6a)"""


class XceptionConfig(_NetworkConfig):
    """Settings of `build_xception`."""

    name: Literal["xception"] = "xception"
    dropout: Rate = 0.5
    """before the classifier"""
    intermediate_activation: Annotated[Literal["linear", "relu", "elu"] | None, BeforeValidator(_linear_word)] = (
        None
    )
    """linear, relu or elu between the two steps (Figure 10); by default linear, relu if pointwise comes first"""
    residual: bool = True
    """shortcuts around the modules; or false (Figure 9)"""
    middle_repeats: Annotated[int, Field(ge=0)] = 8
    """number of middle-flow modules"""
    segments: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)] = None
    """of the channels in a spatial step (section 5): by default one a channel; 1 is standard, 3 or 4 Inception"""
    order: Literal["spatial_first", "pointwise_first"] = "spatial_first"
    """or pointwise_first: the extreme Inception module (Figure 4)"""
    fully_connected: bool = False
    """true for two layers of 4096 units before the classifier (Figure 5, optional)"""


class InceptionV3Config(_NetworkConfig):
    """Settings of `build_inception_v3`."""

    name: Literal["inception_v3"] = "inception_v3"
    dropout: Rate = 0.5
    """before the classifier"""


ModelConfig = Annotated[
    MobileNetConfig | MobileNetV2Config | XceptionConfig | InceptionV3Config, Field(discriminator="name")
]


class AugmentationConfig(_Settings):
    """How training pictures vary, each amount drawn anew for every picture; the defaults change nothing."""

    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the picture's area that a random crop has at least; 1 takes the central crop of evaluation"""
    crop_aspect: Annotated[float, Field(ge=1)] = 4 / 3
    """a random crop is at most so many times as wide as high, or as high as wide"""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """degrees"""
    zoom: Rate = 0.0
    """share of the size"""
    shift: Rate = 0.0
    """share of the size, in each direction; the edge is repeated: pad and crop"""
    flip: bool = False
    """half of the pictures are mirrored left to right"""
    brightness: Rate = 0.0
    """share of the full range"""
    contrast: Rate = 0.0
    """share of the distance to the picture's mean"""
    saturation: Rate = 0.0
    """share of the distance to grey"""
    randaugment: Annotated[int, Field(ge=0, le=4)] = 0
    """number of RandAugment operations (arXiv:1909.13719)"""
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    """of RandAugment, of 10"""
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """probability that a rectangle of 2 to 33 % of the area becomes grey (arXiv:1708.04896)"""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """alpha of MixUp (arXiv:1710.09412)"""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """alpha of CutMix (arXiv:1905.04899); with both, each batch gets one of them"""

    @property
    def mixes(self) -> bool:
        """Tell whether pictures are mixed, so that labels become probabilities."""
        return self.mixup > 0 or self.cutmix > 0

    def describe(self) -> str:
        """Return what differs from no change, in a line."""
        changes = self.model_dump(exclude_defaults=True)
        return ", ".join(f"{name} {value:g}" if value is not True else name for name, value in changes.items())


AUGMENTATIONS = {
    "none": AugmentationConfig(),
    "light": AugmentationConfig(rotation=10, zoom=0.1, shift=0.1),  # keeps handedness: for symbols
    "standard": AugmentationConfig(smallest_crop=0.35, flip=True, brightness=0.2, contrast=0.2),
    "strong": AugmentationConfig(smallest_crop=0.2, flip=True, randaugment=2, erasing=0.25, mixup=0.2, cutmix=1.0),
}


class DataConfig(_Settings):
    """Which pictures, at which size, and how they vary in training."""

    dataset: Annotated[str, Field(min_length=1)] = "digits"  # a TFDS name, folder:PATH or manifest:FILE
    image_size: Annotated[int, Field(ge=1)] | None = None  # px; None: from the data set and the network
    # The side of the central square that evaluation sees, as a share of the shorter side; None: by the data set.
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    augment: Literal["none", "light", "standard", "strong"] | None = None  # None: what fits the data set
    augmentation: AugmentationConfig | None = None  # what is said here differs from the preset
    # The share of train that is held out for a split (validation, test) that the set does not have.
    holdout_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    on_bad_picture: Literal["stop", "skip"] = "stop"  # where a picture file cannot be read


class TrainingConfig(_Settings):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1)] = 12
    batch_size: Annotated[int, Field(ge=1)] = 32
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 0.02  # the peak, after the warm-up; it falls to 0 along a cosine
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.004  # none on depthwise kernels, batch norm and biases
    patience: Annotated[int, Field(ge=0)] = 0  # epochs without a better one that end the training; 0: none do
    ema_momentum: Rate = 0.0  # of the running average of the weights that is evaluated and saved; 0: no average
    class_weights: Literal["none", "balanced"] = "none"  # balanced: every class has the same weight in the loss
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class RunConfig(_Settings):
    """Everything that decides the outcome of a run."""

    model: ModelConfig = MobileNetConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()


NETWORKS: dict[str, type[_NetworkConfig]] = {
    "mobilenet": MobileNetConfig,
    "mobilenet_v2": MobileNetV2Config,
    "xception": XceptionConfig,
    "inception_v3": InceptionV3Config,
}
_SECTIONS: dict[str, type[_Settings]] = {"data": DataConfig, "training": TrainingConfig}


def load_config(
    file: Path | None = None,
    options: dict[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
    *,
    defaults: dict[str, Any] | None = None,
) -> RunConfig:
    """Return the settings of a TOML file, overridden by options, overridden by `dotted.key=value` texts.

    Args:
        file: A TOML file with the tables `model`, `data` and `training`.
        options: Dotted keys to values.
        assignments: Texts such as `model.residual=false`; the value is read as TOML, else as a string.
        defaults: Dotted keys to values that hold where nothing else is said.

    Raises:
        SepnetsError: The file cannot be read, or a key or value is not one of ours.
    """
    tree = read_toml(file) if file else {}
    for key, value in (defaults or {}).items():
        _assign(tree, key, value, only_new=True)
    for key, value in (options or {}).items():
        _assign(tree, key, value)
    for text in assignments:
        _assign_text(tree, text)
    return make_config(tree)


def override(config: RunConfig, assignment: str) -> RunConfig:
    """Return the settings with one `dotted.key=value` text applied; raise SepnetsError if it is none of ours."""
    tree = config.model_dump(exclude_unset=True)  # what was not said stays open
    tree["model"] = config.model.model_dump()
    _assign_text(tree, assignment)
    return make_config(tree)


def make_config(tree: dict[str, Any]) -> RunConfig:
    """Return the validated RunConfig of nested plain values; raise SepnetsError with the first fault."""
    model = tree.setdefault("model", {})
    if isinstance(model, dict):
        name = model.setdefault("name", "mobilenet")
        if not isinstance(name, str) or name not in NETWORKS:
            raise SepnetsError(
                f'Unknown model "{name}".{did_you_mean(str(name), NETWORKS)} Known models: {", ".join(NETWORKS)}.'
            )
    try:
        return TypeAdapter(RunConfig).validate_python(tree)
    except ValidationError as error:
        raise SepnetsError(_explain(error)) from None


def read_toml(file: Path) -> dict[str, Any]:
    """Return a TOML file's content; raise SepnetsError if it is missing or not TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SepnetsError(f"The config file cannot be read: {error}. Received: {str(file)!r}") from None


def _assign(tree: dict[str, Any], dotted_key: str, value: Any, *, only_new: bool = False) -> None:
    *parents, leaf = dotted_key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise SepnetsError(f'"{parent}" is a value, not a table. Received: {dotted_key}={value!r}')
    if not (only_new and leaf in tree):
        tree[leaf] = value


def _assign_text(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise SepnetsError(f"A setting reads KEY=VALUE, such as model.residual=false. Received: {text!r}")
    _assign(tree, key.strip(), _toml_value(value))


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _explain(error: ValidationError) -> str:
    """Return one sentence for the first fault of a ValidationError, with the nearest valid key."""
    fault = error.errors(include_url=False)[0]
    path = [str(part) for part in fault["loc"]]
    if path[:1] == ["model"] and len(path) > 1:
        del path[1]  # pydantic puts the network's name here
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(path[:-1], error)
        near = did_you_mean(key, known) or did_you_mean(path[-1], known)
        return f'Unknown setting "{key}".{near} Known settings: {", ".join(known)}.'
    return f"{key}: {fault['msg']}. Received: {fault['input']!r}"


def _known_keys(parents: list[str], error: ValidationError) -> list[str]:
    if not parents:
        return list(RunConfig.model_fields)
    if parents == ["model"]:
        network = str(error.errors()[0]["loc"][1])
        fields = NETWORKS[network].model_fields
    elif parents == ["data", "augmentation"]:
        fields = AugmentationConfig.model_fields
    else:
        fields = _SECTIONS[parents[0]].model_fields
    return [f"{'.'.join(parents)}.{field}" for field in fields]
