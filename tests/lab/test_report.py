import re
import warnings
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import invented
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.lab import report
from keras_sepnets.lab.markdown import code, fence, plain, replace_parts, table
from keras_sepnets.lab.report import HEADS, write_reports

QUESTION = "Is <script>alert(1)</script> *safe*, and $1 < $2?"


class Page(HTMLParser):
    """What an HTML page has: its tags with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """The folder of an experiment whose arms have strange names."""
    folder = tmp_path_factory.mktemp("strange")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No installed font")
        write_reports(invented.strange_names(question=QUESTION), folder)
    return folder


@pytest.fixture
def undrawn(monkeypatch):
    """No figures, which take long."""
    monkeypatch.setattr(report, "draw_figures", lambda _result: {})


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def texts(folder):
    return (folder / "report.md").read_text(encoding="utf-8")


def test_writing_twice_gives_the_same_bytes(tmp_path):
    folder = tmp_path / "xception_intermediate_activation"
    folder.mkdir()
    write_reports(invented.three_arms(), folder)
    first = contents(folder)
    write_reports(invented.three_arms(), folder)
    assert contents(folder) == first
    figures = {f"figures/{name}.{form}" for name in ("differences", "learning_curves") for form in ("svg", "png")}
    assert {str(path) for path in first} == {"report.md", "report.html", *figures}
    assert texts(folder).startswith("# Xception intermediate activation\n\n## Question\n")


def test_figures_are_valid_and_shown(strange):
    report_text = texts(strange)
    for path in (strange / "figures").glob("*.svg"):
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert Image.open(path.with_suffix(".png")).width > 500
        assert f"](figures/{path.name})" in report_text


def test_the_page_needs_nothing_else_and_no_script(strange):
    html = (strange / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "object", "embed", "img", "base", "form"} & set(tags)
    assert tags.count("svg") == 2
    assert page.values("src") == []
    assert all(link == "data:," or link[0] == "#" for link in page.values("href") + page.values("xlink:href"))
    assert not re.search(r"@import|url\((?!#)", html)
    assert not [name for name in page.values("style") if "http" in name]
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:url\(#|href="#)([^)"]+)', html)
    assert targets
    assert set(targets) <= set(ids)


def test_names_are_text_everywhere(strange):
    page = Page((strange / "report.html").read_text(encoding="utf-8"))
    assert "b" not in [tag for tag, _ in page.tags]
    assert page.text.count(QUESTION) == 2  # with the window's title
    for arm in invented.strange_names().arms:
        assert page.text.count(arm.name) >= 4
    report_text = texts(strange)
    assert [line.removeprefix("## ") for line in report_text.splitlines() if line.startswith("## ")] == [*HEADS]


@pytest.mark.parametrize(
    "words",
    ["plain", "a * b * c", "_a_ and snake_case", "`code`", "``", "a|b", "1. one", "- x", "# x", "[a](b)",
     "![a](b)", "<b>x</b>", "&lt;", "$x$ and ~~y~~", "back\\slash", "<!-- end: results -->", "`a", "猫 `` 犬",
     "===", "2) x"],
)  # fmt: skip
def test_any_words_are_shown_as_they_are(words):
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    assert Page(markdown.render(plain(words))).text.strip() == words
    assert Page(markdown.render(code(words))).text.strip() == words
    page = Page(markdown.render(table(["a"], [[code(words)], [plain(words)]])))
    assert page.text.count(words) == 2
    assert Page(markdown.render(fence(words))).text.strip() == words


def test_a_persons_words_stay_to_the_byte(tmp_path, undrawn):
    write_reports(invented.three_arms(), tmp_path)
    file = tmp_path / "report.md"
    parts = file.read_bytes().split(b"## Reading")
    ours = b"\r\nThe paper saw *more*.\r\n\xff\t \n<!-- a note --> kept\n\n| a |\n|---|\n| <i>1</i> |\n\n"
    file.write_bytes(
        b"Before it all\n" + parts[0] + b"## Reading" + ours + parts[1] + b"The end, without a newline"
    )
    before = file.read_bytes()
    write_reports(invented.three_arms(seeds=5), tmp_path)
    after = file.read_bytes()
    outside = re.compile(rb"(?s)(<!-- begin: \w+ -->\n).*?(<!-- end: \w+ -->)")
    assert outside.sub(rb"\1\2", after) == outside.sub(rb"\1\2", before)
    assert b"**Seeds:** 8" in before
    assert b"**Seeds:** 5" in after
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "em" in [tag for tag, _ in page.tags]
    assert "<i>1</i>" in page.text
    assert "a note" not in page.text
    assert "kept" in page.text


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("<!-- end: results -->\n", "", "the line <!-- end: results --> is missing"),
        ("<!-- begin: limits -->", "<!-- begin limits -->", "the line <!-- begin: limits --> is missing"),
        ("<!-- end: source -->", "<!-- end: source -->\n<!-- end: source -->", "end: source --> is there 2 times"),
        ("<!-- begin: source -->", "<!-- begin: source --> x", "the line <!-- begin: source --> is missing"),
        ("# ", "<!-- end: question -->\n# ", "the line <!-- end: question --> is there 2 times"),
    ],
)  # fmt: skip
def test_a_damaged_marker_is_a_sentence_and_nothing_is_written(tmp_path, undrawn, old, new, fault):
    write_reports(invented.three_arms(), tmp_path)
    file = tmp_path / "report.md"
    file.write_text(texts(tmp_path).replace(old, new, 1), encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(SepnetsError, match=re.escape(fault)) as caught:
        write_reports(invented.three_arms(seeds=5), tmp_path)
    assert str(file) in str(caught.value)
    assert contents(tmp_path) == before


def test_parts_that_cross_are_not_replaced(tmp_path):
    page = b"<!-- begin: a -->\n<!-- begin: b -->\n<!-- end: a -->\n<!-- end: b -->\n"
    with pytest.raises(SepnetsError, match="its markers are not in order"):
        replace_parts(page, {"a": "1", "b": "2"}, tmp_path / "page.md")
    with pytest.raises(SepnetsError, match="its markers are not in order"):
        replace_parts(b"<!-- end: a -->\n<!-- begin: a -->", {"a": "1"}, tmp_path / "page.md")


def test_an_old_report_without_markers_is_left_alone(tmp_path, undrawn):
    (tmp_path / "report.md").write_text("# Mine\n", encoding="utf-8")
    with pytest.raises(SepnetsError, match="rename the file, so that a new one is written"):
        write_reports(invented.three_arms(), tmp_path)
    assert contents(tmp_path).keys() == {(tmp_path / "report.md").relative_to(tmp_path)}


def test_the_settings_of_all_arms_are_those_of_the_experiments_file(tmp_path, undrawn):
    (tmp_path / "experiment.toml").write_text('[base]\nmodel.alpha = 0.25\n"data.augment" = false\n', "utf-8")
    write_reports(invented.three_arms(), tmp_path)
    assert "| `data.augment` | `false` |\n| `model.alpha` | `0.25` |" in texts(tmp_path)


def said_of(tmp_path, result):
    write_reports(result, tmp_path)
    return texts(tmp_path)


def test_the_report_says_what_a_reviewer_asks(tmp_path, undrawn):
    result = invented.three_arms()
    said = said_of(tmp_path, result)
    relu, elu = (found for found in result.comparisons if found.metric == "top1")
    over_seeds, over_both = (
        f"{100 * low:+.2f} to {100 * high:+.2f}" for low, high in (relu.interval, relu.bootstrap_interval)
    )
    for words in (
        "```sh\nsepnets ablate experiments/xception_intermediate_activation\n```",
        "2,000 test pictures; each run is tested once; always naming the most frequent class gives 10.00%",
        "8 (0 to 7). A seed changes the initial weights, the order of the pictures, their augmentation, dropout "
        "and the cut between training and validation",
        f"correlate by {elu.correlation:+.2f} to {relu.correlation:+.2f}",
        "chosen for each arm from 0.01, 0.03 and 0.1",
        "An end of the grid won for `none`, `relu` and `elu`",
        "the same to within ±0.5 points if two one-sided tests",
        "Holm's adjustment for 2 comparisons of test accuracy and 2 comparisons of training loss",
        "24 trainings of 40 minutes 11 seconds in all; the last one began 2026-11-27",
        "cpu cores 2, memory 24.0 GB; versions: python 3.11.7, keras 3.15.1, tensorflow 2.21.0",
        f"- `relu` against `none`: **worse**, {100 * relu.difference:+.2f} points (95 % interval "
        f"{over_seeds} over seeds, {over_both} over seeds and pictures)",
        "5 of 8 runs of `relu` never reached a validation accuracy of 70.5%",
        "would take more seeds for 2 comparisons, up to 9",
        "a test picture is 0.05 points",
        "longer training may change the order",
    ):
        assert words in said, words


def test_what_is_not_known_is_not_said(tmp_path, undrawn):
    said = said_of(tmp_path, invented.invent({"a": 0.0, "b": 0.01}, seeds=1, validation=False, margin=None))
    assert "one seed: no interval" in said
    assert "not tested, because the experiment states no margin" in said
    assert "With one seed, no difference has an interval" in said
    for words in ("The intervals cover", "Holm", "nan", "None", "correlate", "### Learning rates", "Kaplan"):
        assert words not in said, words


def test_what_was_fixed_is_said_twice(tmp_path, undrawn):
    said = said_of(tmp_path, invented.three_arms(fixed=["split"]))
    assert (
        "A seed changes the initial weights, the order of the pictures, their augmentation and dropout. " in said
    )
    assert "The same for all seeds: the cut between training and validation." in said
    assert "The seeds do not vary the cut between training and validation" in said


def test_added_seeds_and_claims_of_equivalence_are_said(tmp_path, undrawn):
    said = said_of(tmp_path, invented.three_arms(until_decided=True))
    assert "seeds were added until a 95 % confidence sequence" in said
    assert "| always-valid interval |" in said
    (tmp_path / "report.md").unlink()
    assert "| Holm's p of equivalence |" in said_of(tmp_path, invented.three_arms(claim="equivalence"))


def test_missing_runs_are_said(tmp_path, undrawn):
    result = invented.three_arms()
    first, *others = result.arms
    result = result.model_copy(update={"arms": [first.model_copy(update={"runs": first.runs[:5]}), *others]})
    said = said_of(tmp_path, result)
    assert "Some runs of `none` are missing" in said
    assert re.search(r"\| `none` \|( [\d.]+% \|){5}( - \|){3}", said)


def test_many_comparisons_are_counted(tmp_path, undrawn):
    said = said_of(tmp_path, invented.strange_names(all_pairs=True))
    verdicts = [
        found.verdict for found in invented.strange_names(all_pairs=True).comparisons if found.metric == "top1"
    ]
    assert f"- **worse:** {verdicts.count('worse')} comparisons" in said
    assert " against " not in said.split("## Reading")[0].split("## Results")[1]
