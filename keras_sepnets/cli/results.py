"""The classes whose JSON each command prints with `--json`, for the documentation.

This module imports every room; no command does.
"""

from typing import Any

from keras_sepnets.base.results import Result
from keras_sepnets.benchmarks.input import InputBenchmark
from keras_sepnets.benchmarks.steps import TrainingBenchmark
from keras_sepnets.cli.cost.table import CountedNetwork
from keras_sepnets.cli.data.check import ContactSheet
from keras_sepnets.cli.data.prepare import Preparation
from keras_sepnets.cli.data.show import Drawing
from keras_sepnets.cli.evaluate import EvaluatedRun
from keras_sepnets.cli.models import NetworkDescription
from keras_sepnets.cli.rehearsal import Sources
from keras_sepnets.cost.counting import Cost
from keras_sepnets.cost.papers import Comparison, GridPoint
from keras_sepnets.data.catalogue.checking import Check
from keras_sepnets.data.catalogue.info import DataSetDescription, ListedDataSet
from keras_sepnets.inference.evaluation import Evaluation
from keras_sepnets.inference.prediction import Prediction
from keras_sepnets.lab.ablation import AblationResult
from keras_sepnets.runs.table import RunsDifference, RunSummary
from keras_sepnets.settings.recipes import Recipe
from keras_sepnets.settings.schema import DataConfig
from keras_sepnets.training.plan import Plan
from keras_sepnets.training.smoke import SmokeStep
from keras_sepnets.training.trainer import TrainingResult


class SmokeTest(Result):
    """Every part of a run, tried on one batch."""

    steps: list[SmokeStep]
    """the parts, in order"""


# A list stands for a JSON array of its class; a tuple for one JSON object with the keys of its classes in turn.
RESULTS: dict[str, Any] = {
    "train": TrainingResult,
    "train --dry-run": (Plan, Sources),
    "train --smoke": SmokeTest,
    "evaluate": (EvaluatedRun, Evaluation),
    "predict": [Prediction],
    "runs": [RunSummary],
    "runs --diff": RunsDifference,
    "recipes": [Recipe],
    "ablate": AblationResult,
    "cost": (CountedNetwork, Cost),
    "cost --against": [Comparison],
    "cost --grid": [GridPoint],
    "models": [NetworkDescription],
    "data list": [ListedDataSet],
    "data info": DataSetDescription,
    "data prepare": (Preparation, DataSetDescription),
    "data check": (Check, ContactSheet),
    "data show": (DataConfig, Drawing),
    "benchmark input": InputBenchmark,
    "benchmark train": TrainingBenchmark,
}
