import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from keras_sepnets.runs.plots import (
    draw_ablation,
    draw_confusion,
    draw_grid,
    draw_learning_curve,
    draw_pictures,
    draw_range_test,
)

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
    assert 400 <= height < width <= 1600


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


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    from keras_sepnets.runs import plots

    drawn = []
    monkeypatch.setattr(plots, "_to_png", lambda figure: drawn.append(figure) or b"")
    return drawn


@pytest.mark.parametrize("classes", [2, 7, 30])
def test_a_long_title_is_whole(figures, classes):
    title = "mobilenet on folder:my_pictures_of_all_the_birds_in_the_garden_since_2019, test: top-1 97.22%"
    draw_confusion(np.eye(classes, dtype=int), [f"class {n}" for n in range(classes)], title)
    draw_learning_curve(HISTORY, f"mobilenet on folder:{'x' * 200}")
    draw_ablation({"a": [HISTORY]}, f"mobilenet on folder:{'x' * 200}")
    draw_range_test([1, 2, 3], [3, 2, 1], [3, 2, 1], {}, f"mobilenet on folder:{'x' * 200}")
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        place = figure._suptitle.get_window_extent()
        assert 0 <= place.x0 < place.x1 <= figure.bbox.x1
    assert "".join(figures[0].get_suptitle().split()) == "".join(title.split())


def test_the_confusion_matrix_says_what_shades_and_numbers_are(figures):
    draw_confusion(np.eye(2, dtype=int), ["a", "b"], "")
    draw_confusion(np.eye(30, dtype=int), list(map(str, range(30))), "")
    legends = [figure.axes[1].get_ylabel() for figure in figures]
    assert legends == ["shade: share of the true class; number: pictures", "shade: share of the true class"]


@pytest.mark.parametrize(("best", "words"), [(3, "best epoch: 3"), (0, "best: before the first epoch")])
def test_the_best_epoch_is_marked_and_harder_training_is_said(figures, best, words):
    draw_learning_curve(HISTORY, "", best=best, harder="mixed pictures")
    for axes in figures[0].axes:
        lines = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
        assert lines[words] == [best, best]
        assert {"train, on mixed pictures", "validation"} < lines.keys()


def test_a_curve_without_held_out_pictures_has_no_validation(figures):
    draw_learning_curve(HISTORY, "", held_out=False)
    for axes in figures[0].axes:
        assert [line.get_label() for line in axes.get_lines()] == [
            "train",
            "training pictures, evaluated after the epoch",
        ]


def test_letters_without_a_font_are_shown_as_codes_with_one_sentence(figures, monkeypatch):
    from keras_sepnets.runs import fonts

    monkeypatch.setattr(fonts.fontManager, "ttflist", [])
    fonts._choose.cache_clear()
    fonts._warn_once.cache_clear()

    def draw_both():
        draw_confusion(np.eye(2, dtype=int), ["猫", "собака"], "猫")
        draw_pictures([np.zeros((4, 4, 3))], ["猫 60%\nis собака"], "")
        draw_ablation({"猫": [HISTORY]}, "猫")
        draw_range_test([1, 2, 3], [3, 2, 1], [3, 2, 1], {}, "猫")
        FigureCanvasAgg(figures[0]).draw()

    with pytest.warns(UserWarning, match="No installed font has some letters") as caught:
        draw_both()
    assert len(caught) == 1
    names = [label.get_text() for label in figures[0].axes[0].get_xticklabels()]
    assert names == [r"\u732b", "собака"]
    assert figures[1].axes[0].texts[0].get_text() == "\\u732b 60%\nis собака"
    assert [figure.get_suptitle() for figure in figures[2:]] == [r"\u732b"] * 2
    assert figures[2].axes[0].get_legend_handles_labels()[1] == [r"\u732b"]
    fonts._choose.cache_clear()


def test_captions_do_not_run_into_each_other(figures):
    long = "a class with a very long name, number "
    draw_pictures(np.zeros((9, 4, 4, 3)), [f"60% {long}{k}\n40% {long}{k + 1}" for k in range(9)], "")
    FigureCanvasAgg(figures[0]).draw()
    places = [text.get_window_extent() for text in figures[0].axes[0].texts]
    assert all(one.x1 < other.x0 for one, other in pairwise(places[:8]))
    assert figures[0].axes[0].texts[3].get_text().endswith(" number 4")


def test_loss_axis_shows_the_whole_curve(monkeypatch):
    from keras_sepnets.runs import plots

    limits = []
    monkeypatch.setattr(plots, "_to_png", lambda figure: limits.append(figure.axes[0].get_ylim()) or b"")
    draw_learning_curve(HISTORY, "")
    draw_ablation({"a": [HISTORY]}, "")
    assert all(low == 0 and high >= 5 for low, high in limits)
