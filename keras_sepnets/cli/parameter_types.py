"""Types of option values: a split, an integer or auto, steps or a time, a time."""

import re
from datetime import timedelta
from typing import Any

import click

OTHER_NAMES = {
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "training": "train",
    "testing": "test",
}


class Split(click.Choice):
    """A split, also by its other usual names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return train, validation or test."""
        return super().convert(OTHER_NAMES.get(str(value).lower(), value), param, ctx)


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
