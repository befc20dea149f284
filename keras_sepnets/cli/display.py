"""What people see while they wait: the plan, a progress bar, a line an epoch, the result."""

import statistics
import time
from collections.abc import Mapping, Sequence

import keras
import psutil
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_sepnets.base.text import printable
from keras_sepnets.benchmarks.input import InputBenchmark
from keras_sepnets.benchmarks.steps import TrainingBenchmark
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.inference.evaluation import Evaluation
from keras_sepnets.inference.prediction import Prediction
from keras_sepnets.lab.ablation import Ablation, AblationResult
from keras_sepnets.models.stages import BACKBONE
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.files import flatten
from keras_sepnets.settings.schema import RunConfig, TrainingConfig
from keras_sepnets.training.optimization import scaled_learning_rate
from keras_sepnets.training.plan import Plan
from keras_sepnets.training.smoke import SmokeStep
from keras_sepnets.training.trainer import TrainingResult


def show_plan(plan: Plan, console: Console) -> None:
    """Print what a run will do."""
    config, training, splits = plan.config, plan.config.training, plan.splits
    options = {"alpha": config.model.alpha, "dropout": config.model.dropout}
    options |= config.model.model_dump(exclude={"name", "bn_epsilon", "bn_momentum"}, exclude_defaults=True)
    size = config.data.image_size
    rows = [
        ("network", f"{config.model.name} ({', '.join(f'{key}={value}' for key, value in options.items())})"),
        ("cost", f"{plan.cost.total:,} parameters, {plan.cost.multiply_adds:,} multiply-adds at {size}x{size} px"),
        ("data", f"{printable(splits.source.name)}, {len(splits.class_names)} classes"),
        *(("", f"{role} {splits.num_examples(role):,}: {splits.describe(role)}") for role in ROLES),
        ("", splits.place),
        ("training", f"{plan.epochs} epochs x {plan.steps_per_epoch} steps x {plan.batch_size} pictures"),
        ("", _describe_optimizer(training)),
        *(("", line) for line in _describe_extras(plan)),
        ("", f"augmentation {config.data.augment} ({splits.policy.describe() or 'no change'})"),
        ("", f"{_describe_batch_norm(plan)}; seed {training.seed}"),
    ]
    if plan.cost.not_counted:
        rows.insert(2, ("", f"not counted: {', '.join(plan.cost.not_counted)}"))
    if plan.load_report:
        rows.insert(1, ("weights", printable(str(plan.load_report)).removeprefix("weights of ")))
    rows += [("note", note) for note in splits.source.notes]
    for heading, text in rows:
        console.print(f"{heading:<9} {text}", markup=False)


def _describe_batch_norm(plan: Plan) -> str:
    phase = plan.phases[-1]
    if phase.freeze == BACKBONE:
        return "batch norm stays as it is"
    steps, momentum = (phase.end - phase.begin) * plan.steps_per_epoch, float(plan.config.model.bn_momentum or 0)
    return f"batch norm momentum {momentum}: {momentum**steps:.1%} of its start are left after {steps:,} steps"


def _describe_optimizer(training: TrainingConfig) -> str:
    rate = f"learning rate {scaled_learning_rate(training):g}"
    if training.base_batch_size and training.base_batch_size != training.batch_size:
        rate += f" ({training.learning_rate:g} for a batch of {training.base_batch_size})"
    if training.warmup_epochs:
        rate += f", reached after {training.warmup_epochs:g} epochs"
    falls = {
        "cosine": "then a cosine to 0",
        "exponential": f"times {training.decay_rate:g} every {training.decay_epochs:g} epochs",
        "constant": "constant",
    }
    return f"{training.optimizer}, {rate}, {falls[training.schedule]}"


