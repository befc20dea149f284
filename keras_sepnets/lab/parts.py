"""The generated question, source and setting of an experiment's report, as Markdown."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.text import counted, in_bytes
from keras_sepnets.lab.markdown import bullets, code, fence, plain, table
from keras_sepnets.lab.wording import (
    VARYING,
    accuracies,
    duration,
    listed,
    margin_in_points,
    seeds_of,
)

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ArmResult, ExperimentResult

SHARED = {
    "weights": "the initial weights of layers of the same name",
    "order": VARYING["order"],
    "augmentation": VARYING["augmentation"],
    "split": VARYING["split"],
}


def write_question(result: "ExperimentResult") -> str:
    """Return the question and what is compared."""
    references = {found.reference for found in result.comparisons}
    names = [code(arm.name) + (" (reference)" if {arm.name} == references else "") for arm in result.arms]
    return f"{plain(result.question)}\n\n{counted(len(names), 'arm')}: {listed(names)}."


def write_source(result: "ExperimentResult") -> str:
    """Return the source and the expectation."""
    expected = f"\n\nExpected before the runs: {plain(result.expected)}" if result.expected.strip() else ""
    return (plain(result.source) or "None is given.") + expected


def write_setting(result: "ExperimentResult", base: Mapping[str, Any]) -> str:
    """Return how the experiment was run.

    Args:
        result: The experiment.
        base: The settings of all arms by dotted key; empty if they are not known.
    """
    say = (_data, _seeds, _pairs, _learning_rate, _equivalence, _tests, _machine)
    parts = [fence(result.command)] if result.command.strip() else []
    parts += [bullets(filter(None, (fact(result) for fact in say)))]
    if changed := _changes(result.arms):
        head = ["arm", *map(code, changed)]
        rows = [[code(arm.name), *(_setting(arm, key) for key in changed)] for arm in result.arms]
        parts += ["### Arms", table(head, rows, left=range(len(head)))]
    if base:
        rows = [[code(key), code(_say(value))] for key, value in sorted(base.items())]
        parts += ["### Settings of all arms", table(["setting", "value"], rows, left=(0, 1))]
    return "\n\n".join(parts)


def _data(result: "ExperimentResult") -> str:
    majority = ""
    if result.majority_top1 is not None:
        majority = f"; always naming the most frequent class gives {result.majority_top1:.2%}"
    pictures = counted(result.num_test_examples, "test picture")
    return f"**Data:** {code(result.dataset)}, {pictures}; each run is tested once{majority}."


def _seeds(result: "ExperimentResult") -> str:
    varied = listed([words for source, words in VARYING.items() if source not in result.fixed])
    fixed = listed([VARYING.get(source, source) for source in result.fixed])
    moves = f" A seed changes {varied}." if varied else ""
    same = f" The same for all seeds: {fixed}." if fixed else ""
    return f"**Seeds:** {len(result.seeds)} ({seeds_of(result.seeds)}).{moves}{same}"


def _pairs(result: "ExperimentResult") -> str:
    shared = [SHARED[source] for source in SHARED if source not in result.fixed]
    with_same = f", where they share {listed(shared)}" if shared else ""
    found = [pair.correlation for pair in accuracies(result) if pair.correlation is not None]
    words = f"**Pairs:** arms are compared within a seed{with_same}."
    if not found:
        return words
    between = f"{min(found):+.2f}" + (f" to {max(found):+.2f}" if len(found) > 1 else "")
    return f"{words} Their accuracies correlate by {between}; where this is not above 0, pairing does not help."


def _learning_rate(result: "ExperimentResult") -> str:
    tuned = [arm for arm in result.arms if arm.tuned]
    if not tuned:
        rates = sorted({run.learning_rate for arm in result.arms for run in arm.runs})
        return f"**Learning rate:** {listed([f'{rate:g}' for rate in rates])}, not tuned for each arm."
    tried = tuned[0].tuned.tried if tuned[0].tuned else {}
    ends = [code(arm.name) for arm in tuned if arm.tuned and arm.tuned.at_end]
    end = f"An end of the grid won for {listed(ends)}." if ends else "No end of the grid won."
    return (
        f"**Learning rate:** chosen for each arm from {listed(list(tried))} by the mean validation accuracy of "
        f"pilot runs, whose seeds are used for nothing else. {end}"
    )


def _equivalence(result: "ExperimentResult") -> str:
    if result.margin is None:
        return "**Equivalence:** not tested, because the experiment states no margin."
    return (
        f"**Equivalence:** accuracies are the same to within {margin_in_points(result.margin)} if two one-sided "
        "tests at 5 % say so; the experiment's file states this margin."
    )


def _tests(result: "ExperimentResult") -> str:
    if result.until_decided:
        return (
            "**Stopping:** seeds were added until a 95 % confidence sequence, which holds whenever one stops, "
            "decided every comparison, or until there were as many as the experiment allows."
        )
    metrics = {"top1": "test accuracy", "training_loss": "training loss"}
    counts = {words: sum(pair.metric == metric and pair.p_holm is not None for pair in result.comparisons)
              for metric, words in metrics.items()}  # fmt: skip
    adjusted = [f"{counted(count, 'comparison')} of {words}" for words, count in counts.items() if count]
    if not adjusted:
        return ""
    claim = ""
    if result.claim == "equivalence" and result.margin is not None:
        claim = " What this experiment claims is equivalence, so for accuracies the p of equivalence is adjusted."
    return (
        f"**Tests:** paired t tests, with Holm's adjustment for {listed(adjusted)}. An arm is better or worse "
        f"only if the adjusted p is below 0.05 and no 95 % interval contains 0.{claim}"
    )


def _machine(result: "ExperimentResult") -> str:
    runs = counted(sum(len(arm.runs) for arm in result.arms), "training")
    about = {
        "the last one began": result.date,
        "machine:": ", ".join(_part(name, value) for name, value in result.environment.items()),
        "versions:": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    }
    words = [f"{name} {plain(value)}" for name, value in about.items() if value]
    return f"**Run:** {'; '.join([f'{runs} of {duration(result.seconds)} in all', *words])}."


def _part(name: str, value: Any) -> str:
    """Return what the environment says of the machine."""
    if name.endswith("_bytes"):
        name, value = name.removesuffix("_bytes"), in_bytes(value)
    return f"{name.replace('_', ' ')} {_say(value)}"


def _changes(arms: list["ArmResult"]) -> list[str]:
    """Return the settings in which the arms differ."""
    keys = dict.fromkeys(key for arm in arms for key in (*arm.settings, *arm.point))
    return [key for key in keys if len({_setting(arm, key) for arm in arms}) > 1]


def _setting(arm: "ArmResult", key: str) -> str:
    settings = arm.settings | arm.point
    return code(_say(settings[key])) if key in settings else ""


def _say(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
