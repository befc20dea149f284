"""Accuracies in words: with their interval, beside the majority class, and what they cannot tell."""

from typing import TYPE_CHECKING

from keras_sepnets.base.text import counted

if TYPE_CHECKING:
    from keras_sepnets.inference.evaluation import Evaluation

FEW_CLASSES = 5  # up to which the five most probable classes are all of them
WIDE = 0.2  # interval of an accuracy that says little
UNEVEN = 0.75  # share of one class


def describe_evaluation(evaluation: "Evaluation") -> str:
    """Describe an evaluation in one line."""
    low, high = evaluation.top1_interval
    return (
        f"{evaluation.split}: top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"{describe_majority(evaluation.majority_top1)}, {describe_top5(evaluation.top5, evaluation.classes)}"
        f"loss {evaluation.loss:.4f}, {counted(evaluation.num_examples, 'picture')}"
    )


def describe_majority(share: float) -> str:
    """Return the baseline of every accuracy in words."""
    return f"always naming the most frequent class {share:.2%}"


def describe_top5(top5: float, classes: int) -> str:
    """Return the top-5 accuracy and a comma; nothing where it would always be 100 %."""
    return f"top-5 {top5:.2%}, " if classes > FEW_CLASSES else ""


def list_limits(evaluation: "Evaluation") -> list[str]:
    """Say what an accuracy does not tell: for too few pictures, or where most are of one class."""
    low, high = evaluation.top1_interval
    pictures, limits = counted(evaluation.num_examples, "picture"), []
    if evaluation.majority_top1 == 1:
        return ["all pictures are of one class: this is how many of them are recognised, not how many others pass"]
    if high - low > WIDE:
        limits.append(f"{pictures} say little: the interval is {100 * (high - low):.0f} points wide")
    if high < evaluation.majority_top1:
        limits.append("this is worse than always naming the most frequent class")
    elif low <= evaluation.majority_top1:
        limits.append(f"{pictures} do not show that this is better than always naming the most frequent class")
    if evaluation.majority_top1 >= UNEVEN:
        limits.append(
            f"{evaluation.majority_top1:.0%} of the pictures are of one class; averaged over the classes, top-1 "
            f"is {evaluation.class_mean_top1:.2%}"
        )
    return limits
