"""Results of an ablation: each variant over its seeds, and the paired differences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, InstanceOf, computed_field

from keras_sepnets.base.intervals import PairedDifference, compare_pairs
from keras_sepnets.base.results import Result
from keras_sepnets.lab.change import Ablation
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.outcome import RunPath

WIDEST, WIDEST_LOSS = 0.1, 0.2  # intervals of differences beyond which they show nothing: 10 points, a fifth


class VariantResult(Result):
    """One variant over all seeds."""

    top1: list[float]
    """final test accuracy of each seed, a fraction"""
    training_loss: list[float]
    """training loss of each seed, averaged over the epochs"""
    parameters: int
    """all parameters of the network"""
    multiply_adds: int
    """multiply-adds of the network for one picture"""
    runs: list[RunPath]
    """run folder of each seed"""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean(self) -> float:
        """mean of top1"""
        return float(np.mean(self.top1))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def std(self) -> float | None:
        """sample standard deviation of top1; null for one seed"""
        return _std(self.top1)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def training_loss_mean(self) -> float:
        """mean of training_loss"""
        return float(np.mean(self.training_loss))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def training_loss_std(self) -> float | None:
        """sample standard deviation of training_loss; null for one seed"""
        return _std(self.training_loss)


class Comparison(Result):
    """The paired difference of a metric, ablated minus reference."""

    metric: Literal["top1", "training_loss"]
    """what is compared"""
    reference: str
    """name of the reference"""
    ablated: str
    """name of the ablated variant"""
    difference: float
    """mean over the seeds"""
    interval: tuple[float, float] | None
    """95 % t interval of the mean; null if the seeds do not give one"""
    verdict: str
    """what the interval shows, in words"""


class AblationResult(Result):
    """Reference, ablated network and their paired differences: the content of results.json."""

    output: Path = Field(exclude=True)
    ablation: InstanceOf[Ablation] = Field(exclude=True)
    seeds: list[int]
    """seeds of the pairs"""
    variants: dict[str, VariantResult]
    """both variants by name, the reference first"""
    majority_top1: float | None = Field(default=None, exclude=True)
    """what always naming the most frequent class of the test would reach; None for runs of version 0.1.0"""
    top1: InstanceOf[PairedDifference] = Field(exclude=True)
    training_loss: InstanceOf[PairedDifference] = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def experiment(self) -> str:
        """folder of the experiment"""
        return str(self.output)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def comparison(self) -> Comparison:
        """difference of the test accuracies"""
        return self._compare("top1", self.top1)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loss_comparison(self) -> Comparison:
        """difference of the training losses"""
        return self._compare("training_loss", self.training_loss)

    def _compare(self, metric: Literal["top1", "training_loss"], found: PairedDifference) -> Comparison:
        return Comparison(
            metric=metric,
            reference=self.ablation.reference.name,
            ablated=self.ablation.ablated.name,
            difference=found.difference,
            interval=found.interval,
            verdict=found.verdict,
        )


def summarize(output: Path, ablation: Ablation, runs: dict[str, list[Run]]) -> AblationResult:
    """Return the result of an ablation.

    Args:
        output: The folder of the experiment.
        ablation: The change under test.
        runs: The finished runs of each variant, one per seed from 0 on.
    """
    variants = {name: _summarize_variant(found) for name, found in runs.items()}
    reference, ablated = (variants[variant.name] for variant in ablation)
    training_loss = compare_pairs(
        reference.training_loss,
        ablated.training_loss,
        higher_is_better=False,
        widest=WIDEST_LOSS * reference.training_loss_mean,
    )
    if ablation.changes_loss:
        training_loss = training_loss._replace(verdict="not comparable: the change itself changes this loss")
    return AblationResult(
        output=output,
        ablation=ablation,
        seeds=list(range(len(reference.top1))),
        variants=variants,
        majority_top1=next(iter(runs.values()))[0].read_json("evaluation-test.json").get("majority_top1"),
        top1=compare_pairs(reference.top1, ablated.top1, higher_is_better=True, widest=WIDEST),
        training_loss=training_loss,
    )


def _summarize_variant(runs: Sequence[Run]) -> VariantResult:
    cost = runs[0].read_json("cost.json")
    return VariantResult(
        top1=[run.read_json("evaluation-test.json")["top1"] for run in runs],
        training_loss=[float(np.mean([row["loss"] for row in run.read_history()])) for run in runs],
        parameters=cost["parameters"]["total"],
        multiply_adds=cost["multiply_adds"],
        runs=list(runs),
    )


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
