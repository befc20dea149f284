"""Types of option values: an integer or auto, steps or a time, a split, a time, fractions."""

import re
from datetime import timedelta
from fractions import Fraction
from typing import Any

import click

from keras_sepnets.base.text import did_you_mean
from keras_sepnets.data.sources.split_names import split_of

SPLITS = ("train", "validation", "test")


class NumberOrAuto(click.ParamType):
    """An integer, or the word auto."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an int or "auto"."""
        try:
            return value if value == "auto" else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither an integer nor auto", param, ctx)


class StepsOrTime(click.ParamType):
    """A number of steps, or a time such as 10m."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an int or a timedelta."""
        if isinstance(value, int | timedelta):
            return value
        if not value.isdecimal():
            return timedelta(seconds=Duration().convert(value, param, ctx))
        if not int(value):
            self.fail("checkpoints are at least 1 step apart; write 1 or more", param, ctx)
        return int(value)


class SplitName(click.Choice):
    """train, validation or test, or another word for one of them, such as val."""

    def __init__(self) -> None:
        """Offer the three."""
        super().__init__(SPLITS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return train, validation or test."""
        return super().convert(split_of(value) or value, param, ctx)


class Duration(click.ParamType):
    """A time such as 2h, 90m, 1h30m or 45s."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return seconds."""
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", value)
        try:
            amounts = [float(part or 0) for part in parts.groups()] if parts else []
        except ValueError:
            amounts = []
        seconds = sum(amount * unit for amount, unit in zip(amounts, (3600, 60, 1), strict=False))
        if seconds <= 0:
            self.fail(f"{value!r} is not a time; write it as 2h, 90m, 1h30m or 45s", param, ctx)
        return float(seconds)


class Values(click.ParamType):
    """Several values with commas between them, such as 0.25,0.5,1."""

    name = "values"

    def __init__(self, kind: type = float, word: str | None = None) -> None:
        """Read each value as `kind`; `word` may stand for the last one."""
        self._kind, self._word = kind, word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a list."""
        if isinstance(value, list):
            return value
        try:
            return [self._word if part.strip() == self._word else self._kind(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers; write it as 1,4,16", param, ctx)


class Words(click.ParamType):
    """Several words with commas between them, of those that are known."""

    name = "words"

    def __init__(self, known: tuple[str, ...]) -> None:
        """Know some words."""
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a list."""
        if isinstance(value, list):
            return value
        words = [part.strip() for part in value.split(",")]
        for word in words:
            if word not in self._known:
                self.fail(
                    f"{word!r} is not one of {', '.join(self._known)}.{did_you_mean(word, self._known)}",
                    param,
                    ctx,
                )
        return words


class Fractions(click.ParamType):
    """Numbers such as 0.25,0.5,1 or 1/4,1/2,1."""

    name = "fractions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return floats."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(Fraction(part.strip())) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is not a list of fractions; write it as 0.25,0.5,1 or 1/4,1/2,1", param, ctx)
