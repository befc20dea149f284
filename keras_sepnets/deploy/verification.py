"""What an exported file answers, compared with the Keras network that it was made from."""

import numpy as np

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.results import Result

THRESHOLDS = [round(0.05 * step, 2) for step in range(20)]  # below which an answer is called unsure


class Verification(Result):
    """A whole split, classified by the exported file in its own runtime."""

    runtime: str
    """What ran the file."""
    split: str
    """test; train, if the run was trained on every picture."""
    num_examples: int
    """Pictures of the split."""
    top1: float
    """Fraction of pictures whose most probable class is right, by the file."""
    keras_top1: float
    """The same, by the Keras network."""
    agreement: float
    """Fraction of pictures for which both have the same most probable class."""
    largest_difference: float
    """Largest difference between their probabilities."""
    mean_difference: float
    """Mean difference between their probabilities."""
    milliseconds: float
    """Median time per picture, from its decoded pixels to the probabilities."""


def compare(
    exported: np.ndarray,
    keras: np.ndarray,
    labels: np.ndarray,
    *,
    split: str,
    runtime: str,
    milliseconds: np.ndarray,
) -> Verification:
    """Compare the probabilities (pictures, classes) of a file with those of Keras."""
    answers, references = exported.argmax(axis=1), keras.argmax(axis=1)
    differences = np.abs(exported.astype(np.float64) - keras)
    return Verification(
        runtime=runtime,
        split=split,
        num_examples=len(labels),
        top1=float((answers == labels).mean()),
        keras_top1=float((references == labels).mean()),
        agreement=float((answers == references).mean()),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        milliseconds=float(np.median(milliseconds)),
    )


def count_sure(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[float, int, int]]:
    """Return for each threshold how many pictures reach it, and how many of these answers are right."""
    surest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    return [
        (threshold, int((surest >= threshold).sum()), int((right & (surest >= threshold)).sum()))
        for threshold in THRESHOLDS
    ]


def check_drop(verification: Verification, max_drop: float, *, rejected: str, advice: str) -> None:
    """Raise FailedRunError if a file is less accurate than Keras by more than `max_drop`.

    Args:
        verification: The comparison.
        max_drop: Largest loss of top-1, as a fraction.
        rejected: Where the file was left.
        advice: What to try next, as a verb phrase.
    """
    drop = verification.keras_top1 - verification.top1
    if drop > max_drop:
        pictures = f"{verification.num_examples:,} {verification.split} pictures"
        raise FailedRunError(
            f"The exported file is less accurate than the network: top-1 {verification.top1:.2%} on {pictures}, "
            f"{verification.keras_top1:.2%} by Keras, {100 * drop:.2f} points less, where {100 * max_drop:g} are "
            f"allowed; {advice}. It is left as {rejected}"
        )
