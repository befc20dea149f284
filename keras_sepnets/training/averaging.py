"""The moving average of the weights (Polyak averaging), which is evaluated and saved in place of the weights."""

import contextlib
from collections.abc import Iterator

import keras

from keras_sepnets.models.keras_internals import averaged_variables


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Give a model its averaged weights within a block, if its optimizer keeps an average.

    Keras' own `SwapEMAWeights` swaps by adding and subtracting, which rounds: the weights of a run would depend on
    how often it was evaluated.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # inside loss scaling
    if not getattr(optimizer, "use_ema", False) or not int(optimizer.iterations):  # averages are 0 before a step
        yield
        return
    trained = [keras.ops.copy(variable) for variable in model.trainable_variables]
    try:
        for variable, average in zip(model.trainable_variables, averaged_variables(optimizer), strict=True):
            variable.assign(average)
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained, strict=True):
            variable.assign(value)
