"""Invented results of experiments, for tests of reports and figures."""

import math

import numpy as np
from scipy import stats

from keras_sepnets.lab.results_models import (
    ArmComparison,
    ArmResult,
    EpochRow,
    ExperimentResult,
    Reached,
    RunResult,
    Tuned,
)

MARGIN = 0.005


def invent(
    effects,
    *,
    seeds=8,
    points=({},),
    epochs=15,
    validation=True,
    margin=MARGIN,
    rates=None,
    all_pairs=False,
    **fields,
):
    """Return an experiment with these variants (name: change of the test accuracy), at these points of a grid."""
    draws = np.random.default_rng(0)
    luck = draws.normal(0, 0.002, seeds)  # what the arms of a seed share
    arms = []
    for place, point in enumerate(points):
        scale = math.prod(value for value in point.values() if isinstance(value, float))
        for name, effect in effects.items():
            top1 = 0.71 + 0.08 * math.log2(scale) / 2 + effect + luck + draws.normal(0, 0.0025, seeds)
            label = ",".join([name, *(f"{key.rpartition('.')[2]}={value}" for key, value in point.items())])
            arms.append(invent_arm(label, name, point, top1, scale, epochs, validation, rates, place))
    comparisons = [
        compare(metric, reference, arm, margin)
        for metric in ("top1", "training_loss")
        for number, arm in enumerate(arms)
        for reference in (arms[:number] if all_pairs else arms[number - number % len(effects) : number][:1])
    ]
    known = {
        "experiment": "runs/xception_intermediate_activation",
        "question": "Should there be a ReLU between the depthwise and the pointwise step?",
        "source": "Xception, arXiv:1610.02357, Figure 10: no activation is faster and better than ReLU or ELU.",
        "command": "sepnets ablate experiments/xception_intermediate_activation",
        "expected": "No activation is better by about a point.",
        "margin": margin,
        "seeds": list(range(seeds)),
        "fixed": [],
        "dataset": "folder:cifar10-jpeg",
        "num_test_examples": 2000,
        "majority_top1": 0.1,
        "environment": {"cpu": "Intel Xeon", "cpu_cores": 2, "memory_bytes": 24_000_000_000},
        "versions": {"python": "3.11.7", "keras": "3.15.1", "tensorflow": "2.21.0"},
        "date": "2026-11-27",
        "seconds": 2411.0,
    }
    return ExperimentResult(arms=arms, comparisons=holm(comparisons, margin), **known | fields)


def invent_arm(label, variant, point, top1, scale, epochs, validation, rates, place):
    """Return an arm whose curves rise towards its test accuracies."""
    runs = []
    draws = np.random.default_rng(1)
    for seed, final in enumerate(top1):
        rise = 1 - np.exp(-(np.arange(1, epochs + 1)) / (epochs / 4)) + draws.normal(0, 0.01, epochs)
        history = [
            EpochRow(
                epoch=epoch + 1,
                step=313 * (epoch + 1),
                loss=float(2.3 - 1.6 * share + 8 * (0.72 - final) * (0.72 - 0.1 * share)),
                accuracy=float(share * final),
                val_loss=float(2.3 - 1.4 * share) if validation else None,
                val_accuracy=float(share * final + 0.004) if validation else None,
            )
            for epoch, share in enumerate(rise)
        ]
        runs.append(
            RunResult(
                seed=seed,
                top1=float(final),
                val_top1=history[-1].val_accuracy,
                num_examples=2000,
                history=history,
                training_loss=float(np.mean([row.loss for row in history])),
                seconds=100.0 + seed,
                learning_rate=0.01 if rates else 0.02,
                run=f"runs/x/{label}/seed-{seed}",
            )
        )
    tuned = rates and Tuned(
        learning_rate=rates[place % len(rates)],
        tried={f"{rate:g}": 0.6 + rate for rate in rates},
        at_end=place % len(rates) in (0, len(rates) - 1),
    )
    several = len(top1) > 1
    return ArmResult(
        name=label, variant=variant, point=point, settings={"model.intermediate_activation": variant},
        parameters=int(730_000 * scale), multiply_adds=int(8_288_412 * scale), tuned=tuned,
        top1=[float(value) for value in top1], mean=float(np.mean(top1)),
        std=float(np.std(top1, ddof=1)) if several else None,
        interval=t_interval(top1) if several else None, auc_mean=0.55 if validation else None,
        reached=[
            Reached(accuracy=0.6, epochs=4.0, steps=1252.0, censored=0),
            Reached(accuracy=0.705, epochs=None, steps=None, censored=5 if several else 1),
        ] if validation else [],
        runs=runs,
    )  # fmt: skip


