"""The start of a fine-tuning: its classifier, fitted to the features of the training pictures."""

from collections.abc import Callable
from typing import Any

from keras_sepnets.base.text import counted
from keras_sepnets.inference.forward import BATCH_SIZE
from keras_sepnets.training.classifier import (
    CLASSIFIER,
    FittedClassifier,
    compute_features,
    fit_classifier,
    most_fitted,
)
from keras_sepnets.training.loop import validate
from keras_sepnets.training.plan import Plan


def start_with_fitted_classifier(
    plan: Plan, validation: Any, on_progress: Callable[[str], None] = lambda _text: None
) -> FittedClassifier:
    """Fit a plan's classifier to its training pictures, as evaluation sees them, and return how well it does.

    Args:
        plan: The plan; its model is compiled and its classifier changes.
        validation: The batches to validate on.
        on_progress: Called with a line before and after.
    """
    layer = plan.trained.get_layer(CLASSIFIER)
    features, classes = layer.kernel.shape
    total = plan.splits.num_examples("train")
    most = most_fitted(features, classes, alone=not plan.last_epoch)
    on_progress(f"fitting the classifier to the features of {counted(min(most, total), 'training picture')}")
    found, labels = compute_features(plan.network, plan.splits.training_pictures(BATCH_SIZE, most))
    balanced = plan.config.training.class_weights == "balanced"
    fit = fit_classifier(found, labels, classes, balanced=balanced)
    layer.kernel.assign(fit.kernel)
    layer.bias.assign(fit.bias)
    with plan.evaluated():
        validated = validate(plan.trained, validation)
    result = FittedClassifier(
        num_examples=len(labels),
        features=features,
        strength=fit.strength,
        cross_validated_top1=fit.cross_validated_top1,
        train_top1=fit.train_top1,
        val_top1=validated["top1"],
        val_loss=validated["loss"],
    )
    on_progress(str(result))
    return result
