"""Forest plots: paired differences of test accuracies with their intervals, margins and verdicts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from keras_sepnets.lab.drawing import COLOURS, LETTERS_PER_INCH, Drawing, draw_legend, drawn_with, to_drawing
from keras_sepnets.lab.wording import accuracies, interval, is_sure, points

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ArmComparison, ExperimentResult

ROW_HEIGHT = 0.32  # inches
WIDE_RANGE = 20.0  # of the farthest end over a typical interval, from which on the axis is logarithmic
AXES_WIDTH = 3.8
TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)
MARGIN_COLOUR = "0.87"


class Group(NamedTuple):
    """Differences below one heading, with the labels of their rows."""

    heading: str
    margin: float | None
    labels: list[str]
    comparisons: list["ArmComparison"]


def draw_differences(result: "ExperimentResult") -> Drawing | None:
    """Draw all differences of test accuracies of an experiment; None if none has an interval."""
    comparisons = accuracies(result)
    references = {found.reference for found in comparisons}
    with drawn_with(*references, *(found.arm for found in comparisons)) as shown:
        if len(references) == 1:
            labels, other = [shown(found.arm) for found in comparisons], shown(references.pop())
        else:
            labels, other = (
                [f"{shown(found.arm)}\n- {shown(found.reference)}" for found in comparisons],
                "its reference",
            )
        return draw_forest([Group("", result.margin, labels, comparisons)], other)


def draw_forest(groups: Sequence[Group], other: str) -> Drawing | None:
    """Draw the differences of groups as rows; None if none has an interval. To be called in `drawn_with`.

    Args:
        groups: The rows; an empty heading takes no row.
        other: What the arms are compared with, for the axis.
    """
    found = [comparison for group in groups for comparison in group.comparisons]
    if not any(comparison.interval for comparison in found):
        return None
    labels = [line for group in groups for label in group.labels for line in label.split("\n")]
    height = 1.4 if len(labels) > len(found) else 1.0  # of a row, in lines of text
    rows = height * len(found) + sum(bool(group.heading) for group in groups)
    words = max(map(len, labels)) + max(len(describe(comparison)) for comparison in found)
    figure = Figure(figsize=(AXES_WIDTH + words / LETTERS_PER_INCH, 0.9 + ROW_HEIGHT * rows), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    places: list[float] = []
    y = 0.0
    for group in groups:
        if group.heading:
            _write_heading(figure, axes, y, group.heading)
            y += 1
        own = [y + height * row for row in range(len(group.labels))]
        if group.margin:
            edges = (-100 * group.margin, 100 * group.margin)
            ends = [y - height / 2, y + height * (len(own) - 0.5)]
            axes.fill_betweenx(ends, *edges, color=MARGIN_COLOUR, linewidth=0, zorder=0)
        for place, comparison in zip(own, group.comparisons, strict=True):
            _draw_row(axes, place, comparison)
        places += own
        y += height * len(own)
    axes.set_ylim(y - height / 2 + 0.1, -0.6)
    _label_rows(axes, places, [label for group in groups for label in group.labels], found)
    scale = _scale(axes, found)
    axes.set_xlabel(f"difference in test accuracy, points{scale}\n(right of 0: better than {other})")
    _explain(figure, groups, found)
    return to_drawing(figure, "Paired differences in test accuracy, with 95 % intervals.")


def _write_heading(figure: Figure, axes: Axes, y: float, heading: str) -> None:
    whole_width = blended_transform_factory(figure.transFigure, axes.transData)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    text = axes.text(0.01, y, heading, transform=whole_width, weight="bold", va="center", bbox=box)
    text.set_in_layout(False)


def _draw_row(axes: Axes, y: float, found: "ArmComparison") -> None:
    if found.bootstrap_interval:
        ends = [100 * end for end in found.bootstrap_interval]
        axes.plot(ends, [y + 0.2] * 2, color=COLOURS[1], linewidth=1, marker="|", markersize=5)
    if found.interval:
        ends = [100 * end for end in found.interval]
        axes.plot(ends, [y, y], color=COLOURS[0], linewidth=2.2, solid_capstyle="butt")
    face = COLOURS[0] if is_sure(found) else "white"
    axes.plot(100 * found.difference, y, marker="o", color=COLOURS[0], markerfacecolor=face, zorder=3)


def describe(found: "ArmComparison") -> str:
    """Return a difference in points, with its widest interval and its verdict."""
    widest = found.bootstrap_interval or found.interval
    ends = f" ({interval(widest)})" if widest else ""
    return f"{points(found.difference)}{ends}, {found.verdict.removesuffix(' points')}"


def _label_rows(
    axes: Axes, places: Sequence[float], labels: Sequence[str], found: Sequence["ArmComparison"]
) -> None:
    """Write the labels of the rows on the left and their numbers on the right."""
    numbers = axes.twinx()
    numbers.set_ylim(axes.get_ylim())
    for side, texts in ((axes, labels), (numbers, [describe(comparison) for comparison in found])):
        side.set_yticks(places, texts)
        side.tick_params(axis="y", length=0)
        side.grid(visible=False, axis="y")
        side.spines[["left", "right"]].set_visible(False)


def _scale(axes: Axes, found: Sequence["ArmComparison"]) -> str:
    """Make an axis logarithmic beyond 1 point if a few large differences would flatten the others, and say so."""
    intervals = [100 * np.array(comparison.interval) for comparison in found if comparison.interval]
    farthest = max(np.abs(interval).max() for interval in intervals)
    is_wide = farthest > max(10.0, WIDE_RANGE * float(np.median([np.ptp(interval) for interval in intervals])))
    if is_wide:
        axes.set_xscale("symlog", linthresh=1, linscale=1)
        axes.autoscale_view()
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    return ", logarithmic beyond 1" if is_wide else ""


def _explain(figure: Figure, groups: Sequence[Group], found: Sequence["ArmComparison"]) -> None:
    line = Line2D([], [], color=COLOURS[0], linewidth=2.2, marker="o", markerfacecolor="white")
    entries: list[tuple[Artist, str]] = [(line, "mean, 95 % over seeds")]
    if any(comparison.bootstrap_interval for comparison in found):
        line = Line2D([], [], color=COLOURS[1], linewidth=1, marker="|")
        entries.append((line, "95 % over seeds and pictures"))
    if any(map(is_sure, found)):
        entries.append((Line2D([], [], linestyle="", color=COLOURS[0], marker="o"), "better or worse"))
    if any(group.margin for group in groups):
        entries.append((Patch(color=MARGIN_COLOUR), "counts as the same"))
    draw_legend(figure, *map(list, zip(*entries, strict=True)))
