"""Files and metrics that a run records while it trains: history, best network, speed, TensorBoard events."""

import functools
import importlib.util
import time
import warnings
from typing import Any

import keras
import numpy as np
import psutil

from keras_sepnets.base.errors import DivergedError, FailedRunError
from keras_sepnets.base.text import one_line
from keras_sepnets.data.batches.examples import NOTHING_READ
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.kept import rank, with_handicap
from keras_sepnets.runs.plots import draw_learning_curve
from keras_sepnets.training.classifier import FittedClassifier
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.plan import Plan

NEEDED = ("epoch", "loss", "top1", "val_loss", "val_top1", "seconds")  # columns that a resumed run continues


class Recorder(keras.callbacks.Callback):
    """Writes history.csv and the best network so far after every epoch, and the learning curve at the end."""

    def __init__(self, run: Run, plan: Plan, clock: Clock) -> None:
        """Record into a run folder.

        Args:
            run: The run folder.
            plan: The run's plan.
            clock: The run's time; it starts when training does.
        """
        super().__init__()
        self._run = run
        self._plan = plan
        self._clock = clock
        self._config = plan.config
        self._history: list[dict[str, float]] = []
        self._best: list[float] = []  # what ranks networks, the first number first
        self._best_epoch = 0
        self._images = 0
        self._image_seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self._history,
            "best": self._best,
            "best_epoch": self._best_epoch,
            "images": self._images,
            "image_seconds": self._image_seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if missing := [column for row in state["history"] for column in NEEDED if column not in row]:
            raise KeyError(missing[0])
        self._history, self._best, self._best_epoch = state["history"], state["best"], state["best_epoch"]
        self._images, self._image_seconds = state["images"], state["image_seconds"]

    def start_clock(self) -> None:
        """Start counting the time of the training."""
        self._clock.start()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start_clock()
        self._traced: Any = None  # the train function that has taken its first step
        self._stop_if_patience_ends()  # for a run that was killed just before it stopped

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._steps_begin = self._steps_end = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._step_begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._steps_end = time.perf_counter()
        is_traced = self._traced is self.model.train_function
        self._clock.add("training" if is_traced else "tracing", self._steps_end - self._step_begin)
        if not is_traced:
            self._steps_begin = self._steps_end  # not counted: the first step of a phase traces the graph
            self._traced = self.model.train_function
        else:
            self._epoch_images += self._plan.batch_size
        if logs and not np.isfinite(logs["loss"]):
            raise DivergedError(
                f"The loss became {logs['loss']} in epoch {len(self._history) + 1}, step {batch + 1}; lower the "
                f"learning rate. Received: learning_rate={self._config.training.learning_rate}."
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        if "val_loss" not in logs:
            raise FailedRunError(NOTHING_READ)
        image_seconds = self._steps_end - self._steps_begin
        self._images += self._epoch_images
        self._image_seconds += image_seconds
        self._history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": float(self.model.optimizer.learning_rate),
                **{name: float(logs[name]) for name in ("loss", "top1", "val_loss", "val_top1")},
                "seconds": round(self._clock.seconds, 3),
                "images_per_second": round(self._epoch_images / max(image_seconds, 1e-9), 1),
                "memory_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
            }
        )
        self._keep_if_better(logs["val_top1"], logs["val_loss"], epoch + 1)
        self._stop_if_patience_ends()
        columns = list(self._history[0])
        self._run.write_csv(
            "history.csv", [columns, *([row[column] for column in columns] for row in self._history)]
        )

    def begin_with(self, classifier: FittedClassifier) -> None:
        """Record the network with its fitted classifier, before the first epoch."""
        self._run.write_json("classifier.json", classifier.to_json())
        self._keep_if_better(*with_handicap(classifier.val_top1, classifier.val_loss, self._num_validation), 0)

    def on_train_end(self, logs: dict | None = None) -> None:
        if not self._history:
            return
        config = self._config
        title = f"{config.model.name} on {DatasetName.parse(config.data.dataset).short}"
        harder = ["mixed pictures"] if self._plan.splits.policy.mixes else []
        harder += ["smoothed labels"] if config.training.label_smoothing else []
        held_out = not config.data.trains_on_all
        best = self._best_epoch if held_out else None
        self._run.write_picture(
            "learning_curve.png",
            lambda: draw_learning_curve(
                self._history, title, best=best, harder=", ".join(harder), held_out=held_out
            ),
        )

    def save(self, name: str) -> None:
        """Save the network as "best" or "final", as it is evaluated."""
        with self._clock.counting("saving"), self._plan.evaluated():
            if not self._shares_layers:
                self.network.set_weights(self._plan.trained.get_weights())
            self._run.save_model(self.network, name)

    @functools.cached_property
    def network(self) -> keras.Model:
        """The network that is saved, not compiled, so that files hold no optimizer."""
        if not self._shares_layers:
            return self._plan.build_network()
        network = self._plan.network
        return keras.Model(network.inputs, network.outputs, name=network.name)

    def summary(self) -> dict[str, Any]:
        """Return the best epoch, the seconds of all training, and the images per second of its steps."""
        return {
            "best_epoch": self._best_epoch,
            "train_seconds": self._history[-1]["seconds"] if self._history else round(self._clock.seconds, 3),
            "images_per_second": round(self._images / max(self._image_seconds, 1e-9), 1),
        }

    @property
    def _shares_layers(self) -> bool:
        """Whether the saved network shares the trained model's layers: all are in float32 and none is frozen."""
        transfer = self._config.transfer
        is_frozen = bool(transfer.freeze) or transfer.batch_norm == "frozen"
        return self._config.training.dtype_policy == "float32" and not is_frozen

    def _stop_if_patience_ends(self) -> None:
        patience = self._config.training.patience
        begin = self._plan.phases[-1].begin  # patience does not count earlier phases
        if patience and len(self._history) - max(self._best_epoch, begin) >= patience:
            self.model.stop_training = True

    def _keep_if_better(self, top1: float, loss: float, epoch: int) -> None:
        """Save the network if it is the best so far on validation."""
        result = rank(top1, loss, self._num_validation)
        if self._is_better(result):
            self._best, self._best_epoch = result, epoch
            self.save("best")

    def _is_better(self, result: list[float]) -> bool:
        return not self._best or result > self._best

    @property
    def _num_validation(self) -> int:
        return self._plan.splits.num_examples("validation")


def tensorboard_callbacks(run: Run) -> list[keras.callbacks.Callback]:
    """Return the callback that writes each epoch's metrics to `events/`, if TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    try:
        return [keras.callbacks.TensorBoard(str(run.path / "events"), write_graph=False)]
    except Exception as error:  # TensorBoard is optional: an unsuitable version of it must not stop the run
        warnings.warn(f"TensorBoard events cannot be written: {one_line(error)}", stacklevel=1)
        return []
