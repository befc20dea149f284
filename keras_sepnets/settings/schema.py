"""What a run is: frozen, strict settings. `config_files.py` reads and writes them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
    """The text under a field is what `sepnets models` and `sepnets train --print-config` say of it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class _NetworkConfig(_Settings):
    """What every network takes; the fields are the keyword arguments of its builder."""

    alpha: PositiveFloat = 1.0
    """width multiplier: scales every layer's filters"""
    bn_momentum: Rate | None = None
    """of batch norm's moving statistics; by default from the number of training steps"""
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
    """smallest share of the area of a random crop; 1: evaluation's central crop"""
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
    """probability that 2 to 33 % of the area become grey (arXiv:1708.04896)"""
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

    dataset: Annotated[str, Field(min_length=1)] = "digits"
    """a TFDS name, "folder:PATH" or "manifest:FILE\""""
    image_size: Annotated[int, Field(ge=1)] | None = None
    """px; by default the paper's, of small pictures twice their own (at least 64)"""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """share of the shorter side that evaluation sees; by default 0.875, 1 up to 64 px"""
    augment: Literal["none", "light", "standard", "strong"] | None = None
    """none, light, standard or strong; by default light for symbols, else standard"""
    augmentation: Annotated[AugmentationConfig | None, BeforeValidator(lambda value: value or None)] = None
    """what is said here differs from the preset"""
    holdout_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """of train, for each of validation and test that the set does not have"""
    on_bad_picture: Literal["stop", "skip"] = "stop"
    """or skip: where a picture file cannot be read"""
    overfit: Annotated[int, Field(ge=0)] = 0
    """such as 32: these pictures alone, to see whether they can be learned; 0: all"""


class TransferConfig(_Settings):
    """Which weights a run starts from, and what it leaves as it is at first."""

    weights: Annotated[Annotated[str, Field(min_length=1)] | None, BeforeValidator(_none_word)] = None
    """"imagenet", a run folder or a weight file; by default random"""
    freeze: Annotated[Annotated[str, Field(min_length=1)] | None, BeforeValidator(_none_word)] = None
    """the last stage that stays as it is, such as block7, entry_flow, backbone; by default none"""
    unfreeze_after: Annotated[int, Field(ge=0)] = 0
    """epochs after which everything is trained; 0: never"""
    learning_rate_factor: PositiveFloat = 0.1
    """of the learning rate from then on"""

    def with_whole_path(self) -> "TransferConfig":
        """Return these settings with a path of the weights that holds wherever a run is resumed from."""
        if self.weights in (None, "imagenet"):
            return self
        return self.model_copy(update={"weights": str(Path(str(self.weights)).expanduser().resolve())})


def _on_or_off(value: Any) -> Any:
    """Return the word of what a run of version 0.1.0 has as true or false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


class TrainingConfig(_Settings):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = 12
    """passes over the training pictures; auto: as many as fit --max-time"""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 32
    """pictures a step; auto: as many as fit the memory, measured"""
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    """adamw, rmsprop or sgd"""
    learning_rate: PositiveFloat = 0.02
    """the highest, after the warm-up"""
    base_batch_size: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)] = None
    """batch size of learning_rate, which others scale in proportion; by default not scaled"""
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    """cosine (to 0), exponential (by decay_rate every decay_epochs) or constant"""
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    """in which the learning rate rises from 0"""
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.94
    """of the exponential schedule"""
    decay_epochs: PositiveFloat = 2.0
    """of the exponential schedule, in steps of so many epochs"""
    momentum: Rate = 0.9
    """of sgd and rmsprop"""
    rmsprop_decay: Rate = 0.9
    """of rmsprop's mean of squared gradients"""
    rmsprop_epsilon: PositiveFloat = 1e-3
    """of rmsprop, added to that mean under the root"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.004
    """apart from gradients; like l2 none on depthwise kernels, batch norm, biases"""
    l2: Annotated[float, Field(ge=0)] = 0.0
    """of the weights, added to their gradients: the papers' weight decay"""
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """largest norm of all gradients together; 0: as they are"""
    label_smoothing: Rate = 0.0
    """share of a label that is spread over all classes"""
    ema_momentum: Rate | Literal["auto"] = 0.0
    """of the averaged weights that are evaluated and saved; auto: by the steps; 0: none"""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class has the same weight in the loss"""
    precision: Literal["auto", "float32", "bfloat16", "mixed_float16", "mixed_bfloat16"] = "float32"
    """bfloat16: of all but depthwise convolutions; auto: what is measured to be faster; saved is float32"""
    accelerate: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)] = "auto"
    """on: fused operations, the same function but for rounding; auto: what is measured to be faster"""
    jit_compile: Literal["auto", "on", "off"] = "auto"
    """by XLA; auto: on GPUs what is measured to be faster, never on CPUs, where it is ten times slower"""
    intra_op_threads: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """threads of an operation on CPUs; 0: one a core; auto: 1 where that is measured to be faster"""
    patience: Annotated[int, Field(ge=0)] = 0
    """epochs without a better one that end the training; 0: none do"""
    deterministic: bool = False
    """true: the same bits on a GPU too, at some cost in speed"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """decides weights, order and augmentation"""

    @property
    def dtype_policy(self) -> str:
        """Keras' dtype policy of the network that is trained; bfloat16 concerns convolutions alone."""
        return self.precision if self.precision.startswith("mixed") else "float32"


class RunConfig(_Settings):
    """Everything that decides the outcome of a run."""

    model: ModelConfig = MobileNetConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    transfer: TransferConfig = TransferConfig()


NETWORK_SETTINGS: dict[str, type[_NetworkConfig]] = {
    "mobilenet": MobileNetConfig,
    "mobilenet_v2": MobileNetV2Config,
    "xception": XceptionConfig,
    "inception_v3": InceptionV3Config,
}
SECTIONS: dict[str, type[_Settings]] = {
    "data": DataConfig,
    "training": TrainingConfig,
    "transfer": TransferConfig,
}
