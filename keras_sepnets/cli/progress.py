"""The progress bar of a training, and a line per epoch."""

import time
from typing import Any

import keras
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PICTURES = 50  # that are read between two updates


def make_progress(console: Console) -> Progress:
    """Return an empty progress display; it draws nothing without a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class ProgressDisplay(keras.callbacks.Callback):
    """A bar with steps, images/s and time left, and a line per epoch; before and after it, what takes a while.

    Set `batch_size` before the training begins: it comes from the plan.
    """

    def __init__(self, progress: Progress, *, batch_size: int = 0, title: str = "") -> None:
        """Draw on `progress`; `title` precedes each line."""
        super().__init__()
        self._progress = progress
        self.batch_size = batch_size
        self._title = f"{title}: " if title else ""
        self._process = psutil.Process()
        self._task: TaskID | None = None
        self._show("reading the data")

    def tell(self, text: str) -> None:
        """Print a line about what takes a while, and keep it in sight until something else is shown."""
        self._progress.console.print(f"{self._title}{text}", markup=False)
        self._show(text)

    def show_reading(self, role: str, total: int, done: int) -> None:
        """Show how many pictures of a role have been read."""
        if done == 1:
            self._show(f"reading the {role} pictures", total=total)
        if done % PICTURES == 0 or done == total:
            self._update(completed=done, detail=f"{done:,} of {total:,}")

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the bar over all steps of all epochs."""
        self._epochs, self._steps = self.params["epochs"], self.params["steps"]
        self._show("tracing the first step", total=self._epochs * self._steps)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Show the epoch and restart its clock."""
        self._begin, self._epoch = time.perf_counter(), epoch
        self._first: int | None = None  # step of this epoch; not 0 in a resumed epoch
        self._update(description=f"{self._title}epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance the bar, if it is drawn."""
        if self._progress.disable:
            return
        if self._first is None:
            self._first = batch
        speed = (batch + 1 - self._first) * self.batch_size / (time.perf_counter() - self._begin)
        logs = logs or {}
        results = "  ".join(f"{name} {float(logs[name]):.3g}" for name in ("loss", "top1") if name in logs)
        memory = self._process.memory_info().rss / 1e9
        self._update(
            completed=self._epoch * self._steps + batch + 1,
            detail=f"step {batch + 1}/{self._steps}  {results}  {speed:,.0f} images/s  {memory:.1f} GB",
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print the epoch's line."""
        logs = logs or {}
        self._progress.console.print(
            f"{self._title}epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  "
            f"loss {logs['loss']:.4f}  top-1 {logs['top1']:.2%}  "
            f"validation loss {logs['val_loss']:.4f}  top-1 {logs['val_top1']:.2%}  "
            f"{time.perf_counter() - self._begin:.1f} s"
        )

    def on_train_end(self, logs: dict | None = None) -> None:
        """Remove the bar."""
        self._remove()

    def _show(self, text: str, total: int | None = None) -> None:
        """Show another bar, which only moves if it has no total."""
        self._remove()
        self._task = self._progress.add_task(f"{self._title}{text}", total=total, detail="")

    def _update(self, **shown: Any) -> None:
        if self._task is not None:
            self._progress.update(self._task, **shown)

    def _remove(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = None
