"""Plots of results as PNG bytes, drawn without a display."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from keras_sepnets.runs.fonts import fonts_for

MOST_ANNOTATED_CLASSES = 20
LETTERS_PER_INCH = 9  # of a title
LONGEST_NAME = 25  # letters of the name of a class, which are as wide as a picture
PICTURES_IN_A_ROW = 8
CELL_WIDTH, CELL_HEIGHT, PICTURE_SIDE, HEADING = 1.4, 1.65, 1.25, 0.35  # inches


def draw_learning_curve(
    history: Sequence[Mapping[str, float]],
    title: str,
    *,
    best: int | None = None,
    harder: str = "",
    held_out: bool = True,
) -> bytes:
    """Draw loss and top-1 accuracy over the epochs, in training steps and in the evaluations after each epoch.

    Args:
        history: One row per epoch.
        title: Text above the panels.
        best: The best epoch on validation, which is marked; 0: before the first epoch. None for no mark.
        harder: What makes training harder than validation, so that the two cannot be compared, such as mixed
            pictures; empty for nothing.
        held_out: Whether the evaluated pictures are held out from training, and so are validation.
    """
    with fonts_for(title) as shown:
        figure, (loss, top1) = _two_panels(shown(title))
        epochs = [row["epoch"] for row in history]
        for axes, name in ((loss, "loss"), (top1, "top1")):
            train = f"train, on {harder}" if harder else "train"
            evaluated = "validation" if held_out else "training pictures, evaluated after the epoch"
            axes.plot(epochs, [row[name] for row in history], marker=".", label=train)
            axes.plot(epochs, [row[f"val_{name}"] for row in history], marker=".", label=evaluated)
            if best is not None:
                words = f"best epoch: {best}" if best else "best: before the first epoch"
                axes.axvline(best, color="grey", linestyle="--", linewidth=1, label=words)
            axes.legend()
        loss.set_ylim(bottom=0)
        return _to_png(figure)


def draw_ablation(histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], title: str) -> bytes:
    """Draw training loss and validation top-1 of each variant: the mean over seeds, and each seed as a thin line.

    Args:
        histories: One history per seed, by the name of the variant.
        title: Text above the panels.
    """
    with fonts_for(title, *histories) as shown:
        figure, (loss, top1) = _two_panels(shown(title))
        loss.set_ylabel("training loss")
        top1.set_ylabel("validation top-1")
        for number, (variant, seeds) in enumerate(histories.items()):
            for axes, name in ((loss, "loss"), (top1, "val_top1")):
                curves = np.array([[row[name] for row in history] for history in seeds])
                epochs = np.arange(1, curves.shape[1] + 1)
                for curve in curves:
                    axes.plot(epochs, curve, color=f"C{number}", alpha=0.3, linewidth=0.8)
                axes.plot(epochs, curves.mean(axis=0), color=f"C{number}", marker=".", label=shown(variant))
                axes.legend()
        loss.set_ylim(bottom=0)
        return _to_png(figure)


def draw_grid(points: Sequence[Mapping[str, float]], title: str) -> bytes:
    """Draw top-1 accuracy over multiply-adds: a line for each alpha, a marker for each image size.

    Args:
        points: Mappings with the keys alpha, image_size (px), multiply_adds and top1 (a fraction).
        title: Text above the panel.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="million multiply-adds", ylabel="ImageNet top-1 accuracy", xscale="log")
    axes.set_title(title, parse_math=False)
    markers = dict(zip(sorted({point["image_size"] for point in points}, reverse=True), "os^Dv*", strict=False))
    for alpha in dict.fromkeys(point["alpha"] for point in points):
        line = [point for point in points if point["alpha"] == alpha]
        xs, ys = [point["multiply_adds"] / 1e6 for point in line], [point["top1"] for point in line]
        (drawn,) = axes.plot(xs, ys, label=f"alpha {alpha:g}")
        for point, x, y in zip(line, xs, ys, strict=True):
            axes.plot(x, y, marker=markers[point["image_size"]], markersize=8, color=drawn.get_color())
    for size, marker in markers.items():
        axes.plot([], [], marker=marker, linestyle="", markersize=8, color="grey", label=f"{size} px")
    axes.legend(ncols=2)
    axes.grid(alpha=0.3, which="both")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return _to_png(figure)


