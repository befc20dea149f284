from itertools import combinations

import invented
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from keras_sepnets.lab import figures, forest
from keras_sepnets.lab.figures import draw_cost, draw_curves, draw_figures, pareto_front
from keras_sepnets.lab.forest import draw_differences


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, which are not saved."""
    found = []
    for module in (figures, forest):
        monkeypatch.setattr(module, "to_drawing", lambda figure, caption: found.append(figure) or caption)
    return found


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (invented.three_arms(), {"differences", "learning_curves"}),
        (invented.on_a_grid(), {"differences", "learning_curves", "cost"}),
        (invented.three_arms(seeds=1), {"learning_curves"}),
        (invented.three_arms(epochs=1), {"differences"}),
        (invented.three_arms(seeds=1, epochs=1), set()),
    ],
    ids=["three", "grid", "one seed", "one epoch", "neither"],
)
def test_a_figure_is_drawn_only_where_it_says_something(drawn, result, names):
    assert draw_figures(result).keys() == names


def test_curves_are_means_over_seeds_with_bands(drawn):
    result = invented.three_arms()
    draw_curves(result)
    accuracy, loss = drawn[0].axes
    for axes, column in ((accuracy, "val_accuracy"), (loss, "loss")):
        for line, arm in zip(axes.get_lines(), result.arms, strict=True):
            first = [getattr(run.history[0], column) for run in arm.runs]
            assert line.get_ydata()[0] == pytest.approx(sum(first) / len(first))
        assert len(axes.collections) == 3
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
        assert len({colour for colour, _ in looks}) == len({style for _, style in looks}) == 3
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["none", "relu", "elu"]


def test_without_validation_only_the_loss_is_drawn(drawn):
    draw_curves(invented.three_arms(validation=False))
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["training loss"]


@pytest.mark.filterwarnings("ignore:No installed font")
def test_many_arms_have_lines_of_their_own(drawn):
    draw_curves(invented.strange_names())
    lines = drawn[0].axes[0].get_lines()
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 12
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert names[0] == "<b>x</b>"
    assert "$x^2$" in names
    assert "_under_ *star*" in names


def test_a_row_has_both_intervals_the_margin_and_zero(drawn):
    result = invented.three_arms()
    draw_differences(result)
    axes = drawn[0].axes[0]
    lines = [list(line.get_xdata()) for line in axes.get_lines()]
    for found in (pair for pair in result.comparisons if pair.metric == "top1"):
        for ends in (found.interval, found.bootstrap_interval):
            assert pytest.approx([100 * end for end in ends]) in lines
    assert [0, 0] in lines
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.x0, band.x1) == pytest.approx((-0.5, 0.5))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["relu", "elu"]
    assert axes.get_xscale() == "linear"


def test_all_pairs_name_both_arms(drawn):
    draw_differences(invented.three_arms(all_pairs=True))
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert labels == ["relu\n- none", "elu\n- none", "elu\n- relu"]


def test_a_large_difference_does_not_flatten_the_small_ones(drawn):
    draw_differences(invented.invent({"a": 0.0, "b": -0.4, "c": 0.001, "d": 0.003}))
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == "symlog"
    assert "logarithmic beyond 1" in axes.get_xlabel()


@pytest.mark.parametrize(("alphas", "scale"), [((0.5, 1.0), "linear"), ((0.125, 0.5, 1.0), "log")])
def test_the_cost_is_logarithmic_where_its_range_asks_for_it(drawn, alphas, scale):
    result = invented.on_a_grid(alphas)
    draw_cost(result)
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == scale
    FigureCanvasAgg(drawn[0]).draw()
    renderer = drawn[0].canvas.get_renderer()
    places = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(places) == len(result.arms)
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))


def test_the_front_has_what_nothing_cheaper_equals():
    points = [(3, 0.7), (1, 0.5), (2, 0.4), (2, 0.6), (4, 0.7), (1, 0.3), (5, 0.8)]
    assert pareto_front(points) == [(1, 0.5), (2, 0.6), (3, 0.7), (5, 0.8)]
