import io

import numpy as np
import pytest
from PIL import Image

from keras_sepnets.plots import draw_ablation, draw_confusion, draw_learning_curve

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


def test_names_are_text_not_formulas():
    names = ["$100^$", "_$x_$", "<b>"]
    assert size_of(draw_confusion(np.eye(3, dtype=int), names, "/a_$x_$/b"))
    assert size_of(draw_learning_curve(HISTORY, "$^"))


def test_loss_axis_shows_the_whole_curve(monkeypatch):
    from keras_sepnets import plots

    limits = []
    monkeypatch.setattr(plots, "_to_png", lambda figure: limits.append(figure.axes[0].get_ylim()) or b"")
    draw_learning_curve(HISTORY, "")
    draw_ablation({"a": [HISTORY]}, "")
    assert all(low == 0 and high >= 5 for low, high in limits)
