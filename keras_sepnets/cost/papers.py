"""The numbers that the papers print about cost, next to ours; MobileNet's grid of widths and resolutions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import keras
from keras import layers
from pydantic import Field

from keras_sepnets.base.results import Result
from keras_sepnets.cost.counting import Cost, count_cost
from keras_sepnets.models.registry import NETWORKS, build_network
from keras_sepnets.settings.files import make_config

MILLION = 1_000_000


@dataclass(frozen=True)
class Claim:
    """A number in a table of a paper, and how to count it."""

    paper: str
    table: int
    row: str
    quantity: str
    printed: str  # the digits in the paper
    count: Callable[[], float]  # in the paper's unit
    network: str
    note: str = ""  # the erratum, or another reason for a difference

    @property
    def decimals(self) -> int:
        return len(self.printed.partition(".")[2])


class Comparison(Result):
    """A number in a paper next to ours."""

    claim: Claim = Field(exclude=True)
    paper: str
    """The paper's short name, such as "MobileNets"."""
    table: int
    """Number of the table."""
    row: str
    """The row's label in the table."""
    quantity: str
    """The counted quantity with its unit, such as "M multiply-adds"."""
    printed: float
    """The paper's number."""
    ours: float
    """The number counted here, in the same unit."""
    difference: float
    """Ours minus the paper's."""
    agrees: bool
    """Whether ours, rounded or truncated to the printed digits, equals the paper's."""
    note: str
    """The erratum, or another reason for a difference; empty without one."""

    @property
    def decimals(self) -> int:
        return self.claim.decimals


class GridPoint(Result):
    """A MobileNet of one width and resolution, with published top-1 accuracies on ImageNet."""

    alpha: float
    """Width multiplier."""
    image_size: int
    """Height and width in pixels."""
    multiply_adds: int
    """Multiply-adds for one picture."""
    parameters: int
    """Parameters without those of batch norm."""
    top1: float
    """Top-1 accuracy of the authors' checkpoint, 0 to 1."""
    top1_paper: float | None
    """Top-1 accuracy in the paper, 0 to 1; None where it prints none."""


def compare_with_papers(network: str | None = None) -> list[Comparison]:
    """Return every number of the papers' tables next to ours.

    The tables are 2 to 7, 9 and 10 of MobileNets (arXiv:1704.04861), 4 of MobileNetV2 (arXiv:1801.04381) and 3 of
    Xception (arXiv:1610.02357), without their rows about networks that this package does not have.

    Args:
        network: Only this network's numbers, such as "xception"; None for all.
    """
    return [_compare(claim) for claim in CLAIMS if network in (None, claim.network)]


def _compare(claim: Claim) -> Comparison:
    printed, ours, digits = float(claim.printed.replace(",", "")), claim.count(), 10**claim.decimals
    return Comparison(
        claim=claim,
        paper=claim.paper,
        table=claim.table,
        row=claim.row,
        quantity=claim.quantity,
        printed=printed,
        ours=ours,
        difference=ours - printed,
        agrees=round(printed * digits) in (round(ours * digits), math.floor(ours * digits)),
        note=claim.note,
    )


def mobilenet_grid() -> list[GridPoint]:
    """Return the 16 MobileNets of Figure 4, by width, then resolution."""
    points = []
    for (alpha, image_size), top1 in CHECKPOINT_TOP1.items():
        cost = network_cost("mobilenet", alpha=alpha, image_size=image_size)
        point = GridPoint(
            alpha=alpha,
            image_size=image_size,
            multiply_adds=cost.multiply_adds,
            parameters=cost.without_bn,
            top1=top1,
            top1_paper=PAPER_TOP1.get((alpha, image_size)),
        )
        points.append(point)
    return points


@lru_cache
def network_cost(network: str, *, image_size: int = 0, classes: int = 1000, **settings: Any) -> Cost:
    """Return what a network costs; `image_size` 0 means the paper's."""
    size = image_size or NETWORKS[network].default_size
    return count_cost(_built(network, classes, tuple(settings.items())), (size, size, 3))


