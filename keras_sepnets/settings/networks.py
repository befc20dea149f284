"""The settings of each network, and what all settings have in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def none_word(value: Any) -> Any:
    """TOML has no null, so "none" stands for it."""
    return None if value == "none" else value


def _linear_word(value: Any) -> Any:
    """Read "none" as no activation; null means the paper's choice."""
    return "linear" if value == "none" else value


def _residual_word(value: Any) -> Any:
    """Read true as the paper's shortcut and false as none, as for Xception."""
    return {True: "bottleneck", False: None}[value] if isinstance(value, bool) else none_word(value)


class Settings(BaseModel):
    """Frozen, strict settings; `sepnets models` and `--print-config` print the text under each field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class _NetworkConfig(Settings):
    """Settings of every network; the fields are keyword arguments of its builder."""

    alpha: PositiveFloat = 1.0
    """width multiplier: scales the number of filters in every layer"""
    bn_momentum: Rate | None = None
    """momentum of batch norm's moving statistics; default: by the number of steps"""
    bn_epsilon: PositiveFloat = 1e-3
    """added to the variance in batch norm"""


class MobileNetConfig(_NetworkConfig):
    """Settings of `build_mobilenet`."""

    name: Literal["mobilenet"] = "mobilenet"
    dropout: Rate = 1e-3
    """share of features dropped before the classifier"""
    separable: bool = True
    """depthwise-separable blocks; false: standard convolutions (Conv MobileNet, Table 4)"""
    shallow: bool = False
    """true: without the five 14x14x512 blocks (Shallow MobileNet, Table 5)"""


class MobileNetV2Config(_NetworkConfig):
    """Settings of `build_mobilenet_v2`."""

    name: Literal["mobilenet_v2"] = "mobilenet_v2"
    dropout: Rate = 0.0
    """share of features dropped before the classifier"""
    residual: Annotated[Literal["bottleneck", "expansion"] | None, BeforeValidator(_residual_word)] = "bottleneck"
    """where shortcuts connect: bottleneck, expansion or none (Figure 6b)"""
    bottleneck_activation: Annotated[Literal["relu6"] | None, BeforeValidator(none_word)] = None
    """activation after each bottleneck: none (linear) or relu6 (Figure 6a)"""


class XceptionConfig(_NetworkConfig):
    """Settings of `build_xception`."""

    name: Literal["xception"] = "xception"
    dropout: Rate = 0.5
    """share of features dropped before the classifier"""
    intermediate_activation: Annotated[Literal["linear", "relu", "elu"] | None, BeforeValidator(_linear_word)] = (
        None
    )
    """between the two steps (Figure 10): linear, relu or elu; default: linear, or relu if pointwise_first"""
    intermediate_batch_norm: bool = False
    """true: batch norm between the two steps, before their activation, as in MobileNet"""
    residual: bool = True
    """shortcuts around the modules; false: none (Figure 9)"""
    middle_repeats: Annotated[int, Field(ge=0)] = 8
    """number of middle-flow modules"""
    segments: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_word)] = None
    """channel groups of a spatial step (section 5): 1 standard, 3 or 4 Inception; default: one per channel"""
    order: Literal["spatial_first", "pointwise_first"] = "spatial_first"
    """order of the two steps: spatial_first, or pointwise_first as in extreme Inception (Figure 4)"""
    fully_connected: bool = False
    """true: two layers of 4096 units before the classifier (Figure 5, optional)"""


class InceptionV3Config(_NetworkConfig):
    """Settings of `build_inception_v3`."""

    name: Literal["inception_v3"] = "inception_v3"
    dropout: Rate = 0.5
    """share of features dropped before the classifier"""


ModelConfig = Annotated[
    MobileNetConfig | MobileNetV2Config | XceptionConfig | InceptionV3Config, Field(discriminator="name")
]


DEFAULT_NETWORK = "mobilenet"
NETWORK_SETTINGS: dict[str, type[_NetworkConfig]] = {
    "mobilenet": MobileNetConfig,
    "mobilenet_v2": MobileNetV2Config,
    "xception": XceptionConfig,
    "inception_v3": InceptionV3Config,
}