def draw_range_test(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
    title: str,
) -> bytes:
    """Draw the losses of a range test over the learning rates, and a vertical line at each marked rate."""
    with fonts_for(title) as shown:
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot(xlabel="learning rate", ylabel="loss", xscale="log")
        figure.suptitle(_wrap(shown(title), 8), parse_math=False)
        axes.plot(rates, losses, color="lightgrey", label="of each batch")
        axes.plot(rates, smoothed, color="C0", label="smoothed")
        for number, (name, rate) in enumerate(marks.items(), start=1):
            axes.axvline(rate, color=f"C{number}", linestyle="--", label=f"{name}: {rate:g}")
        highest = max(smoothed[0], float(np.percentile(losses, 75)))  # an exploding loss would flatten the rest
        low = min(*smoothed, *losses)
        axes.set_ylim(low - 0.05 * (highest - low), highest + 0.5 * (highest - low) or None)
        axes.legend()
        axes.grid(alpha=0.3)
        return _to_png(figure)


def draw_confusion(matrix: np.ndarray, class_names: Sequence[str], title: str) -> bytes:
    """Draw a confusion matrix (rows true, columns predicted), coloured by the share of the true class."""
    size = float(np.clip(0.45 * len(class_names), 4, 14)) + 1
    with fonts_for(title, *class_names) as shown:
        figure = Figure(figsize=(size + 1, size), layout="constrained")
        figure.suptitle(_wrap(shown(title), size + 1), parse_math=False)
        axes = figure.add_subplot(xlabel="predicted class", ylabel="true class")
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        annotated = len(class_names) <= MOST_ANNOTATED_CLASSES
        legend = "shade: share of the true class" + ("; number: pictures" if annotated else "")
        figure.colorbar(image, ax=axes, label=legend, format=PercentFormatter(1))
        if annotated:
            names = [_shorten(shown(name)) for name in class_names]
            axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
            axes.set_yticks(range(len(names)), names, parse_math=False)
            for row, column in np.argwhere(matrix > 0):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
        return _to_png(figure)


def draw_rows(rows: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    """Draw a contact sheet: named rows of pictures, uint8 of shape (size, size, 3), all of the same size."""
    side = max((len(picture) for pictures in rows.values() for picture in pictures), default=1)
    columns = max(map(len, rows.values()), default=1) or 1
    sheet = np.full((len(rows) * side, columns * side, 3), 255, np.uint8)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = picture
    with fonts_for(*rows) as shown:
        figure = Figure(figsize=(2 + columns, 0.3 + len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(sheet, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks((np.arange(len(rows)) + 0.5) * side, list(map(shown, rows)), parse_math=False)
        return _to_png(figure)


def draw_pictures(
    pictures: Sequence[np.ndarray] | np.ndarray, titles: Sequence[str], title: str, colours: Sequence[str] = ()
) -> bytes:
    """Draw pictures (0 to 255, all of the same size), eight in a row, each with a title, which may be coloured."""
    columns = min(PICTURES_IN_A_ROW, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = columns * CELL_WIDTH, HEADING + rows * CELL_HEIGHT
    with fonts_for(title, *titles) as shown:
        figure = Figure(figsize=(width, height))
        figure.suptitle(shown(title), parse_math=False, fontsize="small")
        # One pair of axes in inches for all pictures: a pair for each takes six times as long to draw.
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        margin = (CELL_WIDTH - PICTURE_SIDE) / 2
        colours = colours or ["black"] * len(titles)
        for number, (picture, words, colour) in enumerate(zip(pictures, titles, colours, strict=False)):
            row, column = divmod(number, columns)
            left, bottom = column * CELL_WIDTH + margin, HEADING + (row + 1) * CELL_HEIGHT - margin
            pixels = np.rint(picture).clip(0, 255).astype(np.uint8)
            extent = (left, left + PICTURE_SIDE, bottom, bottom - PICTURE_SIDE)
            axes.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto")
            above = (left + PICTURE_SIDE / 2, bottom - PICTURE_SIDE - 0.03)
            lines = "\n".join(_shorten(shown(line)) for line in words.split("\n"))
            axes.text(*above, lines, parse_math=False, fontsize=7, color=colour, ha="center", va="bottom")
        axes.set(xlim=(0, width), ylim=(height, 0))
        return _to_png(figure)


def _two_panels(title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(_wrap(title, 10), parse_math=False)
    loss, top1 = figure.subplots(1, 2)
    loss.set(xlabel="epoch", ylabel="loss")
    top1.set(xlabel="epoch", ylabel="top-1 accuracy", ylim=(0, 1.02))
    for axes in (loss, top1):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure, (loss, top1)


def _wrap(text: str, width: float) -> str:
    """Return a text in lines of at most this width in inches, whatever words it has."""
    return textwrap.fill(text, max(10, int(LETTERS_PER_INCH * width)))


def _shorten(name: str) -> str:
    """Return a name without its middle if it is too long: names often differ at their ends."""
    half = LONGEST_NAME // 2 - 1
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def _to_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()
