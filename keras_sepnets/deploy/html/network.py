"""A Keras network as the list of operations that `interpreter.js` knows."""

from typing import NamedTuple

import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.deploy.html.operations import Operation, merge
from keras_sepnets.deploy.html.translation import translate
from keras_sepnets.models.keras_internals import graph_of, run_graph


class FlatNetwork(NamedTuple):
    """A classifier that `interpreter.js` can run."""

    operations: list[Operation]  # each after those that it reads; the last ones are the classifier and its softmax
    input_shape: tuple[int, ...]  # height, width, channels


def flatten(model: keras.Model) -> FlatNetwork:
    """Return the operations of a classifier of stock layers, such as those that this package builds.

    Raises:
        SepnetsError: A page cannot compute a layer, or the network is no classifier of one picture.
    """
    graph = graph_of(model)
    is_simple = graph is not None and len(graph.inputs) == len(graph.outputs) == 1
    if not is_simple or None in graph.inputs[0].shape[1:]:
        raise SepnetsError(
            "An HTML page holds functional networks with one input, a picture of a fixed size, and one output. "
            f"Received: {model.name}"
        )
    picture = Operation("input", [], tuple(graph.inputs[0].shape[1:]))
    outputs = run_graph(graph, [picture], lambda layer, *inputs, **_: translate(layer, inputs[0]))
    (last,) = keras.tree.flatten(outputs)
    operations = merge(last)
    if [operation.kind for operation in operations[-2:]] != ["dense", "softmax"]:
        raise SepnetsError(
            f"An HTML page holds networks that end in a classifier with softmax. Received: {model.name}"
        )
    return FlatNetwork(operations, picture.shape)
