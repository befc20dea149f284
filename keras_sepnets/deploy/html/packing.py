"""The operations and weights of a network as the texts that `interpreter.js` reads."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_sepnets.deploy.html.operations import Operation

WEIGHTS = {"float16": 1.0, "int8": 127.0}  # how kernels are stored -> what stands for the largest of a channel


class PackedNetwork(NamedTuple):
    """What interpreter.js reads."""

    description: dict[str, Any]
    kernels: str  # base64 of float16 or int8, little-endian, one kernel after the other
    floats: str  # base64 of float32: of each kernel, the scales and the biases of its channels


def pack(operations: Sequence[Operation], input_shape: tuple[int, ...], weights: str = "float16") -> PackedNetwork:
    """Return a network as texts; the kernels of each output channel are stored relative to their largest value.

    Args:
        operations: Each after those that it reads; the last ones are the classifier and its softmax.
        input_shape: Height, width and channels of the picture.
        weights: "float16" or "int8"; the arithmetic is float32.
    """
    kernels, floats = [], []
    for operation in operations:
        if not operation.kernel.size:
            continue
        values = operation.kernel.reshape(-1, operation.kernel.shape[-1])
        scales = np.abs(values).max(axis=0) / WEIGHTS[weights]
        scaled = values / np.where(scales > 0, scales, 1)
        stored = np.rint(scaled).astype("<i1") if weights == "int8" else scaled.astype("<f2")
        kernels.append(stored.tobytes())
        floats.append(np.stack([scales, operation.bias]).astype("<f4").tobytes())
    description = {"weights": weights, "input": input_shape, "operations": _describe(operations)}
    return PackedNetwork(description, *(base64.b64encode(b"".join(parts)).decode() for parts in (kernels, floats)))


def _describe(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """Return the operations without weights; tensor 0 is the picture, tensor k + 1 the output of operation k."""
    numbers = {operation: number for number, operation in enumerate(operations, start=1)}
    described = []
    for operation in operations:
        entry = {
            "kind": operation.kind,
            "inputs": [numbers.get(source, 0) for source in operation.inputs],
            "shape": operation.shape,
        }
        if operation.kernel.size:
            entry["kernel"] = operation.kernel.shape
        if operation.activation:
            entry["activation"] = operation.activation
        described.append(entry | operation.settings)
    return described
