"""The content of results.json: every run of an experiment, its arms and their comparisons; fractions."""

from typing import Any, Literal

from keras_sepnets.base.results import Result


class EpochRow(Result):
    """An epoch of a run."""

    epoch: int
    """number of the epoch, from 1"""
    step: int | None = None
    """steps trained at its end"""
    loss: float | None = None
    """training loss"""
    accuracy: float | None = None
    """training accuracy"""
    val_loss: float | None = None
    """validation loss"""
    val_accuracy: float | None = None
    """validation accuracy"""


class RunResult(Result):
    """A run: an arm with a seed."""

    seed: int
    """its seed"""
    top1: float
    """final test accuracy"""
    val_top1: float | None = None
    """validation accuracy of the network that was tested"""
    training_loss: float
    """training loss, averaged over the epochs"""
    correct: str | None = None
    """whether each test example is right, as base64 of packed bits in the order of the split"""
    num_examples: int
    """tested examples"""
    history: list[EpochRow]
    """one row per epoch"""
    seconds: float
    """seconds of training"""
    learning_rate: float
    """peak learning rate"""
    run: str
    """run folder"""


class Tuned(Result):
    """How the learning rate of an arm was chosen."""

    learning_rate: float
    """the chosen learning rate"""
    tried: dict[str, float]
    """mean validation accuracy of the pilots, by learning rate; 0 if one of them diverged"""
    at_end: bool
    """whether an end of the grid won"""


class Reached(Result):
    """How soon an arm reaches an accuracy on validation."""

    accuracy: float
    """the validation accuracy"""
    epochs: float | None
    """median epoch, from the Kaplan-Meier estimate; null if too few runs reached it"""
    steps: float | None
    """median step"""
    censored: int
    """number of runs that never reached it"""


class ArmResult(Result):
    """A variant at one point of the grid, over all seeds."""

    name: str
    """name of the arm: its variant, with its point"""
    variant: str
    """name of the variant"""
    point: dict[str, Any]
    """the grid's settings"""
    settings: dict[str, Any]
    """the variant's settings"""
    parameters: int
    """all parameters of the network"""
    multiply_adds: int
    """multiply-adds of the network for one picture"""
    tuned: Tuned | None = None
    """how the learning rate was chosen; null if it is a setting"""
    top1: list[float]
    """final test accuracy of each seed"""
    mean: float
    """mean of top1"""
    std: float | None
    """sample standard deviation of top1; null for one seed"""
    interval: tuple[float, float] | None
    """95 % t interval of the mean"""
    auc_mean: float | None = None
    """mean area under the curve of the validation accuracy"""
    reached: list[Reached]
    """how soon stated accuracies are reached"""
    runs: list[RunResult]
    """the run of each seed"""


class ArmComparison(Result):
    """The paired difference of two arms, arm minus reference."""

    metric: Literal["top1", "training_loss"]
    """what is compared"""
    reference: str
    """name of the reference"""
    arm: str
    """name of the other arm"""
    difference: float
    """mean over the seeds"""
    interval: tuple[float, float] | None
    """95 % t interval over the seeds"""
    bootstrap_interval: tuple[float, float] | None = None
    """95 % interval of seeds and test examples, bootstrapped together"""
    probability: float | None = None
    """probability that the arm beats the reference with a new seed"""
    probability_interval: tuple[float, float] | None = None
    """95 % interval of this probability"""
    p: float | None = None
    """p value of the paired t test"""
    p_holm: float | None = None
    """p, adjusted for all comparisons"""
    correlation: float | None = None
    """correlation of the pairs"""
    variance_ratio: float | None = None
    """variance of the difference, relative to that of unpaired runs"""
    equivalent: bool | None = None
    """whether both are the same to within the margin"""
    equivalence_p: float | None = None
    """p value of the two one-sided tests"""
    seeds_for_margin: int | None = None
    """number of seeds for an interval within the margin, at the spread found"""
    sequence: tuple[float, float] | None = None
    """always-valid 95 % interval, if seeds were added until it decided"""
    verdict: str
    """what this shows, in words"""


class ExperimentResult(Result):
    """An experiment: the content of results.json."""

    experiment: str
    """folder of the experiment"""
    question: str
    """what it asks"""
    source: str
    """the paper, its figure and what it says"""
    command: str
    """the command that repeats it"""
    expected: str
    """what was expected before it ran"""
    margin: float | None
    """differences within this count as the same"""
    claim: Literal["difference", "equivalence"] = "difference"
    """what it is to show, and for what the p-values are adjusted"""
    until_decided: bool = False
    """whether seeds were added until an always-valid interval decided"""
    seeds: list[int]
    """seeds of the runs"""
    fixed: list[str]
    """sources of variation that are the same for all seeds"""
    dataset: str
    """the data set"""
    num_test_examples: int
    """tested examples"""
    majority_top1: float | None
    """what always naming the most frequent class of the test would reach"""
    arms: list[ArmResult]
    """the arms, the reference first"""
    comparisons: list[ArmComparison]
    """paired differences"""
    environment: dict[str, Any]
    """the machine"""
    versions: dict[str, str]
    """versions of Python and of the libraries"""
    date: str
    """when it ended"""
    seconds: float
    """seconds of all trainings"""
