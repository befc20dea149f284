"""The papers' numbers are counted again, and each difference is explained."""

import csv
import re
from pathlib import Path

import pytest

from keras_sepnets.cost.papers import CLAIMS, compare_with_papers, mobilenet_grid

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def comparisons():
    return compare_with_papers()


def test_every_difference_has_its_explanation(comparisons):
    for comparison in comparisons:
        assert comparison.agrees or comparison.claim.note, comparison


def test_every_table_is_there(comparisons):
    tables = {(comparison.claim.paper, comparison.claim.table) for comparison in comparisons}
    mobilenets = {("MobileNets", table) for table in (2, 3, 4, 5, 6, 7, 9, 10)}
    assert tables == mobilenets | {("MobileNetV2", 4), ("Xception", 3)}


def test_the_errata_are_the_known_ones(comparisons):
    """Misprints, omissions, and numbers that do not reproduce."""
    differing = [
        (c.claim.table, c.claim.row, c.claim.printed, round(c.ours, 2)) for c in comparisons if not c.agrees
    ]
    assert differing == [
        (2, "Conv 1x1", "74.59", 74.57),
        (2, "Conv 3x3", "1.19", 1.91),
        (2, "Fully Connected", "24.33", 24.35),
        (4, "Conv MobileNet", "4866", 4867.29),
        (10, "Inception V3", "5000", 5711.41),
        (10, "Inception V3", "23.2", 22.0),
        (10, "1.0 MobileNet-224", "569", 567.84),
        (10, "1.0 MobileNet-192", "418", 417.22),
        (4, "MobileNetV1", "575", 568.74),
        (4, "MobileNetV2 (1.4)", "585", 582.2),
        (4, "MobileNetV2 (1.4)", "6.9", 6.06),
        (3, "Inception V3", "23,626,728", 23_817_352),
    ]


def test_readme_says_how_many_agree(comparisons):
    readme = (ROOT / "README.md").read_text()
    (printed,) = re.findall(r"counts (\d+) numbers.*?(\d+) agree", readme, re.DOTALL)
    assert [int(number) for number in printed] == [len(comparisons), sum(one.agrees for one in comparisons)]


def test_comparison_of_one_network():
    rows = [claim.row for claim in CLAIMS if claim.network == "xception"]
    assert [comparison.claim.row for comparison in compare_with_papers("xception")] == rows == ["Xception"]


def test_stanford_dogs_has_120_classes(comparisons):
    ours = {(c.claim.row, c.claim.quantity): c.ours for c in comparisons if c.claim.table == 10}
    assert ours["1.0 MobileNet-224", "M parameters"] == pytest.approx(3.308088)


def test_grid_has_16_networks_whose_cost_falls_with_width_and_size():
    points = mobilenet_grid()
    kept = list(csv.DictReader((ROOT / "experiments/mobilenet_grid/mobilenet_grid.csv").open()))
    assert [int(row["multiply_adds"]) for row in kept] == [point.multiply_adds for point in points]
    assert len({(point.alpha, point.image_size) for point in points}) == 16
    assert points[0].multiply_adds == 568_740_352
    assert points[-1].multiply_adds == 13_570_048
    for alpha in (1.0, 0.75, 0.5, 0.25):
        line = [point for point in points if point.alpha == alpha]
        assert [p.multiply_adds for p in line] == sorted((p.multiply_adds for p in line), reverse=True)
        assert [p.top1 for p in line] == sorted((p.top1 for p in line), reverse=True)
