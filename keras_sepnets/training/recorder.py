"""Files and metrics that a run records while it trains: history, best network, speed, TensorBoard events."""

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
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.plan import Plan


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
        self._best = [-1.0, 0.0]
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
        self._history, self._best, self._best_epoch = state["history"], state["best"], state["best_epoch"]
        self._images, self._image_seconds = state["images"], state["image_seconds"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._clock.start()
        if self._shares_layers:
            # Another model of the same layers that is not compiled, so that files hold no optimizer.
            network = self._plan.network
            self.network = keras.Model(network.inputs, network.outputs, name=network.name)
        else:
            self.network = self._plan.build_network()
        self._traced: Any = None  # the train function that has taken its first step
        self._stop_if_patience_ends()  # for a run that was killed just before it stopped

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._steps_begin = self._steps_end = time.perf_counter()
        self._epoch_images = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._steps_end = time.perf_counter()
        if self._traced is not self.model.train_function:
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
        title = f"{self._config.model.name} on {self._config.data.dataset}"
        self._run.write_picture("learning_curve.png", lambda: draw_learning_curve(self._history, title))

    def save(self, name: str) -> None:
        """Save the network as "best" or "final", with the averaged weights if there are any."""
        with averaged_weights(self.model):
            if not self._shares_layers:
                self.network.set_weights(self.model.get_weights())
            self._run.save_model(self.network, name)

    def speed(self) -> dict[str, float]:
        """Return the seconds of all training, and the images per second of its steps."""
        return {
            "train_seconds": self._history[-1]["seconds"] if self._history else 0.0,
            "images_per_second": round(self._images / max(self._image_seconds, 1e-9), 1),
        }

    @property
    def _shares_layers(self) -> bool:
        """Whether the saved network shares the trained model's layers: all are in float32 and none is frozen."""
        return self._config.training.dtype_policy == "float32" and not self._config.transfer.freeze

    def _stop_if_patience_ends(self) -> None:
        patience = self._config.training.patience
        begin = self._plan.phases[-1].begin  # patience does not count earlier phases
        if patience and len(self._history) - max(self._best_epoch, begin) >= patience:
            self.model.stop_training = True

    def _is_better(self, result: list[float]) -> bool:
        return result > self._best


def tensorboard_callbacks(run: Run) -> list[keras.callbacks.Callback]:
    """Return the callback that writes each epoch's metrics to `events/`, if TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    try:
        return [keras.callbacks.TensorBoard(str(run.path / "events"), write_graph=False)]
    except Exception as error:  # TensorBoard is optional: an unsuitable version of it must not stop the run
        warnings.warn(f"TensorBoard events cannot be written: {one_line(error)}", stacklevel=1)
        return []
