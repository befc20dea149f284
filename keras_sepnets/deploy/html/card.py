"""What a page says about its network: how often it is right, on which pictures, and how it was made."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from keras_sepnets import __version__
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.deploy.verification import Verification, count_sure
from keras_sepnets.inference.evaluation import summarize
from keras_sepnets.runs.folder import Run

CLASSES_NAMED = 12  # in the summary
NOT_VERIFIED = "not verified here: node is missing"
UNKNOWN_CLASSES = "It names one of its classes for every picture, also where the picture shows something else."


def describe_run(run: Run) -> dict[str, Any]:
    """Return the title of a page, what it says about the network, and the names of the classes."""
    config = run.config
    names, size = [printable(name) for name in run.class_names], config.data.image_size
    listed = ", ".join(names[:CLASSES_NAMED])
    listed += f" and {len(names) - CLASSES_NAMED:,} more" if len(names) > CLASSES_NAMED else ""
    width = "" if config.model.alpha == 1 else f" of width {config.model.alpha:g}"
    classes = counted(len(names), "class", "classes")
    return {
        "title": f"{DatasetName.parse(config.data.dataset).slug} classifier",
        "summary": f"Tells apart {classes}: {listed}. {config.model.name}{width}, {size}x{size} px.",
        "classes": names,
    }


def make_card(
    run: Run,
    splits: Splits,
    role: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    weights: str,
    parameters: int,
    verification: Verification | None,
) -> dict[str, Any]:
    """Return the card that page.js shows.

    Args:
        run: The run.
        splits: Its pictures.
        role: The role of the pictures on which the page was verified: "test"; "train" if there are no others.
        probabilities: Of these pictures, by the page if it is verified, float (pictures, classes).
        labels: Their classes.
        weights: How kernels are stored.
        parameters: Number of the network's parameters.
        verification: The comparison with Keras; None if the page was not verified.
    """
    result = summarize(probabilities, labels, role)
    tested = role == "test" and not run.config.data.overfit
    low, high = result.top1_interval
    pictures = counted(len(labels), f"{role} picture")
    facts = [
        ("Data", printable(DatasetName.parse(run.config.data.dataset).short)),
        ("Training", counted(splits.num_examples("train"), "picture")),
        ("Test" if tested else "Compared on", f"{pictures}: {splits.describe(role)}"),
        ("Network", f"{run.config.model.name}, {counted(parameters, 'parameter')}, as {weights}"),
        ("Trained", _started(run)),
        ("Exported", f"{datetime.now(UTC):%Y-%m-%d}, keras_sepnets {__version__}"),
        ("Compared with Keras", _describe(verification)),
    ]
    if not tested:
        words = "No picture was kept from the training, so nothing tells how often it is right on new ones."
    else:
        words = (
            f"of {pictures}, which it was not trained on; by their number, {low:.1%} to {high:.1%} of all such "
            "pictures (95% interval). Always naming the most frequent class is right for "
            f"{result.majority_top1:.1%}."
        )
    return {
        "top1": result.top1 if tested else None,
        "interval": result.top1_interval,
        "majority": result.majority_top1,
        "words": words,
        "facts": [fact for fact in facts if fact[1]],
        "notes": [UNKNOWN_CLASSES, _describe_licence(run)],
        "sure": count_sure(probabilities, labels) if tested else [],
        "pictures": len(labels),
        "split": role,
    }


def _started(run: Run) -> str:
    return str(run.read_json("environment.json").get("started", ""))[:10] if run.has("environment.json") else ""


def _describe(verification: Verification | None) -> str:
    if verification is None:
        return NOT_VERIFIED
    same = round(verification.agreement * verification.num_examples)
    return (
        f"the same class for {same:,} of {counted(verification.num_examples, f'{verification.split} picture')}, "
        f"probabilities at most {100 * verification.largest_difference:.2g} points apart ({verification.runtime})"
    )


def _describe_licence(run: Run) -> str:
    weights = run.config.transfer.weights
    start = "" if weights is None else " and of the weights that the training started from"
    return f"The licences of the training pictures{start} apply to this network, too."