def t_interval(values):
    return tuple(map(float, stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))))


def compare(metric, reference, arm, margin):
    """Return a comparison without its verdict."""
    one, other = (
        np.array(side.top1 if metric == "top1" else [run.training_loss for run in side.runs])
        for side in (reference, arm)
    )
    differences = other - one
    found = {
        "metric": metric,
        "reference": reference.name,
        "arm": arm.name,
        "difference": float(differences.mean()),
    }
    if len(differences) < 2:
        return ArmComparison(**found, interval=None, verdict="one seed: no interval")
    low, high = t_interval(differences)
    if metric == "top1":
        wider = 0.2 * (high - low)
        equivalent = None if margin is None else -margin < low and high < margin
        found |= {
            "bootstrap_interval": (low - wider, high + wider), "probability": float(np.mean(differences > 0)),
            "probability_interval": (0.1, 0.9), "correlation": float(np.corrcoef(one, other)[0, 1]),
            "variance_ratio": 0.6, "equivalent": equivalent, "equivalence_p": None if margin is None else 0.03,
            "seeds_for_margin": None if margin is None else 9,
        }  # fmt: skip
    p = float(stats.ttest_rel(other, one).pvalue)
    return ArmComparison(**found, interval=(low, high), p=p, verdict="")


def holm(comparisons, margin):
    """Return the comparisons with adjusted p values and verdicts."""
    tested = sorted((c for c in comparisons if c.p is not None), key=lambda c: c.p)
    adjusted, highest = {}, 0.0
    for rank, found in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * found.p))
        adjusted[id(found)] = highest
    return [found.model_copy(update=judge(found, adjusted[id(found)], margin)) if found.p is not None else found
            for found in comparisons]  # fmt: skip


def judge(found, p_holm, margin):
    """Return the adjusted p value and the verdict of a comparison."""
    low, high = found.interval
    if p_holm < 0.05 and not low <= 0 <= high:
        verdict = "better" if (found.difference > 0) == (found.metric == "top1") else "worse"
    elif found.equivalent:
        verdict = f"the same to within ±{100 * margin:g} points"
    else:
        verdict = "no measurable difference"
    return {"p_holm": p_holm, "verdict": verdict}


def three_arms(**options):
    """An experiment as the lab makes them: three variants, eight seeds, tuned learning rates."""
    return invent({"none": 0.0, "relu": -0.008, "elu": 0.0005}, rates=(0.01, 0.03, 0.1), **options)


def on_a_grid(alphas=(0.25, 0.5, 0.75, 1.0), **options):
    """Two variants at several widths."""
    points = [{"model.alpha": alpha} for alpha in alphas]
    return invent({"separable": 0.0, "standard": 0.01}, points=points, **options)


def strange_names(**options):
    """Twelve variants, with names that are code, formulas, markers, other scripts, or long."""
    names = [
        "<b>x</b>", "猫と犬", "a" * 60, "$x^2$", "a|b", "`code`", "<!-- end: results -->", "_under_ *star*",
        "[link](http://example.com)", "собака", "&lt;",
        "a name of many words that is sixty letters long, or some more",
    ]  # fmt: skip
    return invent({name: -0.002 * place for place, name in enumerate(names)}, **options)
