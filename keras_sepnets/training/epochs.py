"""All epochs of a run, from its newest checkpoint or from its start."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from keras_sepnets.training.clock import Clock
from keras_sepnets.training.interruption import Interruption
from keras_sepnets.training.loop import build_metrics, run_epochs, training_state
from keras_sepnets.training.plan import Plan
from keras_sepnets.training.recorder import Recorder
from keras_sepnets.training.saver import Saver
from keras_sepnets.training.start import start_with_fitted_classifier


def train_to_the_end(
    plan: Plan,
    recorder: Recorder,
    saver: Saver,
    interruption: Interruption,
    clock: Clock,
    callbacks: Sequence[keras.callbacks.Callback],
    on_progress: Callable[[str], None],
) -> None:
    """Train a run, from its newest checkpoint if there is one."""
    model, position = plan.trained, saver.position
    with clock.counting("reading"):
        validation = plan.validation_batches()
    keras.utils.set_random_seed(plan.config.training.seed)
    if plan.config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    checkpoint = saver.load_newest()
    phase = plan.phase_at(position)
    plan.compile(phase)
    build_metrics(model, validation)
    if checkpoint:
        checkpoint.read(training_state(model))
    elif plan.config.transfer.classifier == "fitted":
        recorder.start_clock()
        with clock.counting("fitting"):
            classifier = start_with_fitted_classifier(plan, validation, on_progress)
        recorder.begin_with(classifier)
        saver.save()

    def begin_epoch(epoch: int) -> None:
        nonlocal phase
        if plan.phase_of(epoch) != phase:
            phase = plan.phase_of(epoch)
            plan.compile(phase)
            build_metrics(model, validation)

    @contextlib.contextmanager
    def evaluated() -> Iterator[None]:
        with clock.counting("validation"), plan.evaluated():
            yield

    def after_step() -> None:
        interruption.stop_if_asked()
        saver.save_if_due()

    with clock.counting("reading"):
        batches = plan.training_batches(start=saver.step)
    interruption.stops_between_steps = True
    run_epochs(
        model,
        position,
        batches,
        validation,
        epochs=plan.last_epoch,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=[recorder, *callbacks],
        evaluated=evaluated,
        on_new_epoch=begin_epoch,
        on_step=after_step,
        on_pause=interruption.stop_if_asked,
    )
