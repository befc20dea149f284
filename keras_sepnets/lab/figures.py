"""Figures of an experiment: learning curves, paired differences, accuracy against cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from keras_sepnets.base.text import counted
from keras_sepnets.lab.drawing import Drawing, draw_legend, drawn_with, label_points, line_of, point_of, to_drawing
from keras_sepnets.lab.forest import draw_differences

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ArmResult, ExperimentResult

MOST_BANDS = 6  # more of them cover each other
WIDE_RANGE = 5.0  # of multiply-adds, from which on their axis is logarithmic


def draw_figures(result: "ExperimentResult") -> dict[str, Drawing]:
    """Return the figures of an experiment by name, each only if it says something."""
    drawn = {
        "differences": draw_differences(result),
        "learning_curves": draw_curves(result),
        "cost": draw_cost(result),
    }
    return {name: drawing for name, drawing in drawn.items() if drawing}


def draw_curves(result: "ExperimentResult") -> Drawing | None:
    """Draw validation accuracy and training loss over the epochs; None if no arm has two epochs.

    Lines are means over the seeds, bands reach a standard deviation to each side.
    """
    columns = {"validation accuracy": "val_accuracy", "training loss": "loss"}
    panels = {label: [_curves(arm, column) for arm in result.arms] for label, column in columns.items()}
    panels = {label: curves for label, curves in panels.items() if any(map(len, curves))}
    if not panels:
        return None
    has_bands = len(result.arms) <= MOST_BANDS and len(result.seeds) > 1
    with drawn_with(*(arm.name for arm in result.arms)) as shown:
        figure = Figure(figsize=(8.5 if len(panels) > 1 else 5, 3.5), layout="constrained")
        for axes, (label, curves) in zip(np.ravel(figure.subplots(1, len(panels))), panels.items(), strict=True):
            _draw_panel(axes, curves, has_bands=has_bands)
            axes.set(xlabel="epoch", ylabel=label)
            if label == "validation accuracy":
                axes.yaxis.set_major_formatter(PercentFormatter(1))
        lines = [Line2D([], [], **line_of(place)) for place in range(len(result.arms))]
        draw_legend(figure, lines, [shown(arm.name) for arm in result.arms])
        seeds = counted(len(result.seeds), "seed")
        over = f"means over {seeds}" if len(result.seeds) > 1 else seeds
        bands = "; bands reach one standard deviation to each side" if has_bands else ""
        return to_drawing(figure, f"{' and '.join(panels).capitalize()} over the epochs: {over}{bands}.")


def _curves(arm: "ArmResult", column: str) -> NDArray[np.float64]:
    """Return a column of the histories, a row per seed, up to the epoch that all reached; empty for one epoch."""
    histories = [[getattr(row, column) for row in run.history] for run in arm.runs]
    length = min(map(len, histories), default=0)
    curves = np.array([history[:length] for history in histories], np.float64)  # None becomes NaN
    return curves if length > 1 and np.isfinite(curves).any() else np.empty((0, 0))


def _draw_panel(axes: Axes, arms: Sequence[NDArray[np.float64]], *, has_bands: bool) -> None:
    for place, curves in enumerate(arms):
        if len(curves):
            epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
            axes.plot(epochs, mean, **line_of(place))
            if has_bands and len(curves) > 1:
                spread = curves.std(axis=0, ddof=1)
                colour = line_of(place)["color"]
                axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_cost(result: "ExperimentResult") -> Drawing | None:
    """Draw accuracy over multiply-adds, with intervals and the Pareto front; None if all arms cost the same.

    On a grid, a variant has its colour and marker, and a label says the point; otherwise a label says the arm.
    """
    points = [(arm.multiply_adds / 1e6, arm.mean) for arm in result.arms]
    costs = [cost for cost, _ in points]
    if len(set(costs)) < 2:
        return None
    variants = list(dict.fromkeys(arm.variant for arm in result.arms))
    on_grid = len(result.arms) > len(variants)
    labels = [_say_point(arm) if on_grid else arm.name for arm in result.arms]
    with drawn_with(*variants, *labels) as shown:
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel="million multiply-adds", ylabel="test accuracy")
        axes.plot(*zip(*pareto_front(points), strict=True), color="grey", linewidth=1, zorder=1)
        for (cost, mean), arm in zip(points, result.arms, strict=True):
            error = [[mean - arm.interval[0]], [arm.interval[1] - mean]] if arm.interval else None
            axes.errorbar(cost, mean, error, capsize=2, elinewidth=1, **point_of(variants.index(arm.variant)))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.margins(x=0.15, y=0.1)
        if max(costs) > WIDE_RANGE * min(costs):
            _use_logarithms(axes)
        handles = [
            Line2D([], [], linestyle="", **point_of(place)) for place in range(len(variants) if on_grid else 0)
        ]
        names = [shown(variant) for variant in variants] if on_grid else []
        front = Line2D([], [], color="grey", linewidth=1)
        draw_legend(figure, [*handles, front], [*names, "Pareto front of the means"])
        label_points(figure, axes, [(*point, shown(label)) for point, label in zip(points, labels, strict=True)])
        bars = " with 95 % t intervals" if any(arm.interval for arm in result.arms) else ""
        return to_drawing(figure, f"Mean test accuracy{bars} against the cost of one picture.")


def _say_point(arm: "ArmResult") -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in arm.point.items())


def _use_logarithms(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, accuracy) that no cheaper point equals in accuracy, the cheapest first."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front
