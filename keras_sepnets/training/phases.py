"""Phases of a training: which layers are trained in which epochs."""

from dataclasses import dataclass

import keras

from keras_sepnets.models.stages import frozen_stages, stage_of


def freeze(model: keras.Model, last: str | None, *, batch_norm: bool = False) -> None:
    """Freeze all stages up to and including `last`, with batch norm in inference mode; train the others.

    Args:
        model: A network of this package.
        last: A stage, as `stages` lists them; a flow of Xception's; "backbone": all but the classifier; None:
            train everything.
        batch_norm: Whether to freeze batch norm everywhere: it keeps its statistics, scale and offset.

    Raises:
        SepnetsError: The network has no stage of this name.
    """
    frozen = frozen_stages(model, last)
    for layer in model.layers:
        layer.trainable = stage_of(layer.name) not in frozen and not (batch_norm and is_batch_norm(layer))


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Whether a layer is batch norm, stock or a twin's."""
    return hasattr(layer, "moving_variance")


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs that train the same layers on one schedule."""

    begin: int  # first epoch, from 0
    end: int  # one past the last epoch
    freeze: str | None  # the last frozen stage
    learning_rate_factor: float = 1.0
