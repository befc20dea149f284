"""What more training pictures would bring, in numbers and in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, computed_field

from keras_sepnets.base.learning_curves import FARTHEST, LearningCurve, Reason, learn_curve
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted, printable
from keras_sepnets.lab.shares import Measured

LEVEL, WIDER_LEVEL = 0.8, 0.95


class MeasuredShare(Result):
    """The trainings on one share of the training pictures."""

    share: float
    """share of the training pictures of every class"""
    num_examples: int
    """training pictures, mean over the trainings"""
    top1: list[float]
    """accuracy of each seed, a fraction"""
    mean: float
    """mean of top1"""


class FittedCurve(Result):
    """error(n) = a + b n^-c for n training pictures."""

    a: float
    """error that is left with any number of pictures, a fraction"""
    b: float
    """factor"""
    c: float
    """exponent"""


class Expected(Result):
    """The forecast for a number of training pictures."""

    num_examples: int
    """training pictures"""
    top1: float
    """accuracy, a fraction"""
    interval_80: tuple[float, float]
    """80 % interval of top1"""
    interval_95: tuple[float, float]
    """95 % interval of top1"""

    def __str__(self) -> str:
        low, high = self.interval_80
        return f"about {self.top1:.1%} (80 % interval {low:.1%} to {high:.1%})"


class Growth(Result):
    """What more training pictures would bring, for all pictures or for those of a class."""

    class_name: str | None
    """the class, of whose pictures an accuracy is the share that is recognised; null for all pictures"""
    num_examples: int
    """training pictures that there are"""
    num_tested: int
    """pictures that the accuracy is measured on"""
    measured: float
    """accuracy with the largest training sets, a fraction"""
    measured_from: int
    """training pictures of the smallest sets that were measured"""
    measured_to: int
    """training pictures of the largest sets"""
    curve: FittedCurve | None
    """curve through the measured accuracies; null if they are too few"""
    now: Expected | None
    """forecast for the training pictures that there are"""
    doubled: Expected | None
    """forecast for twice as many"""
    farthest: Expected | None
    """forecast for 8 times the measured ones; no answer goes beyond it"""
    target: float | None
    """accuracy asked for"""
    more: int | None
    """training pictures that the target needs besides those that there are; null if the data cannot say"""
    more_80: tuple[int, int | None] | None
    """80 % interval of more, whose end is null beyond 8 times the pictures; null if it begins there"""
    more_95: tuple[int, int | None] | None
    """95 % interval of more"""
    reason: Reason | None
    """why the data cannot say"""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sentence(self) -> str:
        """the answer in words"""
        of = f" of {printable(self.class_name)}" if self.class_name else ""
        tested = counted(self.num_tested, "tested picture")
        if not (self.now and self.doubled and self.farthest):
            return (
                f"The data cannot say what more training pictures{of} would bring: {self.num_examples:,} of them "
                f"and {tested} are too few for a curve."
            )
        if self.target is None:
            more = self.doubled.num_examples - self.num_examples
            return (
                f"Twice the training pictures{of} ({more:,} more) would raise the accuracy from about "
                f"{self.now.top1:.1%} to {self.doubled}."
            )
        aim = f"{100 * self.target:.4g}%"
        if self.reason == "flat":
            return (
                f"The data cannot say how many more training pictures{of} {aim} needs: from "
                f"{self.measured_from:,} to {self.measured_to:,}, accuracy does not rise measurably on {tested}."
            )
        far = f"{FARTHEST} times the pictures would give {self.farthest}."
        if self.reason == "levels off":
            return f"More training pictures{of} alone will hardly bring {aim}, because the curve levels off: {far}"
        if self.reason == "too far":
            return f"{aim}{of} needs more than {FARTHEST} times the pictures, farther than the curve tells: {far}"
        low, high = self.more_80 or (0, None)
        if self.reason == "too wide":
            least = f"at least {low:,}" if low else "perhaps none"
            return (
                f"The data cannot say how many more training pictures{of} {aim} needs: {least}, and on {tested} "
                f"not even {FARTHEST} times the pictures are sure to be enough."
            )
        if not self.more:
            sure = f"; {high:,} more would make it sure" if high else ""
            return f"The training pictures{of} that there are give {aim}{sure}."
        return f"About {self.more:,} more training pictures{of} for {aim} (80 % interval {low:,} to {high:,})."

    @property
    def more_in_short(self) -> str:
        """How many more, for a table."""
        low, high = self.more_80 or (0, None)
        if self.reason == "too wide":
            return f"cannot say: at least {low:,}" if low else "cannot say: none or many"
        if self.reason:
            words = {
                "too few": "too few pictures",
                "flat": "no measurable rise",
                "levels off": "the curve levels off",
                "too far": f"more than {FARTHEST} times",
            }
            return f"cannot say: {words[self.reason]}"
        if not self.more:
            return f"none, up to {high:,} to be sure" if high else "none"
        return f"about {self.more:,}, {low:,} to {high:,}"


class Forecast(Result):
    """How accuracy grows with the number of training pictures: the content of forecast.json."""

    output: Path = Field(exclude=True)
    dataset: str
    """name of the data set"""
    method: Literal["fitted classifiers", "trainings"]
    """whether classifiers were fitted to features of given weights, or whole networks trained"""
    tested_on: str
    """the pictures that the accuracy is measured on, in words"""
    seeds: int
    """number of seeds"""
    shares: list[MeasuredShare]
    """what was measured, from the smallest share on"""
    overall: Growth
    """the answer for all pictures"""
    classes: list[Growth]
    """the answer for each class that was tested, while all classes grow in the same proportion"""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def forecast(self) -> str:
        """folder of the forecast"""
        return str(self.output)


def curve_of(measured: Measured, label: int | None = None) -> LearningCurve:
    """Return the learning curve over all pictures, or over those of a class and its training pictures."""
    if label is None:
        return learn_curve(measured.counts.sum(axis=1), measured.wrong)
    return learn_curve(measured.counts[:, label], measured.wrong[..., measured.labels == label])


def describe_growth(curve: LearningCurve, there: int, target: float | None, class_name: str | None) -> Growth:
    """Return what more pictures would bring.

    Args:
        curve: The measured curve.
        there: Number of training pictures that there are; the measured sets may be a little smaller.
        target: Accuracy asked for, a fraction; None for what twice the pictures would bring.
        class_name: Of the pictures; None for all.
    """
    a, b, c, unit = curve.fitted

    def expected(pictures: float) -> Expected:
        return Expected(
            num_examples=round(pictures),
            top1=curve.accuracy(pictures),
            interval_80=_as_pair(curve.interval(pictures, LEVEL)),
            interval_95=_as_pair(curve.interval(pictures, WIDER_LEVEL)),
        )

    def interval(level: float) -> tuple[int, int | None] | None:
        if target is None or short:
            return None
        _, low, high, _ = curve.pictures_for(target, level)
        if low > FARTHEST * unit:
            return None
        return _missing(low, there), None if high > FARTHEST * unit else _missing(high, there)

    short = curve.is_too_short
    needed = None if target is None else curve.pictures_for(target, LEVEL)
    return Growth(
        class_name=class_name,
        num_examples=there,
        num_tested=curve.num_tested,
        measured=1 - float(curve.errors[-1]),
        measured_from=round(float(curve.sizes[0])),
        measured_to=round(unit),
        curve=None if short else FittedCurve(a=float(a), b=float(b * unit**c), c=float(c)),
        now=None if short else expected(there),
        doubled=None if short else expected(2 * there),
        farthest=None if short else expected(FARTHEST * unit),
        target=target,
        more=_missing(needed.pictures, there) if needed and needed.pictures is not None else None,
        more_80=interval(LEVEL),
        more_95=interval(WIDER_LEVEL),
        reason="too few" if short else needed.reason if needed else None,
    )


def _as_pair(interval: Sequence) -> tuple[float, float]:
    low, high = interval
    return float(low), float(high)


def _missing(pictures: float, there: int) -> int:
    """Return how many pictures are missing, to two digits."""
    missing = max(0, round(pictures - there))
    return int(round(missing, 2 - max(2, len(str(missing)))))


def list_shares(shares: Sequence[float], measured: Measured) -> list[MeasuredShare]:
    """Return what was measured for each share."""
    top1 = 1 - measured.wrong.mean(axis=2)  # (seeds, shares)
    return [
        MeasuredShare(
            share=share,
            num_examples=round(float(measured.counts[row].sum())),
            top1=top1[:, row].tolist(),
            mean=float(top1[:, row].mean()),
        )
        for row, share in enumerate(shares)
    ]
