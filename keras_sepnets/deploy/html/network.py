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
    if graph is None or len(graph.inputs) != 1 or None in graph.inputs[0].shape[1:]:
        raise SepnetsError(
            f"An HTML page holds functional networks for one picture of a fixed size. Received: {model.name}"
        )
    picture = Operation("input", [], tuple(graph.inputs[0].shape[1:]))
    last = run_graph(graph, [picture], lambda layer, *inputs, **_: translate(layer, inputs[0]))
    operations = merge(last) if isinstance(last, Operation) else []
    if [operation.kind for operation in operations[-2:]] != ["dense", "softmax"]:
        raise SepnetsError(
            f"An HTML page holds networks that end in a classifier with softmax. Received: {model.name}"
        )
    return FlatNetwork(operations, picture.shape)
