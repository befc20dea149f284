"""The operations of a flat network, and how they are merged."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONVOLUTIONS = ("conv", "depthwise")
_numbers = itertools.count()


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(eq=False)
class Operation:
    """One operation; tensors are (height, width, channels) or (units,)."""

    kind: str  # a key of OPERATIONS in interpreter.js, or "input", or "pad" before a convolution
    inputs: "list[Operation]"
    shape: tuple[int, ...]  # of the output
    settings: dict[str, Any] = field(default_factory=dict)
    kernel: np.ndarray = field(default_factory=_nothing)  # the last axis is that of the output channels
    bias: np.ndarray = field(default_factory=_nothing)
    activation: str | None = None  # applied to the output
    number: int = field(default_factory=lambda: next(_numbers))  # larger than those of its inputs


def operations_before(last: Operation) -> list[Operation]:
    """Return an operation and all that it needs, except the input of the network, in an order to compute them."""
    found, waiting = {last}, [last]
    while waiting:
        new = set(waiting.pop().inputs) - found
        found |= new
        waiting += new
    return sorted((one for one in found if one.kind != "input"), key=lambda one: one.number)


def merge(last: Operation) -> list[Operation]:
    """Return the operations that lead to the last one, merged where that changes nothing but rounding.

    Convolutions take over the padding before them and the batch norm after them; every operation takes over the
    activation after it.
    """
    operations = operations_before(last)
    readers = Counter(source for operation in operations for source in operation.inputs)
    merged: dict[Operation, Operation] = {}
    for operation in operations:
        operation.inputs = [merged.get(source, source) for source in operation.inputs]
        source = operation.inputs[0]
        if source.kind == "pad":
            operation.settings["padding"] = source.settings["padding"]
            operation.inputs = source.inputs
        elif readers[source] == 1 and source.activation is None and _takes_over(source, operation):
            merged[operation] = source
            readers[source] = readers[operation]
    return operations_before(merged.get(last, last))


def _takes_over(source: Operation, operation: Operation) -> bool:
    """Let an operation compute the one after it too, if it can."""
    if operation.kind == "activation" and source.kind != "input":
        source.activation = operation.activation
        return True
    if operation.kind == "affine" and source.kind in CONVOLUTIONS:
        source.kernel = source.kernel * operation.kernel
        source.bias = source.bias * operation.kernel + operation.bias
        return True
    return False
