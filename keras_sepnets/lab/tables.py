"""The generated results and limits of an experiment's report, as Markdown."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_sepnets.base.text import counted
from keras_sepnets.lab.markdown import bullets, code, table
from keras_sepnets.lab.wording import (
    NONE,
    VARYING,
    accuracies,
    interval,
    listed,
    margin_in_points,
    optional,
    p_value,
    points,
    sentence,
)

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ArmComparison, ArmResult, ExperimentResult, Reached

MOST_SENTENCES = 12  # comparisons; of more, the verdicts are counted
STILL_RISING = 0.005  # of the validation accuracy in the last fifth of the epochs


def write_results(result: "ExperimentResult", figures: Mapping[str, str]) -> str:
    """Return verdicts, tables and figures.

    Args:
        result: The experiment.
        figures: The caption of each figure by its name.
    """
    images = {name: f"![{caption}](figures/{name}.svg)" for name, caption in figures.items()}
    sections = {
        "": [_verdicts(result), images.get("differences", "")],
        "Test accuracy": [_arms(result), _differences(result), _pairs(result)],
        "Training loss": [_losses(result)],
        "Speed of convergence": [images.get("learning_curves", ""), _convergence(result)],
        "Cost": [images.get("cost", "")],
        "Learning rates": [_learning_rates(result)],
        "Every seed": [_every_seed(result)],
    }
    parts = []
    for heading, found in sections.items():
        content = [part for part in found if part]
        parts += [f"### {heading}", *content] if heading and content else content
    return "\n\n".join(parts)


def _verdicts(result: "ExperimentResult") -> str:
    found = accuracies(result)
    if len(found) <= MOST_SENTENCES:
        return bullets(map(sentence, found))
    counts = Counter(comparison.verdict for comparison in found)
    return bullets(f"**{verdict}:** {counted(count, 'comparison')}" for verdict, count in counts.items())


def _arms(result: "ExperimentResult") -> str:
    head = ["arm", "mean", "standard deviation", "95 % interval", "training loss", "parameters", "multiply-adds"]
    rows = []
    for arm in result.arms:
        spread = [f"{arm.mean:.2%}", optional(arm.std, "{:.2%}"), interval(arm.interval, "{:.2f}")]
        loss = np.mean([run.training_loss for run in arm.runs])
        rows.append([code(arm.name), *spread, f"{loss:.4f}", f"{arm.parameters:,}", f"{arm.multiply_adds:,}"])
    return table(head, rows)


def _differences(result: "ExperimentResult") -> str:
    """Return the table of the differences of accuracies, with a line on what its columns are."""
    found = accuracies(result)
    if not found:
        return ""
    over_seeds = "always-valid interval" if result.until_decided else "t interval"
    p_name = "Holm's p of equivalence" if result.claim == "equivalence" else "Holm's p"
    columns, rows = _columns(
        found,
        {
            "difference": lambda pair: points(pair.difference),
            over_seeds: lambda pair: interval(pair.interval),
            "bootstrap": lambda pair: interval(pair.bootstrap_interval),
            p_name: lambda pair: p_value(pair.p_holm),
            "verdict": lambda pair: pair.verdict,
        },
    )
    legend = (
        ""
        if "bootstrap" not in columns
        else "; *bootstrap*: over seeds and test pictures, drawn together; the verdict looks at both"
    )
    return f"Differences in points, with 95 % intervals; *{over_seeds}*: over the seeds{legend}.\n\n{rows}"


def _pairs(result: "ExperimentResult") -> str:
    """Return the table of what else the pairs of accuracies tell."""
    columns, rows = _columns(
        accuracies(result),
        {
            "beats it": _chance,
            "p of equivalence": lambda pair: p_value(pair.equivalence_p),
            "correlation": lambda pair: optional(pair.correlation, "{:+.2f}"),
            "variance": lambda pair: optional(pair.variance_ratio, "{:.2f}"),
            "seeds needed": lambda pair: optional(pair.seeds_for_margin, "{:,}"),
        },
    )
    keys = {
        "beats it": "the chance that the first arm does better than the second with a new seed",
        "correlation": "of the accuracies of the pairs",
        "variance": "of the differences, relative to that of arms with different seeds",
        "seeds needed": f"for a t interval within {margin_in_points(result.margin or 0)}, at the spread found",
    }
    legend = "; ".join(f"*{name}*: {words}" for name, words in keys.items() if name in columns)
    return rows and f"What else the pairs tell; {legend}.\n\n{rows}"


def _columns(
    found: Sequence["ArmComparison"], columns: Mapping[str, Callable[["ArmComparison"], str]]
) -> tuple[list[str], str]:
    """Return the columns that are not empty, and a table of pairs with them; nothing if all are empty."""
    cells = {name: [column(pair) for pair in found] for name, column in columns.items()}
    shown = {name: column for name, column in cells.items() if set(column) - {NONE}}
    if not shown:
        return [], ""
    head = ["pair", *shown]
    pairs = [f"{code(pair.arm)} - {code(pair.reference)}" for pair in found]
    words = [place for place, name in enumerate(head) if name in ("pair", "verdict")]
    return [*shown], table(head, zip(pairs, *shown.values(), strict=True), left=words)


def _chance(found: "ArmComparison") -> str:
    if found.probability is None:
        return NONE
    ends = f" ({interval(found.probability_interval, '{:.0f}')})" if found.probability_interval else ""
    return f"{found.probability:.0%}{ends}"


def _losses(result: "ExperimentResult") -> str:
    _, rows = _columns(
        [found for found in result.comparisons if found.metric == "training_loss"],
        {
            "difference": lambda pair: f"{pair.difference:+.4f}",
            "t interval": lambda pair: interval(pair.interval, "{:+.4f}", 1),
            "Holm's p": lambda pair: p_value(pair.p_holm),
            "verdict": lambda pair: pair.verdict,
        },
    )
    return rows and f"The mean over the epochs; lower is better.\n\n{rows}"


def _convergence(result: "ExperimentResult") -> str:
    accuracies = list(dict.fromkeys(reached.accuracy for arm in result.arms for reached in arm.reached))
    if not accuracies and all(arm.auc_mean is None for arm in result.arms):
        return ""
    head = ["arm", "area under the curve", *(f"{accuracy:.1%}" for accuracy in accuracies)]
    rows = []
    for arm in result.arms:
        reached = {found.accuracy: found for found in arm.reached}
        cells = [
            _reached(reached[accuracy], len(arm.runs)) if accuracy in reached else NONE for accuracy in accuracies
        ]
        rows.append([code(arm.name), optional(arm.auc_mean, "{:.4f}"), *cells])
    legend = (
        "*Area under the curve*: the validation accuracy, averaged over the epochs. The other columns: the median "
        "epoch (and step) that reaches a validation accuracy, by Kaplan-Meier, where runs that never do count as "
        "longer than they ran."
    )
    return f"{legend}\n\n{table(head, rows)}"


def _reached(found: "Reached", runs: int) -> str:
    epochs, steps, censored = found.epochs, found.steps, found.censored
    median = "not by half of the runs" if epochs is None else f"{epochs:g}"
    if steps is not None:
        median += f" ({steps:,.0f})"
    return median + (f"; never: {censored} of {runs}" if censored else "")


def _learning_rates(result: "ExperimentResult") -> str:
    tuned = {arm.name: arm.tuned for arm in result.arms if arm.tuned}
    if not tuned:
        return ""
    rates = list(dict.fromkeys(rate for found in tuned.values() for rate in found.tried))
    head = ["arm", *(code(rate) for rate in rates), "chosen"]
    rows = (
        [code(name), *(optional(found.tried.get(rate), "{:.2%}") for rate in rates),
         f"{found.learning_rate:g}{', an end' if found.at_end else ''}"]
        for name, found in tuned.items()
    )  # fmt: skip
    return f"Mean validation accuracy of the pilot runs with each learning rate.\n\n{table(head, rows)}"


def _every_seed(result: "ExperimentResult") -> str:
    head = ["test accuracy", *(f"seed {seed}" for seed in result.seeds)]
    rows = []
    for arm in result.arms:
        found = {run.seed: f"{run.top1:.2%}" for run in arm.runs}
        rows.append([code(arm.name), *(found.get(seed, NONE) for seed in result.seeds)])
    return table(head, rows)


def write_limits(result: "ExperimentResult") -> str:
    """Return what limits the results, facts only."""
    return bullets(_limits(result))


def _limits(result: "ExperimentResult") -> Iterator[str]:
    yield (
        f"One data set ({code(result.dataset)}), {counted(len(result.seeds), 'seed')}, {_epochs(result)}; a test "
        f"picture is {100 / result.num_test_examples:.2g} points."
    )
    if missing := [code(arm.name) for arm in result.arms if len(arm.runs) < len(result.seeds)]:
        yield f"Some runs of {listed(missing)} are missing, so they have fewer pairs."
    if result.fixed:
        fixed = listed([VARYING.get(source, source) for source in result.fixed])
        yield f"The seeds do not vary {fixed}, so the intervals do not cover them."
    if len(result.seeds) == 1:
        yield "With one seed, no difference has an interval: it may be chance."
    elif not any(found.bootstrap_interval for found in result.comparisons):
        yield "The intervals cover the seeds, not the choice of the test pictures."
    unsure = [found for found in accuracies(result) if (found.seeds_for_margin or 0) > len(result.seeds)]
    if unsure and result.margin:
        most = max(found.seeds_for_margin or 0 for found in unsure)
        yield (
            f"A t interval within {margin_in_points(result.margin)} would take more seeds for "
            f"{counted(len(unsure), 'comparison')}, up to {most:,}."
        )
    for arm in result.arms:
        for found in arm.reached:
            if found.censored:
                runs = f"{found.censored} of {counted(len(arm.runs), 'run')} of {code(arm.name)}"
                yield f"{runs} never reached a validation accuracy of {found.accuracy:.1%}."
    if ends := [code(arm.name) for arm in result.arms if arm.tuned and arm.tuned.at_end]:
        yield f"An end of the grid of learning rates won for {listed(ends)}: a rate beyond it may do better."
    if rising := {arm.name: gain for arm in result.arms if (gain := _last_gain(arm)) > STILL_RISING}:
        name, gain = max(rising.items(), key=lambda item: item[1])
        yield (
            f"The validation accuracy of {counted(len(rising), 'arm')} still rose in the last fifth of the epochs,"
            f" by up to {100 * gain:.1f} points ({code(name)}): longer training may change the order."
        )


def _epochs(result: "ExperimentResult") -> str:
    lengths = sorted({len(run.history) for arm in result.arms for run in arm.runs})
    return counted(lengths[0], "epoch") if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} epochs"


def _last_gain(arm: "ArmResult") -> float:
    """Return the rise of the mean validation accuracy in the last fifth of the epochs; NaN if not known."""
    curves = [[row.val_accuracy for row in run.history] for run in arm.runs]
    length = min(map(len, curves), default=0)
    if length < 5:
        return float("nan")
    mean = np.array([curve[:length] for curve in curves], np.float64).mean(axis=0)
    return float(mean[-1] - mean[-1 - length // 5])
