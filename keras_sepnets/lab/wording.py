"""Numbers of an experiment in words, the same in tables, lists and figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_sepnets.base.text import counted
from keras_sepnets.lab.markdown import code

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ArmComparison, ExperimentResult

NONE = "-"  # in a table, for what there is not
VARYING = {
    "weights": "the initial weights",
    "order": "the order of the pictures",
    "augmentation": "their augmentation",
    "dropout": "dropout",
    "split": "the cut between training and validation",
}


def accuracies(result: "ExperimentResult") -> list["ArmComparison"]:
    """Return the comparisons of test accuracies."""
    return [found for found in result.comparisons if found.metric == "top1"]


def is_sure(found: "ArmComparison") -> bool:
    """Return whether one of the two arms won."""
    return found.verdict.startswith(("better", "worse"))


def points(fraction: float) -> str:
    """Return a difference of accuracies in points, with its sign."""
    return f"{100 * fraction:+z.2f}"


def interval(ends: tuple[float, float] | None, form: str = "{:+z.2f}", scale: float = 100) -> str:
    """Return an interval."""
    return NONE if ends is None else " to ".join(form.format(scale * end) for end in ends)


def optional(value: float | None, form: str) -> str:
    """Return a number in a form, such as "{:.2f}"."""
    return NONE if value is None else form.format(value)


def p_value(p: float | None) -> str:
    """Return a p value."""
    return NONE if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def margin_in_points(margin: float) -> str:
    """Return a margin of equivalence."""
    return f"±{100 * margin:g} points"


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(seconds: float) -> str:
    """Return a duration, such as 1 hour 12 minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "hour"), (minutes, "minute"), (0 if hours else seconds, "second"))
    return " ".join(counted(amount, unit) for amount, unit in parts if amount) or "0 seconds"


def seeds_of(seeds: Sequence[int]) -> str:
    """Return seeds, such as 0 to 7."""
    first, last = seeds[0], seeds[-1]
    is_range = len(seeds) > 2 and list(seeds) == list(range(first, last + 1))
    return f"{first} to {last}" if is_range else listed(list(map(str, seeds)))


def difference(found: "ArmComparison") -> str:
    """Return a difference of accuracies with its intervals, both of which the verdict looks at."""
    ends = ""
    if found.interval:
        ends = f" (95 % interval {interval(found.interval)}"
        if found.bootstrap_interval:
            ends += f" over seeds, {interval(found.bootstrap_interval)} over seeds and pictures"
        ends += ")"
    return f"{points(found.difference)} points{ends}"


def sentence(found: "ArmComparison") -> str:
    """Return what the comparison of two test accuracies shows."""
    return f"{code(found.arm)} against {code(found.reference)}: **{found.verdict}**, {difference(found)}"
