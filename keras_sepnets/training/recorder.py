"""What a run keeps while it trains: history, the best network, speed; events for TensorBoard."""

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
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.plots import draw_learning_curve
from keras_sepnets.training.averaging import averaged_weights
from keras_sepnets.training.plan import Plan


class Recorder(keras.callbacks.Callback):
    """Keeps history.csv after every epoch and the best network so far; the learning curve at the end."""

    def __init__(self, run: Run, plan: Plan) -> None:
        """Write into `run`, whose plan this is."""
        super().__init__()
        self._run = run
        self._plan = plan
        self._config = plan.config
        self._history: list[dict[str, float]] = []
        self._best = [-1.0, 0.0]
        self._best_epoch = 0
        self._images = 0
        self._image_seconds = 0.0
        self._seconds_before = 0.0  # of training, in processes before this one

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on recording, as plain values."""
        return {
            "history": self._history,
            "best": self._best,
            "best_epoch": self._best_epoch,
            "images": self._images,
            "image_seconds": self._image_seconds,
            "seconds": self._seconds(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._history, self._best, self._best_epoch = state["history"], state["best"], state["best_epoch"]
        self._images, self._image_seconds = state["images"], state["image_seconds"]
        self._seconds_before = state["seconds"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()
        if self._shares_layers:
            # Is not compiled, so that files hold no optimizer.
            network = self._plan.network
            self.network = keras.Model(network.inputs, network.outputs, name=network.name)
        else:
            self.network = self._plan.build_network()
        self._traced: Any = None  # the function whose first step is behind us
        self._stop_if_patience_ends()  # in a run that was killed just then

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the epoch's clock."""
        self._steps_begin = self._steps_end = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count pictures; stop at a loss that is not a number."""
        self._steps_end = time.perf_counter()
        if self._traced is not self.model.train_function:
            self._steps_begin = self._steps_end  # the first step of a phase traces the graph: not counted
            self._traced = self.model.train_function
        else:
            self._epoch_images += self._plan.batch_size
        if logs and not np.isfinite(logs["loss"]):
            raise DivergedError(
                f"The loss became {logs['loss']} in epoch {len(self._history) + 1}, step {batch + 1}; lower the "
                f"learning rate. Received: learning_rate={self._config.training.learning_rate}."
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the epoch."""
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
                "seconds": round(self._seconds(), 3),
                "images_per_second": round(self._epoch_images / max(image_seconds, 1e-9), 1),
                "memory_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
            }
        )
        if self._is_better([logs["val_top1"], -logs["val_loss"]]):
            self._best = [logs["val_top1"], -logs["val_loss"]]
            self._best_epoch = epoch + 1
            self.save("best")
        self._stop_if_patience_ends()
        columns = list(self._history[0])
        self._run.write_csv(
            "history.csv", [columns, *([row[column] for column in columns] for row in self._history)]
        )

    def on_train_end(self, logs: dict | None = None) -> None:
        """Draw the learning curve."""
        title = f"{self._config.model.name} on {self._config.data.dataset}"
        self._run.write_picture("learning_curve.png", lambda: draw_learning_curve(self._history, title))

    def save(self, checkpoint: str) -> None:
        """Save the network, with the averaged weights if there are any, as the "best" or "final" one."""
        with averaged_weights(self.model):
            if not self._shares_layers:
                self.network.set_weights(self.model.get_weights())
            self._run.save_model(self.network, checkpoint)

    def speed(self) -> dict[str, float]:
        """Return seconds of the whole training, and images per second of its steps."""
        return {
            "train_seconds": self._history[-1]["seconds"] if self._history else 0.0,
            "images_per_second": round(self._images / max(self._image_seconds, 1e-9), 1),
        }

    @property
    def _shares_layers(self) -> bool:
        """Whether what is saved has the variables of what is trained: they are all of float32 and trained."""
        return self._config.training.dtype_policy == "float32" and not self._config.transfer.freeze

    def _stop_if_patience_ends(self) -> None:
        patience = self._config.training.patience
        begin = self._plan.phases[-1].begin  # what comes before is only the beginning
        if patience and len(self._history) - max(self._best_epoch, begin) >= patience:
            self.model.stop_training = True

    def _is_better(self, result: list[float]) -> bool:
        return result > self._best

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._begin


def tensorboard_callbacks(run: Run) -> list[keras.callbacks.Callback]:
    """Return what writes the epochs' numbers into the run's `events`, where TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    try:
        return [keras.callbacks.TensorBoard(str(run.path / "events"), write_graph=False)]
    except Exception as error:  # an optional part, of another version perhaps, is no reason to lose the run
        warnings.warn(f"No events for TensorBoard can be written: {one_line(error)}", stacklevel=1)
        return []
