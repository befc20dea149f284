"""The results of counting: what a layer, a group of layers and a model cost."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field

from keras_sepnets.base.results import Result


class Parameters(Result):
    """The number of parameters, in the three conventions of the papers."""

    total: int
    """All of them, as `model.summary()` prints them."""
    trainable: int
    """Trainable parameters, as in Xception's paper."""
    without_bn: int
    """All but those of batch norm, as in MobileNets' papers."""


class Amounts(Result):
    """The cost of a layer, of a group of layers or of a network."""

    parameters: Parameters
    """Number of parameters; those of a shared layer count at its first call only."""
    multiply_adds: int
    """Fused multiply-adds for one picture."""
    activation_bytes: int
    """Bytes of all outputs for one picture."""

    @classmethod
    def of(cls, parts: Iterable["Amounts"], **fields: Any) -> Self:
        """Return the sum of parts; `fields` are those that a subclass adds."""
        parts = list(parts)
        parameters = Parameters(
            total=sum(part.parameters.total for part in parts),
            trainable=sum(part.parameters.trainable for part in parts),
            without_bn=sum(part.parameters.without_bn for part in parts),
        )
        return cls(
            parameters=parameters,
            multiply_adds=sum(part.multiply_adds for part in parts),
            activation_bytes=sum(part.activation_bytes for part in parts),
            **fields,
        )

    @property
    def total(self) -> int:
        """All parameters."""
        return self.parameters.total

    @property
    def trainable(self) -> int:
        """Trainable parameters."""
        return self.parameters.trainable

    @property
    def without_bn(self) -> int:
        """Parameters without those of batch norm."""
        return self.parameters.without_bn


# The fields of the last base class come first in the JSON: names before numbers.
class _Call(Result):
    name: str
    """The layer's name; `model/layer` inside a nested model."""
    type: str
    """Such as "conv 1x1", "depthwise conv 3x3" or "dense"; otherwise the name of the class."""
    stage: str
    """The part of the network, such as "stem" or "block3"."""
    output_shape: tuple[int | None, ...]
    """Shape of the first output, without the batch."""


class LayerCost(Amounts, _Call):
    """The cost of one call of a layer."""


class _Input(Result):
    input_shape: tuple[Any, ...]
    """Shape of one picture, (height, width, channels); of several inputs, a tuple of their shapes."""


class Cost(Amounts, _Input):
    """The cost of a model for one picture."""

    peak_activation_bytes: int
    """The most bytes of activations that are alive at once during inference."""
    not_counted: tuple[str, ...]
    """Layers whose multiply-adds are unknown and left out; `counters` of `count_cost` can count them."""
    by_type: dict[str, Amounts]
    """Sums by type of layer, in the order of their first appearance."""
    by_stage: dict[str, Amounts]
    """Sums by stage, in the order of their first appearance."""
    layers: tuple[LayerCost, ...] = Field(repr=False)
    """One row per call of a layer, in the order in which they run."""

    def by(self, key: str) -> dict[str, Amounts]:
        """Return the sums by "type" or "stage"."""
        return {"type": self.by_type, "stage": self.by_stage}[key]

    def summary(self) -> dict[str, Any]:
        """Return the JSON of the network alone, without its layers and their sums."""
        return self.model_dump(mode="json", exclude={"by_type", "by_stage", "layers"})
