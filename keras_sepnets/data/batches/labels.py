"""Labels of training pictures: weighed by their class, smoothed, or in words."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_sepnets.base.text import printable


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Return the weight of each class in the loss: all classes weigh the same, and the mean over examples is 1.

    A class without examples, of which no weight would be of use, gets 1.
    """
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


def weigh(batches: tf.data.Dataset, weights: np.ndarray) -> tf.data.Dataset:
    """Give every example the weight of its class; a mixed one the mean of its classes', by their shares.

    Keras' own `class_weight` takes the weight of a mixed example's largest share for the whole.
    """

    def add_weights(pictures: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mixed = labels.dtype.is_floating
        return pictures, labels, tf.linalg.matvec(labels, weights) if mixed else tf.gather(weights, labels)

    return batches.map(add_weights)


def smooth(batches: tf.data.Dataset, share: float, classes: int) -> tf.data.Dataset:
    """Spread a share of every label evenly over all classes (arXiv:1512.00567, section 7).

    Labels are class numbers, int (batch,), or probabilities, float32 (batch, classes); they become the latter.
    """

    def soften(pictures: tf.Tensor, labels: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        probabilities = labels if labels.dtype.is_floating else tf.one_hot(labels, classes)
        return pictures, probabilities * (1 - share) + share / classes, *weights

    return batches.map(soften)


def describe_label(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Return a class number, int (), in words; or probabilities, float32 (classes,), by their largest shares."""
    if not label.shape:
        return printable(class_names[int(label)])
    shares = sorted(zip(label, class_names, strict=True), reverse=True)[:2]
    return ", ".join(f"{printable(name)} {share:.0%}" for share, name in shares if share > 0.005)
