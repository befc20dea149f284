"""What the figures of an experiment share: colours, legends, labels of points, and both file forms."""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from keras_sepnets.runs.fonts import fonts_for

# Of Okabe and Ito, which people with any colour vision can tell apart; without the yellow, too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
MARKERS = "osD^vPX*"
LONGEST_NAME = 36  # letters of an arm's name
LINE_HEIGHT = 0.21  # inches
LETTERS_PER_INCH = 13
DPI = 120
DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))  # of a label from its point
SIDES, LEVELS = {1: "left", 0: "center", -1: "right"}, {1: "bottom", 0: "center", -1: "top"}


class Drawing(NamedTuple):
    """A figure in both forms, and the words that describe it."""

    svg: bytes
    png: bytes
    caption: str


@contextlib.contextmanager
def drawn_with(*texts: str) -> Iterator[Callable[..., str]]:
    """Draw in the style of reports, with fonts for these texts.

    Yields:
        A function that returns a text as figures show it: in characters that a font has, and without its middle if
        it has more letters than a second argument says; names often differ at their ends.
    """
    style: Any = {
        "axes.spines.right": False, "axes.spines.top": False, "axes.grid": True, "grid.alpha": 0.3,
        "font.size": 9, "legend.frameon": False, "svg.hashsalt": "sepnets", "text.parse_math": False,
    }  # fmt: skip
    with mpl.rc_context(style), fonts_for(*texts) as shown:
        yield lambda text, most=LONGEST_NAME: _shorten(shown(" ".join(text.split())), most)


def _shorten(text: str, most: int) -> str:
    half = most // 2 - 1
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def to_drawing(figure: Figure, caption: str) -> Drawing:
    """Return a figure in both forms; the same figure always gives the same bytes."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return Drawing(svg.getvalue(), png.getvalue(), caption)


def line_of(place: int) -> dict[str, Any]:
    """Return how the line of an arm looks; neighbours differ in colour and in style."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": STYLES[place % len(STYLES)], "linewidth": 1.6}


def point_of(place: int) -> dict[str, Any]:
    """Return how the points of a variant look; neighbours differ in colour and in marker."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "markersize": 6}


def draw_legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Put a legend below a figure, whose height grows by it."""
    width, height = figure.get_size_inches()
    longest = max(map(len, names)) / LETTERS_PER_INCH + 0.8
    columns = max(1, min(len(names), int(width / longest)))
    figure.set_size_inches(width, height + LINE_HEIGHT * -(-len(names) // columns))
    # Labels that begin with an underscore would be left out.
    places = list(map(str, range(len(names))))
    legend = figure.legend(handles, places, loc="outside lower center", ncols=columns, handlelength=3.5)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def label_points(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write a label beside each point, where it covers no point and no other label if it can."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # settles the layout
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer).padded(-2)
    corners = [axes.transData.transform(point[:2]) for point in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in corners]
    looks: dict[str, Any] = {
        "textcoords": "offset points", "fontsize": 8, "zorder": 4,
        "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        "arrowprops": {"arrowstyle": "-", "color": "grey", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
    }  # fmt: skip
    for x, y, label in sorted(points, key=lambda point: -point[1]):
        text = axes.annotate(label, (x, y), (0, 0), **looks)
        text.set_in_layout(False)
        for distance, (right, up) in itertools.product((7, 16, 28, 42, 0), DIRECTIONS):  # 0: nowhere else
            text.set(position=(distance * right, distance * up), ha=SIDES[right], va=LEVELS[up])
            text.update_positions(renderer)
            place = Text.get_window_extent(text, renderer)
            is_inside = frame.containsx(place.x0) and frame.containsx(place.x1) and frame.containsy(place.y0)
            if is_inside and frame.containsy(place.y1) and not place.count_overlaps(taken):
                break
        taken.append(place)
