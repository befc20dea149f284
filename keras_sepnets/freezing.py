"""Which layers of a network are trained."""

import keras

from keras_sepnets.cost import stage_of
from keras_sepnets.errors import SepnetsError, did_you_mean
from keras_sepnets.models.registry import NETWORKS
from keras_sepnets.models.weight_files import HEAD

BACKBONE = "backbone"


def stages(model: keras.Model) -> list[str]:
    """Return the stages of a network's backbone that have weights, in order: stem, block1, ..."""
    weighted = [layer for layer in model.layers if layer.weights]
    return [name for name in dict.fromkeys(stage_of(layer.name) for layer in weighted) if name not in HEAD]


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


def frozen_stages(model: keras.Model, last: str | None) -> list[str]:
    """Return the stages that `freeze` leaves as they are; raise SepnetsError if there is no such last one."""
    if last is None:
        return []
    known = stages(model)
    flows = NETWORKS[model.name].flows(known)
    ends = {BACKBONE: known[-1], **flows, **{stage: stage for stage in known}}
    if last not in ends:
        raise SepnetsError(
            f'{model.name} has no stage "{last}" to freeze.{did_you_mean(last, ends)} Stages: {", ".join(ends)}. '
            f"Received: transfer.freeze={last!r}"
        )
    return known[: known.index(ends[last]) + 1]
