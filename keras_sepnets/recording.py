"""What a run keeps while it trains: history, the last and the best network, speed."""

import time

import keras
import numpy as np

from keras_sepnets.config import RunConfig
from keras_sepnets.data.examples import NOTHING_READ
from keras_sepnets.errors import FailedRunError
from keras_sepnets.plots import draw_learning_curve
from keras_sepnets.runs import Run


class Recorder(keras.callbacks.Callback):
    """Keeps history.csv, the learning curve, and the last and the best network after every epoch."""

    def __init__(self, run: Run, config: RunConfig) -> None:
        """Write into `run`; `config` is the plan's."""
        super().__init__()
        self.finished_epochs = 0
        self._run = run
        self._config = config
        self._history: list[dict[str, float]] = []
        self._best = (-1.0, 0.0)
        self._images = 0
        self._image_seconds = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()
        # Shares the layers but is not compiled, so that files hold no optimizer.
        self._network = keras.Model(self.model.inputs, self.model.outputs, name=self.model.name)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the epoch's clock."""
        self._steps_begin = self._steps_end = time.perf_counter()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count pictures; stop at a loss that is not a number."""
        self._steps_end = time.perf_counter()
        if self._steps == 0 and self.finished_epochs == 0:
            self._steps_begin = self._steps_end  # the first step traces the graph: not counted
        else:
            self._images += self._config.training.batch_size
        self._steps += 1
        if logs and not np.isfinite(logs["loss"]):
            raise FailedRunError(
                f"The loss became {logs['loss']} in epoch {self.finished_epochs + 1}, step {batch + 1}; lower the "
                f"learning rate. Received: learning_rate={self._config.training.learning_rate}."
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the epoch."""
        logs = logs or {}
        if "val_loss" not in logs:
            raise FailedRunError(NOTHING_READ)
        self._image_seconds += self._steps_end - self._steps_begin
        self._history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": float(self.model.optimizer.learning_rate),
                **{name: float(logs[name]) for name in ("loss", "top1", "val_loss", "val_top1")},
                "seconds": round(time.perf_counter() - self._begin, 3),
            }
        )
        self._run.save_model(self._network, "last")
        if (logs["val_top1"], -logs["val_loss"]) > self._best:
            self._best = (logs["val_top1"], -logs["val_loss"])
            self._run.save_model(self._network, "best")
        columns = list(self._history[0])
        self._run.write_csv(
            "history.csv", [columns, *([row[column] for column in columns] for row in self._history)]
        )
        self.finished_epochs = epoch + 1

    def on_train_end(self, logs: dict | None = None) -> None:
        """Draw the learning curve."""
        title = f"{self._config.model.name} on {self._config.data.dataset}"
        self._run.write_picture("learning_curve.png", lambda: draw_learning_curve(self._history, title))

    def speed(self) -> dict[str, float]:
        """Return seconds of the whole training, and images per second of its steps."""
        return {
            "train_seconds": self._history[-1]["seconds"] if self._history else 0.0,
            "images_per_second": round(self._images / max(self._image_seconds, 1e-9), 1),
        }