def _describe_extras(plan: Plan) -> list[str]:
    """Return what a training has besides an optimizer, in words."""
    training, transfer = plan.config.training, plan.config.transfer
    parts = [f"weight decay {training.weight_decay:g}"] if training.weight_decay else []
    parts += [f"l2 {training.l2:g}"] if training.l2 else []
    parts += [f"gradients clipped to a norm of {training.clip_norm:g}"] if training.clip_norm else []
    parts += [f"label smoothing {training.label_smoothing:g}"] if training.label_smoothing else []
    parts += [f"averaged weights (momentum {training.ema_momentum:g})"] if training.ema_momentum else []
    parts += [training.precision] if training.precision != "float32" else []
    parts += ["accelerated"] if training.accelerate == "on" else []
    parts += ["compiled by XLA"] if training.jit_compile == "on" else []
    parts += [f"threads an operation: {training.intra_op_threads}"] if training.intra_op_threads else []
    parts += ["deterministic (at no cost on CPUs; on GPUs not measured)"] if training.deterministic else []
    parts += ["classes balanced"] if training.class_weights == "balanced" else []
    lines = [", ".join(parts)] if parts else []
    trials = [plan.chosen.get(f"training.{key}", "") for key in ("accelerate", "intra_op_threads")]
    lines += [why for why in trials if why.startswith("measured: ")][:1]
    if transfer.freeze:
        after = (
            f"for {transfer.unfreeze_after} epochs, then all at {transfer.learning_rate_factor:g} of the rate"
            if transfer.unfreeze_after
            else "throughout"
        )
        lines.append(f"frozen up to {transfer.freeze} {after}")
    return lines


def show_sources(config: RunConfig, sources: Mapping[str, str], console: Console) -> None:
    """Print every setting with its value and where that comes from."""
    table = Table("setting", "value", "from", box=None)
    for key, value in flatten(config.model_dump(mode="json")).items():
        table.add_row(key, escape(printable(str(value))), escape(sources[key]))
    console.print(table)


def show_smoke_step(step: SmokeStep, console: Console) -> None:
    """Print what was tried, what came of it, and how long it took."""
    console.print(f"{step.name:<12} {step.outcome} ({step.seconds:.1f} s)", markup=False)


def show_result(result: TrainingResult, console: Console) -> None:
    """Print what a run came to."""
    console.print(describe_evaluation(result.test))
    share = result.checkpoint_seconds / max(result.train_seconds, 1e-9)
    console.print(
        f"{result.train_seconds:.0f} s of training ({share:.1%} of it for checkpoints), "
        f"{result.images_per_second:,.0f} images/s"
    )
    if result.run.config.data.overfit:
        learned = "learned" if result.test.top1 == 1 else "did NOT learn"
        console.print(f"overfit: the network {learned} its {result.test.num_examples} pictures by heart")
    warn_of_bad_pictures(result.run, console)
    console.print(f"run: {result.run.path}", markup=False)


