"""With how many threads TensorFlow computes an operation on a CPU: it keeps the number with which it begins."""

import os

import tensorflow as tf

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.settings.schema import TrainingConfig

VARIABLE = "TF_NUM_INTRAOP_THREADS"  # by which a user says it for all programs


def use_threads(training: TrainingConfig) -> None:
    """Let TensorFlow use as many threads for an operation as the settings say, if they say it.

    Raises:
        SepnetsError: It has computed something in this process already, with another number of them.
    """
    threads = training.intra_op_threads
    if threads in ("auto", _current()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        raise SepnetsError(
            f"TensorFlow has begun in this process with {_current()} threads an operation (0: one a core) and "
            f"keeps them; train in a process of its own. Received: training.intra_op_threads={threads}"
        ) from None


def settle_threads(training: TrainingConfig) -> TrainingConfig:
    """Return settings with the number of threads of this process, where nothing can be chosen any more."""
    if training.intra_op_threads != "auto" or _are_open():
        return training
    return training.model_copy(update={"intra_op_threads": _current()})


def _current() -> int:
    said = os.environ.get(VARIABLE, "")
    return tf.config.threading.get_intra_op_parallelism_threads() or (int(said) if said.isdigit() else 0)


def _are_open() -> bool:
    """Tell whether nobody has said how many threads an operation may use, and TensorFlow has not begun."""
    if _current() or VARIABLE in os.environ:
        return False
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(0)
    except RuntimeError:
        return False
    return True
