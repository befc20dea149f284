"""The forward pass that evaluation and prediction share."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_sepnets.base.errors import FailedRunError

# One for both, because the last bits of a probability may depend on the size of its batch and the place in it.
BATCH_SIZE = 64


def classify_batches(model: keras.Model, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield the probabilities, float32 (batch, classes), and the labels of each batch.

    Raises:
        FailedRunError: A probability is NaN.
    """
    for pictures, labels in batches:
        probabilities = model.predict_on_batch(pictures)
        if not np.isfinite(probabilities).all():
            raise FailedRunError(
                "The network's probabilities are NaN, because its weights are too large or damaged; train it "
                f"again at a lower learning rate. Received: {model.name}"
            )
        yield probabilities, labels