def make_progress(console: Console) -> Progress:
    """Return an empty progress display; it draws nothing where there is no terminal."""
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
    """A bar with steps, images/s and time left, and a line an epoch.

    `batch_size` is set before the training begins: it is the plan's.
    """

    def __init__(self, progress: Progress, *, batch_size: int = 0, title: str = "") -> None:
        """Draw on `progress`; `title` stands before each line."""
        super().__init__()
        self._progress = progress
        self.batch_size = batch_size
        self._title = f"{title}: " if title else ""
        self._process = psutil.Process()
        self._task = progress.add_task(f"{self._title}reading the data", total=None, detail="")

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Turn to the steps of all epochs."""
        self._epochs, self._steps = self.params["epochs"], self.params["steps"]
        self._progress.reset(self._task, total=self._epochs * self._steps)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Name the epoch and restart its clock."""
        self._begin, self._epoch = time.perf_counter(), epoch
        self._first: int | None = None  # step that is done here; of an epoch that goes on, a later one
        self._progress.update(self._task, description=f"{self._title}epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance the bar, where there is one."""
        if self._progress.disable:
            return
        if self._first is None:
            self._first = batch
        speed = (batch + 1 - self._first) * self.batch_size / (time.perf_counter() - self._begin)
        told = logs or {}
        results = "  ".join(f"{name} {float(told[name]):.3g}" for name in ("loss", "top1") if name in told)
        memory = self._process.memory_info().rss / 1e9
        self._progress.update(
            self._task,
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
        self._progress.remove_task(self._task)


def describe_evaluation(evaluation: Evaluation) -> str:
    """Return an evaluation in one line."""
    low, high = evaluation.top1_interval
    return (
        f"{evaluation.split}: top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"top-5 {evaluation.top5:.2%}, loss {evaluation.loss:.4f}, {evaluation.num_examples:,} pictures"
    )


def warn_of_bad_pictures(run: Run, console: Console) -> None:
    """Say how many picture files were left out because they could not be read."""
    count = run.count_bad_pictures()
    if count:
        console.print(
            f"left out: {count:,} files that cannot be read, see {run.path}/bad_pictures.csv", markup=False
        )


def show_predictions(predictions: Sequence[Prediction], console: Console) -> None:
    """Print a line a picture: its path and its most probable classes."""
    for prediction in predictions:
        pairs = zip(prediction.labels, prediction.probabilities, strict=True)
        classes = ", ".join(f"{label} {probability:.1%}" for label, probability in pairs)
        console.print(f"{printable(prediction.path)}: {printable(classes)}", markup=False)


def show_ablation_plan(ablation: Ablation, seeds: int, plan: Plan, console: Console) -> None:
    """Print what an ablation will do, with the plan of its reference."""
    console.print(
        f"{ablation.reference.name} (reference) against {ablation.ablated.name} (ablated), {seeds} paired "
        f"seed{'s' if seeds > 1 else ''}: {2 * seeds} runs; the reference:"
    )
    show_plan(plan, console)


def show_ablation(result: AblationResult, console: Console) -> None:
    """Print the variants, then the paired differences with their verdicts."""
    table = Table("variant", "test top-1", "mean training loss", "parameters", "multiply-adds", box=None)
    for role, variant in zip(("reference", "ablated"), result.ablation, strict=True):
        values = result.variants[variant.name].to_json()
        table.add_row(
            f"{variant.name} ({role})",
            _with_spread(values["mean"], values["std"], "{:.2%}"),
            _with_spread(values["training_loss_mean"], values["training_loss_std"], "{:.4f}"),
            f"{values['parameters']:,}",
            f"{values['multiply_adds']:,}",
        )
    console.print(table)
    for metric, difference, scale, form in (
        ("test top-1", result.top1, 100, "{:+.2f} points"),
        ("mean training loss", result.training_loss, 1, "{:+.4f}"),
    ):
        interval = ""
        if difference.interval:
            low, high = (form.format(scale * end) for end in difference.interval)
            interval = f" (95 % interval {low} to {high})"
        mean = form.format(scale * difference.difference)
        console.print(f"{metric}, ablated - reference: {mean}{interval}: {difference.verdict}")
    console.print(f"experiment: {result.output} (results.json, learning_curves.png)", markup=False)


def _with_spread(mean: float, std: float | None, form: str) -> str:
    return form.format(mean) + (f" ± {form.format(std)}" if std is not None else "")


def show_input_benchmark(result: InputBenchmark, console: Console) -> None:
    """Print the speed of each side of an input benchmark, and how many times as fast as a naive one it is."""
    naive = [side for side in result.images_per_second if side.startswith("naive")]
    console.print(
        f"{result.source}: {result.num_examples:,} training pictures to {result.image_size} px, "
        f"augmentation {result.augmentation}",
        markup=False,
    )
    console.print(f"first batch after {result.first_batch_seconds:.1f} s")
    if result.memory_growth_bytes is not None:
        console.print(f"memory grew by at most {result.memory_growth_bytes / 1e6:.0f} MB over all pictures")
    table = Table("images/s", "median", "lowest to highest", *(f"x {side}" for side in naive), box=None)
    for side, speeds in result.images_per_second.items():
        ratios = []
        for reference in naive:
            median, low, high = result.ratio(side, reference)
            ratios.append("" if side in naive else f"{median:.2f} ({low:.2f} to {high:.2f})")
        spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
        table.add_row(side, f"{statistics.median(speeds):,.0f}", spread, *ratios)
    console.print(table)


def show_training_benchmark(result: TrainingBenchmark, console: Console) -> None:
    """Print the speed of each side of a training benchmark, and how many times as fast as the reference it is."""
    console.print(
        f"{result.model} {result.alpha:g}, {result.batch_size} pictures of {result.image_size} px a step; float32 "
        f"matrix products: {statistics.median(result.peak_gflops):,.0f} GFLOP/s"
    )
    table = Table("images/s", "median", "lowest to highest", f"x {result.reference}", "of the peak", box=None)
    for side, speeds in result.images_per_second.items():
        median, low, high = result.ratio(side, result.reference)
        table.add_row(
            side,
            f"{statistics.median(speeds):,.1f}",
            f"{min(speeds):,.1f} to {max(speeds):,.1f}",
            "" if side == result.reference else f"{median:.2f} ({low:.2f} to {high:.2f})",
            f"{result.peak_share[side]:.0%}",
        )
    console.print(table)