@lru_cache(maxsize=4)
def _built(network: str, classes: int, settings: tuple[tuple[str, Any], ...]) -> keras.Model:
    config = make_config({"model": {"name": network, **dict(settings)}}).model
    return build_network(config, image_size=NETWORKS[network].default_size, classes=classes, seed=None)


@lru_cache
def _type_share(layer_type: str, quantity: str) -> float:
    """Return the percentage of MobileNet's cost in layers of one type (Table 2)."""
    by_type = count_cost(_built("mobilenet", 1000, ())).by("type")
    total = sum(getattr(amounts, quantity) for amounts in by_type.values())
    return 100 * getattr(by_type[layer_type], quantity) / total


@lru_cache
def _layer_cost(separable: bool, channels: int, size: int) -> Cost:
    """Return what a 3x3 layer costs whose output has as many channels as its input (Table 3)."""
    x = inputs = keras.Input((size, size, channels))
    if separable:
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Conv2D(channels, 1 if separable else 3, padding="same", use_bias=False)(x)
    return count_cost(keras.Model(inputs, x))


def _table_2(
    row: str, layer_type: str, multiply_adds: str, parameters: str, notes: tuple[str, str] = ("", "")
) -> list[Claim]:
    """Return the claims of a row about one type of layer, in percent."""
    claim = partial(Claim, "MobileNets", 2, row, network="mobilenet")
    return [
        claim("% multiply-adds", multiply_adds, partial(_type_share, layer_type, "multiply_adds"), note=notes[0]),
        claim("% parameters", parameters, partial(_type_share, layer_type, "without_bn"), note=notes[1]),
    ]


def _millions(
    paper: str,
    table: int,
    row: str,
    multiply_adds: str,
    parameters: str,
    *,
    notes: tuple[str, str] = ("", ""),
    count: Callable[[], Cost] | None = None,
    network: str = "mobilenet",
    **settings: Any,
) -> list[Claim]:
    """Return the claims of a row about a network, in millions; parameters without those of batch norm."""
    count = count or partial(network_cost, network, **settings)
    claim = partial(Claim, paper, table, row, network=network)
    return [
        claim("M multiply-adds", multiply_adds, lambda: count().multiply_adds / MILLION, note=notes[0]),
        claim("M parameters", parameters, lambda: count().without_bn / MILLION, note=notes[1]),
    ]


