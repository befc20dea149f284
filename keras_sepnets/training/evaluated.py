"""The network as it is evaluated and saved: with averaged weights, and with batch norm's statistics for them."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.averaging import averaged_weights
from keras_sepnets.training.phases import is_batch_norm

MOST_KEPT = 2**28  # bytes of training batches that are kept in memory for statistics


class EvaluatedForm:
    """Swaps what training keeps of a model for what evaluation needs, and back."""

    def __init__(self, model: keras.Model, batches: Callable[[], Any] | None = None) -> None:
        """Prepare for one model.

        Args:
            model: The model that is trained.
            batches: Returns the training batches from which batch norm gets its statistics, always the same ones;
                None for its moving averages.
        """
        self._model = model
        self._batches = batches
        self._known: list[np.ndarray] = []  # statistics ...
        self._known_for: tuple[Any, int] = (None, 0)  # ... of this optimizer after this many steps
        self._traced: list[Any] = []  # layers that `_forward` was traced for: a phase may train others
        self._forward: Any = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Give the model its averaged weights and precise statistics within a block."""
        with averaged_weights(self._model):
            layers = [layer for layer in self._model.layers if is_batch_norm(layer) and layer.trainable]
            if self._batches is None or not layers:
                yield
                return
            variables = [layer.moving_mean for layer in layers] + [layer.moving_variance for layer in layers]
            moving = [keras.ops.copy(variable) for variable in variables]
            try:
                for variable, value in zip(variables, self._statistics(layers, self._batches), strict=True):
                    variable.assign(value)
                yield
            finally:
                for variable, value in zip(variables, moving, strict=True):
                    variable.assign(value)

    def _statistics(self, layers: list[Any], batches: Callable[[], Any]) -> list[np.ndarray]:
        """Return the means, then the variances, of all layers, computed once per optimizer step."""
        optimizer, step = self._model.optimizer, int(self._model.optimizer.iterations)
        if self._known_for[0] is not optimizer or self._known_for[1] != step:
            self._known, self._known_for = self._compute(layers, batches), (optimizer, step)
        return self._known

    def _compute(self, layers: list[Any], batches: Callable[[], Any]) -> list[np.ndarray]:
        """Pool the statistics of all batches exactly: the variance within batches and that between their means.

        This is "precise batch norm" (Wu and Johnson 2021, "Rethinking Batch in BatchNorm", arXiv:2105.07576,
        section 3), as fvcore has for PyTorch.
        """
        if self._traced != layers:
            self._traced, self._forward = layers, _statistics_function(self._model, layers)
        untouched = [(variable, keras.ops.copy(variable)) for variable in self._model.non_trainable_variables]
        found = [self._forward(pictures) for pictures, *_ in batches()]
        for variable, value in untouched:  # dropout's seeds too: evaluating must not change the training
            variable.assign(value)
        means = [np.stack([batch[0][k].numpy() for batch in found]).astype(np.float64) for k in range(len(layers))]
        variances = [np.stack([batch[1][k].numpy() for batch in found]) for k in range(len(layers))]
        pooled = [
            within.mean(axis=0, dtype=np.float64) + mean.var(axis=0)
            for within, mean in zip(variances, means, strict=True)
        ]
        return [mean.mean(axis=0) for mean in means] + pooled


def _statistics_function(model: keras.Model, layers: list[Any]) -> Any:
    """Return a function of pictures: the means and the variances with which training mode normalizes them."""

    @tf.function(reduce_retracing=True)
    def statistics(pictures: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        momentums = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = 0.0  # the moving average becomes the batch's value
        try:
            model(pictures, training=True)
        finally:
            for layer, momentum in zip(layers, momentums, strict=True):
                layer.momentum = momentum
        return (
            [tf.identity(layer.moving_mean.value) for layer in layers],
            [tf.identity(layer.moving_variance.value) for layer in layers],
        )

    return statistics


def batches_for_statistics(config: RunConfig, splits: Splits, steps_per_epoch: int) -> Callable[[], Any] | None:
    """Return a function that returns the batches for precise statistics; None for moving averages."""
    count, size = config.training.precise_batch_norm, config.data.image_size or 0
    if not count or count == "auto":
        return None
    batch_size = int(config.training.batch_size)

    @functools.cache  # once: the same data set keeps its batches in memory
    def batches() -> Any:
        seeds = config.training.seeds_of_batches
        found = splits.training_batches(batch_size, steps_per_epoch, **seeds).take(count)
        is_small = count * batch_size * size**2 * 12 <= MOST_KEPT
        return found.cache() if is_small else found

    return batches
