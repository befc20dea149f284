"""The number of threads that TensorFlow uses per operation on a CPU, which is fixed once it has started."""

import os

import tensorflow as tf

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.settings.schema import TrainingConfig

VARIABLE = "TF_NUM_INTRAOP_THREADS"  # with which users set it for all programs


def use_threads(training: TrainingConfig) -> None:
    """Set TensorFlow's number of threads per operation to `intra_op_threads`; do nothing if that is "auto".

    Raises:
        SepnetsError: TensorFlow has already started in this process, with another number.
    """
    threads = training.intra_op_threads
    if threads in ("auto", _current()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        raise SepnetsError(
            f"TensorFlow has already started in this process, with training.intra_op_threads={_current()}, and "
            f"keeps that number; train in a new process. Received: training.intra_op_threads={threads}"
        ) from None


def settle_threads(training: TrainingConfig) -> TrainingConfig:
    """Replace "auto" by the number of threads of this process if it can no longer be changed."""
    if training.intra_op_threads != "auto" or _are_open():
        return training
    return training.model_copy(update={"intra_op_threads": _current()})


def _current() -> int:
    value = os.environ.get(VARIABLE, "")
    return tf.config.threading.get_intra_op_parallelism_threads() or (int(value) if value.isdigit() else 0)


def _are_open() -> bool:
    """Whether nobody set the number of threads per operation, and TensorFlow has not started."""
    if _current() or VARIABLE in os.environ:
        return False
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(0)
    except RuntimeError:
        return False
    return True