_CUT = "the paper truncates instead of rounding"
_NO_BIAS = "the paper leaves out the classifier's 1,000 biases"
_OF_1000_CLASSES = "printed for 1,000 classes; Stanford Dogs has 120"
_P1 = partial(_millions, "MobileNets")
_P2 = partial(_millions, "MobileNetV2", 4)
CLAIMS = (
    *_table_2("Conv 1x1", "conv 1x1", "94.86", "74.59", ("", _NO_BIAS)),
    *_table_2("Conv DW 3x3", "depthwise conv 3x3", "3.06", "1.06"),
    *_table_2("Conv 3x3", "conv 3x3", "1.19", "0.02", ("misprint of 1.91: the column adds up to 99.29 %", "")),
    *_table_2("Fully Connected", "dense", "0.18", "24.33", ("", _NO_BIAS)),
    *_P1(3, "Convolution", "462", "2.36", count=partial(_layer_cost, False, 512, 14)),
    *_P1(3, "Depthwise Separable Conv", "52.3", "0.27", count=partial(_layer_cost, True, 512, 14)),
    *_P1(3, "alpha = 0.75", "29.6", "0.15", count=partial(_layer_cost, True, 384, 14)),
    *_P1(3, "rho = 0.714", "15.1", "0.15", count=partial(_layer_cost, True, 384, 10)),
    *_P1(
        4,
        "Conv MobileNet",
        "4866",
        "29.3",
        separable=False,
        notes=("the paper leaves the classifier out here: 4,866,269,184 without it", ""),
    ),
    *_P1(4, "MobileNet", "569", "4.2"),
    *_P1(5, "0.75 MobileNet", "325", "2.6", alpha=0.75),
    *_P1(5, "Shallow MobileNet", "307", "2.9", shallow=True),
    *_P1(6, "1.0 MobileNet-224", "569", "4.2"),
    *_P1(6, "0.75 MobileNet-224", "325", "2.6", alpha=0.75),
    *_P1(6, "0.5 MobileNet-224", "149", "1.3", alpha=0.5),
    *_P1(6, "0.25 MobileNet-224", "41", "0.5", alpha=0.25),
    *_P1(7, "1.0 MobileNet-224", "569", "4.2"),
    *_P1(7, "1.0 MobileNet-192", "418", "4.2", image_size=192),
    *_P1(7, "1.0 MobileNet-160", "290", "4.2", image_size=160, notes=(_CUT, "")),
    *_P1(7, "1.0 MobileNet-128", "186", "4.2", image_size=128),
    *_P1(9, "0.50 MobileNet-160", "76", "1.32", alpha=0.5, image_size=160, notes=(_CUT, "")),
    *_P1(
        10,
        "Inception V3",
        "5000",
        "23.2",
        network="inception_v3",
        classes=120,
        notes=("a round number; ours is the network as Keras builds it", "does not reproduce"),
    ),
    *_P1(10, "1.0 MobileNet-224", "569", "3.3", classes=120, notes=(_OF_1000_CLASSES, "")),
    *_P1(10, "0.75 MobileNet-224", "325", "1.9", alpha=0.75, classes=120),
    *_P1(10, "1.0 MobileNet-192", "418", "3.3", image_size=192, classes=120, notes=(_OF_1000_CLASSES, "")),
    *_P1(10, "0.75 MobileNet-192", "239", "1.9", alpha=0.75, image_size=192, classes=120),
    *_P2("MobileNetV1", "575", "4.2", notes=("MobileNets' own paper prints 569", "")),
    *_P2("MobileNetV2", "300", "3.4", network="mobilenet_v2", notes=("", _CUT)),
    *_P2(
        "MobileNetV2 (1.4)",
        "585",
        "6.9",
        network="mobilenet_v2",
        alpha=1.4,
        notes=(
            "does not reproduce; the authors' table of checkpoints has 582",
            "does not reproduce; that table has 6.06",
        ),
    ),
    *(
        Claim(
            "Xception",
            3,
            row,
            "trainable parameters",
            printed,
            partial(lambda network: network_cost(network).trainable, network),
            network,
            note,
        )
        for row, printed, network, note in (
            ("Inception V3", "23,626,728", "inception_v3", "does not reproduce; Keras builds a larger one"),
            ("Xception", "22,855,952", "xception", ""),
        )
    ),
)

# ImageNet top-1 accuracy of the 16 checkpoints that the authors of MobileNets published (TF-slim's
# mobilenet_v1.md), by (alpha, image size). The paper's Figure 4 has a point for each but prints few numbers.
CHECKPOINT_TOP1 = {
    (1.0, 224): 0.709,
    (1.0, 192): 0.700,
    (1.0, 160): 0.680,
    (1.0, 128): 0.652,
    (0.75, 224): 0.684,
    (0.75, 192): 0.672,
    (0.75, 160): 0.653,
    (0.75, 128): 0.621,
    (0.5, 224): 0.633,
    (0.5, 192): 0.617,
    (0.5, 160): 0.591,
    (0.5, 128): 0.563,
    (0.25, 224): 0.498,
    (0.25, 192): 0.477,
    (0.25, 160): 0.455,
    (0.25, 128): 0.415,
}
# The accuracies that the paper prints (Tables 6, 7 and 9).
PAPER_TOP1 = {
    (1.0, 224): 0.706,
    (1.0, 192): 0.691,
    (1.0, 160): 0.672,
    (1.0, 128): 0.644,
    (0.75, 224): 0.684,
    (0.5, 224): 0.637,
    (0.25, 224): 0.506,
    (0.5, 160): 0.602,
}
