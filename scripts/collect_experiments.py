"""Write docs/experiments.md: what the papers claim, and what the experiments of experiments/ found.

Usage: python scripts/collect_experiments.py

Reads every experiments/*/results.json that has arms, and draws docs/figures/experiments.svg and .png. What the
page says outside its generated part stays.
"""

import json
from pathlib import Path

from keras_sepnets.base.files import write_file
from keras_sepnets.base.text import counted
from keras_sepnets.lab.drawing import Drawing, drawn_with
from keras_sepnets.lab.forest import Group, draw_forest
from keras_sepnets.lab.markdown import code, marked, plain, replace_parts, table
from keras_sepnets.lab.report import read_base
from keras_sepnets.lab.results_models import ExperimentResult
from keras_sepnets.lab.wording import accuracies, interval, margin_in_points, points

ROOT = Path(__file__).parents[1]
EXPERIMENTS, PAGE = ROOT / "experiments", ROOT / "docs" / "experiments.md"
FIGURE = ROOT / "docs" / "figures" / "experiments"  # .svg and .png
SCALE = {"model.name": "{}", "model.alpha": "alpha {}", "data.image_size": "{} px"}
LONGEST_QUESTION = 100  # letters in the figure
NEW_PAGE = """# Experiments

Each row is a paired comparison of one experiment, whose report has the rest: the difference in test accuracy, with
95 % intervals over the seeds, and over seeds and test pictures together. Grey bands are the margins within which
two arms count as the same, as each experiment states them.

"""


def read_results(folder: Path = EXPERIMENTS) -> dict[str, ExperimentResult]:
    """Return the experiments by the names of their folders; older ones, which have no arms, are left out."""
    found = {file.parent.name: json.loads(file.read_bytes()) for file in sorted(folder.glob("*/results.json"))}
    return {
        name: ExperimentResult.model_validate(content)
        for name, content in found.items()
        if isinstance(content, dict) and "arms" in content
    }


def render_page(page: bytes, results: dict[str, ExperimentResult], experiments: Path = EXPERIMENTS) -> bytes:
    """Return the page with today's table; of an empty page, a new one."""
    head = [
        "question",
        "the source",
        "what we compared",
        "points",
        "over seeds",
        "and pictures",
        "verdict",
        "scale",
    ]
    rows = []
    for name, result in results.items():
        first = [f"[{plain(result.question)}](../experiments/{name}/report.md)", plain(result.source)]
        scale = describe_scale(result, experiments / name)
        for found in accuracies(result):
            shown = [
                f"{code(found.arm)} - {code(found.reference)}",
                points(found.difference),
                interval(found.interval),
                interval(found.bootstrap_interval),
            ]
            rows.append([*first, *shown, found.verdict, scale])
            first, scale = ["", ""], ""
    content = table(head, rows, left=(0, 1, 2, 6, 7))
    picture = "![Differences in test accuracy of all experiments, with 95 % intervals](figures/experiments.svg)"
    parts = {"experiments": f"{picture}\n\n{content}"}
    return replace_parts(page or f"{NEW_PAGE}{marked('experiments', '')}\n".encode(), parts, PAGE)


def describe_scale(result: ExperimentResult, folder: Path) -> str:
    """Return at what scale an experiment was run."""
    base = read_base(folder)
    words = []
    for key, form in SCALE.items():
        found = dict.fromkeys(str((base | arm.settings | arm.point).get(key, "")) for arm in result.arms)
        if values := " / ".join(filter(None, found)):
            words.append(form.format(values))
    epochs = max(len(run.history) for arm in result.arms for run in arm.runs)
    words += [code(result.dataset), counted(result.num_test_examples, "test picture")]
    words += [counted(epochs, "epoch"), counted(len(result.seeds), "seed")]
    if result.margin:
        words.append(f"margin {margin_in_points(result.margin)}")
    return ", ".join(words)


def draw_all(results: dict[str, ExperimentResult]) -> Drawing | None:
    """Draw one forest plot of all experiments."""
    groups = []
    questions = [result.question for result in results.values()]
    names = [
        name
        for result in results.values()
        for found in accuracies(result)
        for name in (found.arm, found.reference)
    ]
    with drawn_with(*questions, *names) as shown:
        for result in results.values():
            found = accuracies(result)
            labels = [f"{shown(pair.arm)} - {shown(pair.reference)}" for pair in found]
            groups.append(Group(shown(result.question, LONGEST_QUESTION), result.margin, labels, found))
        return draw_forest(groups, "the arm after the minus")


def main() -> None:
    """Write the page and its figure."""
    results = read_results()
    if not results:
        return
    write_file(PAGE, render_page(PAGE.read_bytes() if PAGE.exists() else b"", results))
    if drawing := draw_all(results):
        FIGURE.parent.mkdir(exist_ok=True)
        write_file(FIGURE.with_suffix(".svg"), drawing.svg)
        write_file(FIGURE.with_suffix(".png"), drawing.png)


if __name__ == "__main__":
    main()
