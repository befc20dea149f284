"""docs/experiments.md has the experiments of today, in its table and in its figure."""

import json

import collect_experiments
import invented
import pytest
from collect_experiments import EXPERIMENTS, FIGURE, PAGE, read_results, render_page

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.lab.forest import describe
from keras_sepnets.lab.wording import accuracies

BASE = '[base]\nmodel = {name = "xception", alpha = 0.25}\n"data.image_size" = 32\n'


@pytest.fixture
def experiments(tmp_path):
    for name, result in (
        ("a", invented.three_arms()),
        ("b", invented.on_a_grid(question="What | does width buy?", source="MobileNets, Table 6: much.")),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(result.to_json()), encoding="utf-8")
        (tmp_path / name / "experiment.toml").write_text(BASE, encoding="utf-8")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "results.json").write_text('{"variants": {}}', encoding="utf-8")
    return tmp_path


def test_the_page_is_of_today():
    results = read_results()
    if results:
        assert render_page(PAGE.read_bytes(), results) == PAGE.read_bytes()
        figure = FIGURE.with_suffix(".svg").read_text(encoding="utf-8")
        for result in results.values():
            for found in accuracies(result):
                assert f"<!-- {describe(found)} -->" in figure  # matplotlib writes each text as a comment
    assert not EXPERIMENTS.joinpath("old").exists()


def test_every_comparison_has_a_row(experiments):
    results = read_results(experiments)
    assert [*results] == ["a", "b"]
    page = render_page(b"", results, experiments).decode()
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 2 + 4
    question = "[Should there be a ReLU between the depthwise and the pointwise step?](../experiments/a/report.md)"
    assert rows[0].startswith(f"| {question} | Xception, arXiv:1610.02357, Figure 10: no ")
    assert rows[0].endswith(
        "| xception, alpha 0.25, 32 px, `folder:cifar10-jpeg`, 2,000 test pictures, 15 epochs, 8 seeds, "
        "margin ±0.5 points |"
    )
    assert "xception, alpha 0.25 / 0.5 / 0.75 / 1.0, 32 px" in rows[2]
    assert r"[What \| does width buy?]" in rows[2]


def test_words_around_the_table_stay(experiments):
    results = read_results(experiments)
    page = render_page(b"", results, experiments).replace(b"# Experiments", b"# Ours") + b"our words"
    results.pop("a")
    again = render_page(page, results, experiments)
    assert again.startswith(b"# Ours")
    assert again.endswith(b"our words")
    assert b"ReLU" not in again
    with pytest.raises(SepnetsError, match="experiments.md cannot be replaced"):
        render_page(b"without markers", results, experiments)


def test_one_figure_has_all_experiments(experiments, monkeypatch):
    drawn = []
    monkeypatch.setattr("keras_sepnets.lab.forest.to_drawing", lambda figure, _caption: drawn.append(figure))
    collect_experiments.draw_all(read_results(experiments))
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["relu - none", "elu - none"]
    assert [text.get_text() for text in axes.texts][1] == "What | does width buy?"
