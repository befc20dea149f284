"""A sweep: one network over the values of some settings, accuracy against cost, and the choice of a point."""

import operator
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.lab.comparing import mean_interval
from keras_sepnets.lab.definition import Experiment, Variant
from keras_sepnets.lab.results_models import ArmResult, ExperimentResult
from keras_sepnets.settings.files import parse_assignment

NETWORK = "network"  # the only variant
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01}
QUANTITIES = ("top1", "multiply_adds", "parameters")


class SweepPoint(Result):
    """The network at one point of the grid."""

    settings: dict[str, Any]
    """the settings of the point, by dotted key"""
    val_top1: float
    """mean validation accuracy over the seeds, a fraction"""
    val_top1_interval: tuple[float, float] | None
    """95 % t interval of this mean; null for one seed"""
    parameters: int
    """all parameters of the network"""
    multiply_adds: int
    """multiply-adds of the network for one picture"""
    on_front: bool
    """whether no other point has a higher accuracy for as few multiply-adds"""


class Pick(Result):
    """The point that the conditions choose."""

    settings: dict[str, Any]
    """its settings"""
    conditions: str
    """what was asked for; top1 is the validation accuracy"""
    val_top1: float
    """its mean validation accuracy"""
    test_top1: float
    """its mean test accuracy, which no choice has used"""
    command: str
    """the command that trains it"""


class SweepResult(Result):
    """Every point of a sweep, and the one that was picked."""

    experiment: str
    """folder of the sweep"""
    dataset: str
    """the data set"""
    seeds: list[int]
    """seeds of the runs"""
    points: list[SweepPoint]
    """the points, in the order of the grid"""
    pick: Pick | None
    """the picked point, if one was asked for"""


class Condition(NamedTuple):
    """A bound of a quantity."""

    quantity: str
    sign: str
    bound: float

    def holds(self, point: SweepPoint) -> bool:
        """Return whether a point fulfils it; an accuracy is that on validation."""
        value = point.val_top1 if self.quantity == "top1" else getattr(point, self.quantity)
        return COMPARISONS[self.sign](value, self.bound)


def sweep_experiment(base: Mapping[str, Any], over: Mapping[str, Sequence[Any]], **others: Any) -> Experiment:
    """Return the experiment of a sweep: one variant, and a grid."""
    grid = {key: list(values) for key, values in over.items()}
    fixed_by_grid = {key: value for key, value in base.items() if key not in grid}
    question = f"What do {' and '.join(grid)} cost and buy on these pictures?"
    variants = [Variant(name=NETWORK)]
    return Experiment(question=question, base=fixed_by_grid, variants=variants, grid=grid, **others)


def parse_values(text: str) -> tuple[str, list[Any]]:
    """Return the setting and the values of a text such as model.dropout=0,0.2."""
    key, _, values = text.partition("=")
    parsed = [parse_assignment(f"{key}={value}") for value in values.split(",")]
    return key.strip(), [next(iter(one.values.values())) for one in parsed]


def parse_conditions(text: str) -> list[Condition]:
    """Return the conditions of a text such as "top1>=0.9, multiply_adds<20M"; raise SepnetsError for a fault."""
    conditions = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w[\w-]*)\s*(>=|<=|>|<)\s*([\d.]+(?:e[+-]?\d+)?)\s*([kMG%]?)\s*", part)
        if not found:
            raise SepnetsError(
                'A condition reads QUANTITY<VALUE, as in "top1>=0.9, multiply_adds<20M". '
                f"Received: {part.strip()!r}"
            )
        quantity, sign, number, unit = found.groups()
        quantity = quantity.replace("-", "_").lower()
        if quantity not in QUANTITIES:
            raise SepnetsError(
                f'Unknown quantity "{quantity}".{did_you_mean(quantity, QUANTITIES)} '
                f"Known: {', '.join(QUANTITIES)}. Received: {part.strip()!r}"
            )
        try:
            bound = float(number) * UNITS[unit]
        except ValueError:
            raise SepnetsError(f"This is not a number. Received: {number!r}") from None
        if quantity == "top1" and not 0 <= bound <= 1:
            raise SepnetsError(f"top1 is a fraction, such as 0.9, or 90%. Received: {part.strip()!r}")
        conditions.append(Condition(quantity, sign, bound))
    return conditions


def find_points(result: ExperimentResult) -> list[SweepPoint]:
    """Return the points of a sweep, judged on validation."""
    known = [(arm, _validation(arm)) for arm in result.arms]
    points = []
    for arm, accuracies in known:
        if not accuracies:
            raise FailedRunError(f"{arm.name} has no validation accuracy, so nothing can be chosen by it.")
        points.append(
            SweepPoint(
                settings=arm.point,
                val_top1=float(np.mean(accuracies)),
                val_top1_interval=mean_interval(accuracies),
                parameters=arm.parameters,
                multiply_adds=arm.multiply_adds,
                on_front=False,
            )
        )
    front = pareto_front([(point.multiply_adds, point.val_top1) for point in points])
    return [point.model_copy(update={"on_front": is_on}) for point, is_on in zip(points, front, strict=True)]


def _validation(arm: ArmResult) -> list[float]:
    return [run.val_top1 for run in arm.runs if run.val_top1 is not None]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each (cost, value) whether no other point is at least as good in both and better in one."""

    def beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
        return other != point and other[0] <= point[0] and other[1] >= point[1]

    return [not any(beats(other, point) for other in points) for point in points]


def pick_point(
    result: ExperimentResult, points: Sequence[SweepPoint], conditions: str, base: Mapping[str, Any]
) -> Pick:
    """Choose a point by its validation accuracy and cost, and look at its test accuracy once.

    Of the points that fulfil all conditions, the one with the fewest multiply-adds is picked if the accuracy has a
    lower bound, otherwise the most accurate one.

    Args:
        result: The sweep as an experiment.
        points: Its points, in the order of its arms.
        conditions: See `parse_conditions`.
        base: The settings of all its runs.

    Raises:
        FailedRunError: No point fulfils the conditions.
    """
    parsed = parse_conditions(conditions)
    fitting = [number for number, point in enumerate(points) if all(one.holds(point) for one in parsed)]
    if not fitting:
        best = max(points, key=lambda point: point.val_top1)
        raise FailedRunError(
            f"No point of the sweep fulfils the conditions; the most accurate has top1={best.val_top1:.3f} on "
            f"validation at {best.multiply_adds:,} multiply-adds. Received: {conditions!r}"
        )
    is_bounded = any(one.quantity == "top1" and one.sign.startswith(">") for one in parsed)

    def rank(number: int) -> tuple[float, float]:
        point = points[number]
        cheap, good = -point.multiply_adds, point.val_top1
        return (cheap, good) if is_bounded else (good, cheap)

    chosen = max(fitting, key=rank)
    point = points[chosen]
    return Pick(
        settings=point.settings,
        conditions=conditions,
        val_top1=point.val_top1,
        test_top1=result.arms[chosen].mean,
        command=training_command({**base, **point.settings}),
    )


def training_command(settings: Mapping[str, Any]) -> str:
    """Return the command that trains a network with these settings, the commonest ones as options."""
    options = {
        "model.name": "--model", "model.alpha": "--alpha", "data.image_size": "--image-size",
        "data.dataset": "--dataset", "training.epochs": "--epochs", "training.batch_size": "--batch-size",
    }  # fmt: skip
    words = ["sepnets", "train"]
    for key in sorted(settings, key=lambda key: [*options, key].index(key)):
        value = settings[key]
        text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        words += [options[key], text] if key in options else ["--set", f"{key}={text}"]
    return shlex.join(words)
