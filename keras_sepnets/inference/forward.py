"""The forward pass that evaluation and prediction share."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

# One for both, because the last bits of a probability may depend on the size of its batch and the place in it.
BATCH_SIZE = 64


def classify_batches(model: keras.Model, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield the probabilities, float32 (batch, classes), and the labels of each batch."""
    for pictures, labels in batches:
        yield model.predict_on_batch(pictures), labels
