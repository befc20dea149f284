"""What `sepnets train --dry-run --json` prints of a plan."""

from keras_sepnets.base.results import Result
from keras_sepnets.cost.counting import Parameters
from keras_sepnets.models.weights import LoadReport
from keras_sepnets.settings.schema import RunConfig


class PlanSummary(Result):
    """The settings of a run, its cost and its data."""

    config: RunConfig
    """all settings, with a value for each"""
    input_shape: list[int]
    """height, width and channels of a picture"""
    parameters: Parameters
    """total, trainable, and without batch norm's"""
    multiply_adds: int
    """for one picture"""
    activation_bytes: int
    """outputs of all layers for one picture"""
    peak_activation_bytes: int
    """activations that are alive at once, at most, when one picture is predicted"""
    not_counted: list[str]
    """layers whose cost is unknown"""
    num_examples: dict[str, int]
    """by role: train, validation, test"""
    steps_per_epoch: int
    """optimizer steps per epoch"""
    steps: int
    """optimizer steps of the run"""
    weights: LoadReport | None
    """which layers took the weights that the run starts from; null if it starts from random weights"""
