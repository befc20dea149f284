"""Whether the classifier in a weight file computes the same as one of ours."""

from collections.abc import Iterable

import keras

from keras_sepnets.models.architecture import activation_name, keras_name
from keras_sepnets.models.weight_files import HEAD, FileLayer, FileLayers

# Layers without weights that do not change what a classifier says. What follows a backbone is never negative.
HARMLESS = frozenset((
    "activation", "alpha_dropout", "dropout", "flatten", "gaussian_dropout", "gaussian_noise",
    "global_average_pooling2d", "identity", "input_layer", "normalization", "re_lu", "rescaling", "reshape",
    "resizing", "softmax", "spatial_dropout2d", "zero_padding2d"
))  # fmt: skip
HARMLESS_ACTIVATIONS = ("linear", "relu", "relu6", "softmax")


def classifiers(
    model: keras.Model, file: FileLayers, used: set[int]
) -> list[tuple[keras.layers.Layer, FileLayer]]:
    """Return each layer of our classifier with the one of the file's; none if the two do not compute the same.

    Args:
        model: Our network.
        file: The layers in a file.
        used: Ids of those that fill the backbone, at least one.
    """
    places = [index for index, layer in enumerate(file.layers) if id(layer) in used]
    # What is between the backbone's layers belongs to it, such as shortcuts that our network leaves out.
    inside = range(places[0], places[-1]) if file.in_order else range(0)
    outside = [layer for index, layer in enumerate(file.layers) if index not in inside and id(layer) not in used]
    ours = [layer for layer in model.layers if layer.weights and layer.name in HEAD]
    theirs = [layer for layer in outside if layer.arrays]
    if not file.in_order:
        theirs.sort(key=lambda layer: layer.place)
    after = file.layers[places[-1] + 1 :] if file.in_order else outside
    without_weights = [layer for layer in after if not layer.arrays]
    if not ours or len(ours) != len(theirs) or not _are_harmless(without_weights, model):
        return []
    given, asked = _activation([theirs[-1], *without_weights]), ours[-1].activation.__name__
    # Whoever asks for "linear" asks for the logits of any classifier.
    return list(zip(ours, theirs, strict=True)) if given in ("", asked) or asked == "linear" else []


def _are_harmless(layers: Iterable[FileLayer], model: keras.Model) -> bool:
    """Whether layers without weights, as far as their kinds are known, do not change what a classifier says."""
    known = HARMLESS | {keras_name(type(layer).__name__) for layer in model.layers}
    return all(
        (not layer.kind or layer.kind in known or layer.kind.startswith("random_"))
        and (layer.kind != "activation" or _activation_of(layer) in ("", *HARMLESS_ACTIVATIONS))
        for layer in layers
    )


def _activation(classifier: list[FileLayer]) -> str:
    """Return the activation of a classifier and the layers without weights around it; empty if it is unknown."""
    first, *others = classifier
    if any(layer.kind == "softmax" or _activation_of(layer) == "softmax" for layer in others):
        return "softmax"
    return _activation_of(first)


def _activation_of(layer: FileLayer) -> str:
    return activation_name(layer.config["activation"]) if "activation" in layer.config else ""
