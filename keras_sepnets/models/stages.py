"""The stages of a network (stem, block1, ...), derived from the names of its layers."""

import re

import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.models.registry import NETWORKS
from keras_sepnets.models.weight_files import HEAD

BACKBONE = "backbone"


def stage_of(name: str) -> str:
    """Return the stage at the beginning of a layer's name: its words up to the first number.

    `block3_depthwise` is in block3, `block_3_expand` in block_3, `stem_bn` in stem. A layer whose name has no such
    beginning is its own stage.
    """
    *nested, name = name.split("/")
    begin = re.match(r"(?:stem|last|block\d+[a-z]?|(?:[a-z]+_)*?[a-z]+_?\d+)(?=_|$)", name)
    return "/".join([*nested, begin.group() if begin else name])


def stages(model: keras.Model) -> list[str]:
    """Return the stages of a network's backbone that have weights, in order: stem, block1, ..."""
    weighted = [layer for layer in model.layers if layer.weights]
    return [name for name in dict.fromkeys(stage_of(layer.name) for layer in weighted) if name not in HEAD]


def frozen_stages(model: keras.Model, last: str | None) -> list[str]:
    """Return the stages up to `last`, which `freeze` keeps fixed; raise SepnetsError if `last` is unknown."""
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
