"""Which layers of a network are trained."""

from dataclasses import dataclass

import keras

from keras_sepnets.models.stages import frozen_stages, stage_of


def freeze(model: keras.Model, last: str | None) -> None:
    """Leave all stages up to `last` as they are, with batch norm in inference mode; train the others.

    Args:
        model: One of our networks.
        last: A stage, as `stages` lists them; a flow of Xception's; "backbone": all but the classifier; None:
            train everything.

    Raises:
        SepnetsError: There is no such stage.
    """
    frozen = frozen_stages(model, last)
    for layer in model.layers:
        layer.trainable = stage_of(layer.name) not in frozen


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same layers are trained, on a schedule of their own."""

    begin: int  # its first epoch, from 0
    end: int  # the epoch after its last one
    freeze: str | None  # the last stage that is not trained
    learning_rate_factor: float = 1.0
