"""How a run ends: its result, or the error that says why it ended early and what is left of it."""

import contextlib
import signal
from typing import Annotated, TypeAlias

from pydantic import Field, InstanceOf, PlainSerializer, computed_field

from keras_sepnets.base.errors import (
    DivergedError,
    FailedRunError,
    HungUpError,
    InterruptedRunError,
    SepnetsError,
    TerminatedRunError,
    TimeUpError,
)
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import one_line
from keras_sepnets.cost.counting import Cost
from keras_sepnets.inference.evaluation import Evaluation
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.interruption import Interruption
from keras_sepnets.training.saver import Saver

RunPath: TypeAlias = Annotated[InstanceOf[Run], PlainSerializer(lambda run: str(run.path), return_type=str)]


class TrainingResult(Result):
    """Result of a finished run, as `sepnets train --json` prints it."""

    run: RunPath
    """the run folder"""
    best_epoch: int
    """epoch after which the network was best on validation, from 1; 0: with its fitted classifier, before any"""
    train_seconds: float
    """seconds of training, with validation and checkpoints, over all processes that worked on the run"""
    images_per_second: float
    """training pictures per second of training steps"""
    checkpoint_seconds: float
    """seconds spent on checkpoints, part of train_seconds"""
    seconds: dict[str, float]
    """seconds by part: reading, measuring, building, fitting, tracing, training, validation, saving, testing"""
    cost: InstanceOf[Cost] = Field(exclude=True)
    test: InstanceOf[Evaluation] | None
    """the evaluation on the test split; null for a network that was trained on every picture"""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def parameters(self) -> int:
        """all parameters of the network"""
        return self.cost.total

    @computed_field  # type: ignore[prop-decorator]
    @property
    def multiply_adds(self) -> int:
        """multiply-adds of the network for one picture"""
        return self.cost.multiply_adds


def stop_run(run: Run, saver: Saver, interruption: Interruption, epochs: int) -> InterruptedRunError:
    """Save a run that was asked to stop, and return the error that says how to resume it.

    Args:
        run: The run; it is removed if it has not taken a step.
        saver: The run's saver.
        interruption: The request to stop.
        epochs: Number of epochs of the run.
    """
    position, number = saver.position, interruption.signal
    if position.epoch < epochs:
        where = f"in epoch {position.epoch + 1}, step {position.step}"
    else:
        where = "after the last epoch"
    if interruption.stops_between_steps and saver.step:
        saver.save()
    if run.has_checkpoints:
        kept = f"Everything is saved; resume with: sepnets train --resume {run.path}"
    else:
        _remove(run)
        kept = "No step was finished, so nothing is saved."
    what, kind = stopped_by(number)
    return kind(f"{what} {where}. {kept}")


def stopped_by(number: signal.Signals | None) -> tuple[str, type[InterruptedRunError]]:
    """Return in words what stopped work, and its error; no signal: a time limit."""
    kinds: dict[signal.Signals | None, tuple[str, type[InterruptedRunError]]] = {
        None: ("Time ran out", TimeUpError),
        signal.SIGTERM: ("Terminated", TerminatedRunError),
        signal.SIGHUP: ("The terminal was closed", HungUpError),
    }
    return kinds.get(number, ("Interrupted", InterruptedRunError))


def fail_run(run: Run, error: BaseException) -> FailedRunError:
    """Return the error that says why a run failed and what is left of it.

    Args:
        run: The run; it is removed if nothing of it can be used.
        error: The reason.
    """
    diverged = isinstance(error, DivergedError)
    if run.is_finished:
        kept = f"The training is finished and saved: sepnets evaluate {run.path}"
    elif run.has_checkpoints and not diverged:
        kept = f"Its newest checkpoint is saved; resume with: sepnets train --resume {run.path}"
    elif run.has("history.csv"):
        why = "Resuming would diverge again" if diverged else "There is no checkpoint to resume from"
        kept = f"{why}; its finished epochs are saved: sepnets evaluate {run.path}"
    else:
        _remove(run)
        kept = "No epoch was finished, so nothing is saved."
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(f"Interrupted during the test. {kept}")
    name = "" if isinstance(error, SepnetsError) else f"{type(error).__name__}: "
    return FailedRunError(f"{name}{one_line(error).rstrip('.')}. {kept}")


def _remove(run: Run) -> None:
    """Remove a run of which nothing can be used, as far as the disk allows it: it may be read-only now."""
    with contextlib.suppress(OSError):
        run.remove()
