"""The outcome of a run, in a form that allows two of them to be compared bit for bit."""

import json
from typing import Any

import tensorflow as tf

from keras_sepnets.runs.folder import Run

EXACT = ("epoch", "learning_rate", "loss", "top1", "val_loss", "val_top1")  # everything but durations


def outcome(run: Run) -> dict[str, Any]:
    """Return the state and the results of a finished run, as bytes and numbers."""
    (checkpoint,) = run.checkpoints_folder.glob("step-*")
    reader = tf.train.load_checkpoint(str(checkpoint / "variables"))
    variables = {
        name: reader.get_tensor(name).tobytes()
        for name in sorted(reader.get_variable_to_shape_map())
        if name.startswith(("model/", "optimizer/"))
    }
    if not variables:
        raise ValueError(f"The checkpoint has no variables. Received: {checkpoint}")
    state = json.loads((checkpoint / "state.json").read_bytes())
    test = run.read_json("evaluation-test.json")
    return {
        "variables": variables,
        "position": state["position"],
        "best": state["recorder"]["best"],
        "final network": [array.tobytes() for array in run.load_model("final").get_weights()],
        "best network": [array.tobytes() for array in run.load_model("best").get_weights()],
        "history": [[row[name] for name in EXACT] for row in run.read_history()],
        "test": {name: test[name] for name in ("top1", "top5", "loss")},
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the parts in which two outcomes differ."""
    return [name for name in one if one[name] != other.get(name)]
