"""The classes whose JSON each command prints with `--json`, for the documentation.

This module imports every room; no command does.
"""

from typing import Any

from pydantic import BaseModel, Field, create_model

from keras_sepnets.base.results import Result
from keras_sepnets.benchmarks.input import InputBenchmark
from keras_sepnets.benchmarks.steps import TrainingBenchmark
from keras_sepnets.cli.cost.table import CountedNetwork
from keras_sepnets.cli.data.check import ContactSheet
from keras_sepnets.cli.data.prepare import Preparation
from keras_sepnets.cli.data.show import Drawing
from keras_sepnets.cli.models import NetworkDescription
from keras_sepnets.cli.rehearsal import Sources
from keras_sepnets.cli.tune import Picture
from keras_sepnets.cost.counting import Cost
from keras_sepnets.cost.papers import Comparison, GridPoint
from keras_sepnets.data.catalogue.checking import Check
from keras_sepnets.data.catalogue.info import DataSetDescription, ListedDataSet
from keras_sepnets.deploy.html.export import HtmlExport
from keras_sepnets.inference.evaluation import EvaluatedRun, Evaluation
from keras_sepnets.inference.prediction import Prediction
from keras_sepnets.lab.growth import Forecast
from keras_sepnets.lab.pooling import CrossValidation
from keras_sepnets.lab.results_models import ExperimentResult
from keras_sepnets.lab.sweep import SweepResult
from keras_sepnets.runs.table import RunsDifference, RunSummary
from keras_sepnets.settings.recipes import Recipe
from keras_sepnets.settings.schema import DataConfig
from keras_sepnets.training.plan_summary import PlanSummary
from keras_sepnets.training.smoke import SmokeStep
from keras_sepnets.training.trainer import TrainingResult
from keras_sepnets.training.tuning.learning_rate import LearningRateRange


class SmokeTest(Result):
    """Every part of a run, tried on one batch."""

    steps: list[SmokeStep]
    """The parts, in order."""


def _joined(*parts: type) -> type[BaseModel]:
    """Return a class with the fields of all parts, which a command prints as one object."""
    fields: dict[str, Any] = {}
    for part in parts:
        for name, field in getattr(part, "model_fields", {}).items():
            if not field.exclude:
                fields[name] = (field.annotation, field)
        for name, computed in getattr(part, "model_computed_fields", {}).items():
            fields[name] = (computed.return_type, Field(description=computed.description))
    return create_model("".join(part.__name__ for part in parts), **fields)


RESULTS: dict[str, Any] = {
    "train": TrainingResult,
    "train --dry-run": _joined(PlanSummary, Sources),
    "train --folds": CrossValidation,
    "train --smoke": SmokeTest,
    "tune": _joined(LearningRateRange, Picture),
    "evaluate": _joined(EvaluatedRun, Evaluation),
    "predict": list[Prediction],
    "export": HtmlExport,
    "runs": list[RunSummary],
    "runs --diff": RunsDifference,
    "recipes": list[Recipe],
    "ablate": ExperimentResult,
    "sweep": SweepResult,
    "cost": _joined(CountedNetwork, Cost),
    "cost --against": list[Comparison],
    "cost --grid": list[GridPoint],
    "models": list[NetworkDescription],
    "data list": list[ListedDataSet],
    "data info": DataSetDescription,
    "data prepare": _joined(Preparation, DataSetDescription),
    "data check": _joined(Check, ContactSheet),
    "data show": _joined(DataConfig, Drawing),
    "data forecast": Forecast,
    "benchmark input": InputBenchmark,
    "benchmark train": TrainingBenchmark,
}
