"""Trainings that signals stop at given steps."""

import functools
import os
import signal

import keras
import pytest

from keras_sepnets import Run, train
from keras_sepnets.base.errors import TerminatedRunError
from keras_sepnets.training.trainer import resume


class Signal(keras.callbacks.Callback):
    """Sends a signal to this process at a step of an epoch, or in its validation."""

    def __init__(self, epoch, step=None, number=signal.SIGTERM):
        super().__init__()
        self.epoch, self.step, self.number = epoch, step, number
        self.now = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.step):
            os.kill(os.getpid(), self.number)

    def on_test_batch_begin(self, batch, logs=None):
        if self.now == self.epoch and self.step is None and batch == 1:
            os.kill(os.getpid(), self.number)


def stop(config, output, *signals):
    """Train, and let each signal stop the run once; return the run, unfinished."""
    run = Run(output)
    for number, one in enumerate(signals):
        continue_run = (
            functools.partial(resume, run) if number else functools.partial(train, config, output=output)
        )
        with pytest.raises(
            TerminatedRunError, match=f"Everything is saved; resume with: sepnets train --resume {output}"
        ):
            continue_run(callbacks=[one])
    return run
