"""Labels of training pictures: class weights, label smoothing, and labels in words."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_sepnets.base.text import printable


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Return a weight for each class, so that all classes have the same total weight and the mean example has 1.

    Args:
        counts: int (classes,), number of training examples of each class.

    Returns:
        float32 (classes,); 1 for a class without examples.
    """
    from sklearn.utils.class_weight import compute_class_weight  # takes a second to import

    present = np.flatnonzero(counts)
    weights = np.ones(len(counts), np.float32)
    weights[present] = compute_class_weight("balanced", classes=present, y=np.repeat(present, counts[present]))
    return weights


def weigh(batches: tf.data.Dataset, weights: np.ndarray) -> tf.data.Dataset:
    """Add the weight of its class to every example; mixed examples get the weighted mean of their classes'.

    Keras' own `class_weight` gives a mixed example the weight of its largest share.
    """

    def add_weights(pictures: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mixed = labels.dtype.is_floating
        return pictures, labels, tf.linalg.matvec(labels, weights) if mixed else tf.gather(weights, labels)

    return batches.map(add_weights)


def smooth(batches: tf.data.Dataset, share: float, classes: int) -> tf.data.Dataset:
    """Smooth labels: spread a share of each evenly over all classes (arXiv:1512.00567, section 7).

    Takes class numbers, int (batch,), or probabilities, float32 (batch, classes); returns probabilities.
    """

    def soften(pictures: tf.Tensor, labels: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        probabilities = labels if labels.dtype.is_floating else tf.one_hot(labels, classes)
        return pictures, probabilities * (1 - share) + share / classes, *weights

    return batches.map(soften)


def describe_label(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Return a class number, int (), or the two largest probabilities, of float32 (classes,), in words."""
    if not label.shape:
        return printable(class_names[int(label)])
    shares = sorted(zip(label, class_names, strict=True), reverse=True)[:2]
    return "\n".join(f"{share:.0%} {printable(name)}" for share, name in shares if share > 0.005)
