import io

import numpy as np
import pytest
from PIL import Image

from keras_sepnets.runs.plots import draw_ablation, draw_confusion, draw_grid, draw_learning_curve

HISTORY = [
    {"epoch": epoch, "loss": 5 / epoch, "top1": 0.1 * epoch, "val_loss": 6 / epoch, "val_top1": 0.09 * epoch}
    for epoch in range(1, 6)
]


def size_of(png):
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture.size


def test_curves_are_pictures():
    assert size_of(draw_learning_curve(HISTORY, "a title")) == (1000, 400)
    assert size_of(draw_learning_curve(HISTORY[:1], "one epoch")) == (1000, 400)
    assert size_of(draw_ablation({"a": [HISTORY, HISTORY], "b": [HISTORY]}, "two variants")) == (1000, 400)


@pytest.mark.parametrize("classes", [2, 20, 21, 300])
def test_confusion_of_any_number_of_classes(classes):
    matrix = np.random.default_rng(0).integers(0, 9, (classes, classes))
    width, height = size_of(draw_confusion(matrix, [f"class {n}" for n in range(classes)], "a title"))
    assert 400 <= width == height <= 1600


def test_grid_has_a_line_for_each_width_and_a_marker_for_each_point(monkeypatch):
    from keras_sepnets.runs import plots

    points = [
        {"alpha": alpha, "image_size": size, "multiply_adds": alpha * size**2 * 1e3, "top1": alpha / 2}
        for alpha in (1.0, 0.5)
        for size in (224, 128)
    ]
    figures = []
    monkeypatch.setattr(plots, "_to_png", lambda figure: figures.append(figure) or b"")
    draw_grid(points, "a title")
    lines = figures[0].axes[0].get_lines()
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert drawn == [(point["multiply_adds"] / 1e6, point["top1"]) for point in points]
    assert [line.get_label() for line in lines if len(line.get_xdata()) == 2] == ["alpha 1", "alpha 0.5"]
    monkeypatch.undo()
    assert size_of(draw_grid(points, "a title")) == (800, 500)


def test_names_are_text_not_formulas():
    names = ["$100^$", "_$x_$", "<b>"]
    assert size_of(draw_confusion(np.eye(3, dtype=int), names, "/a_$x_$/b"))
    assert size_of(draw_learning_curve(HISTORY, "$^"))


def test_loss_axis_shows_the_whole_curve(monkeypatch):
    from keras_sepnets.runs import plots

    limits = []
    monkeypatch.setattr(plots, "_to_png", lambda figure: limits.append(figure.axes[0].get_ylim()) or b"")
    draw_learning_curve(HISTORY, "")
    draw_ablation({"a": [HISTORY]}, "")
    assert all(low == 0 and high >= 5 for low, high in limits)
