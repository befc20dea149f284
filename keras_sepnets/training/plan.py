"""The plan of a run: its data, its network, and every setting as a value, before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from keras_sepnets.acceleration.threads import use_threads
from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cost.counting import Cost, count_cost
from keras_sepnets.data.batches.labels import balanced_weights, smooth, weigh
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_data
from keras_sepnets.inference.forward import BATCH_SIZE
from keras_sepnets.models.registry import build_network
from keras_sepnets.models.weights import LoadReport
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.build import build_trained_network
from keras_sepnets.training.checks import check_examples, check_network, check_phases, check_settings
from keras_sepnets.training.choices import (
    Chosen,
    accept_threads,
    choose_batch,
    choose_batch_norm,
    choose_data,
    choose_epochs_by_steps,
    choose_fastest_form,
    choose_momentums,
    choose_precise_batch_norm,
    choose_start,
    choose_warmup,
    choose_which_to_keep,
    with_training,
)
from keras_sepnets.training.classifier import check_can_be_fitted
from keras_sepnets.training.clock import Clock, TimeLimit
from keras_sepnets.training.evaluated import EvaluatedForm, batches_for_statistics
from keras_sepnets.training.loop import Position
from keras_sepnets.training.optimization import compile_model
from keras_sepnets.training.phases import Phase, freeze
from keras_sepnets.training.plan_summary import PlanSummary
from keras_sepnets.training.tuning.duration import epochs_within


@dataclass(frozen=True)
class Plan:
    """What a run will do, before anything is written."""

    config: RunConfig  # complete: no setting is None or "auto" if it has to be chosen
    splits: Splits
    trained: keras.Model  # the model that training runs on
    network: keras.Model  # the network that is saved: stock layers, with the same variables
    cost: Cost
    steps_per_epoch: int
    evaluated: EvaluatedForm  # a block in which `trained` is as it is evaluated and saved
    chosen: dict[str, str] = field(default_factory=dict)  # setting that the plan chose -> reason
    load_report: LoadReport | None = None  # of the weights that the run starts from
    seconds: dict[str, float] = field(default_factory=dict)  # that parts of the planning took

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return int(self.config.training.epochs)

    @property
    def last_epoch(self) -> int:
        """Number of the epoch, from 1, after which training stops."""
        return round(self.epochs * self.config.training.stop_after)

    @property
    def batch_size(self) -> int:
        """Number of pictures per step."""
        return int(self.config.training.batch_size)

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the run."""
        return self.steps_per_epoch * self.last_epoch

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the run: a single one, or a frozen one and the one after it."""
        transfer = self.config.transfer
        if not transfer.freeze or not transfer.unfreeze_after:
            return (Phase(0, self.epochs, transfer.freeze),)
        return (
            Phase(0, transfer.unfreeze_after, transfer.freeze),
            Phase(transfer.unfreeze_after, self.epochs, None, transfer.learning_rate_factor),
        )

    def phase_of(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0; the last one for an epoch after the end."""
        return next((phase for phase in self.phases if epoch < phase.end), self.phases[-1])

    def phase_at(self, position: Position) -> Phase:
        """Return the phase whose optimizer a checkpoint at this position holds.

        A checkpoint between two epochs was saved before the next epoch began, in the phase of the epoch before.
        """
        return self.phase_of(max(0, position.epoch - (position.step == 0)))

    @property
    def one_hot(self) -> bool:
        """Whether labels are probabilities in training."""
        return self.splits.policy.mixes or self.config.training.label_smoothing > 0

    def training_batches(self, start: int = 0) -> Any:
        """Return endless training batches from step `start` on, labels smoothed and weighted as configured."""
        training, splits = self.config.training, self.splits
        seeds = training.seeds_of_batches
        batches = splits.training_batches(self.batch_size, self.steps_per_epoch, **seeds, start=start)
        if training.class_weights == "balanced":
            batches = weigh(batches, balanced_weights(splits.class_counts("train")))
        if training.label_smoothing:
            batches = smooth(batches, training.label_smoothing, len(splits.class_names))
        return batches

    def validation_batches(self) -> Any:
        """Return every validation example once, with labels of the same form."""
        return self.splits.evaluation_batches("validation", BATCH_SIZE, one_hot=self.one_hot)

    def compile(self, phase: Phase) -> None:
        """Prepare the model for a phase: frozen layers, optimizer, schedule, loss."""
        freeze(self.trained, phase.freeze, batch_norm=self.config.transfer.batch_norm == "frozen")
        compile_model(
            self.trained,
            self.config.training,
            self.steps_per_epoch,
            epochs=phase.end - phase.begin,
            learning_rate_factor=phase.learning_rate_factor,
            one_hot=self.one_hot,
        )

    def build_network(self) -> keras.Model:
        """Return another network like the one that is saved, in float32 and with arbitrary weights."""
        return build_network(
            self.config.model,
            image_size=self.config.data.image_size or 0,
            classes=len(self.splits.class_names),
            seed=None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as `sepnets train --dry-run --json` prints it."""
        return PlanSummary(
            config=self.config,
            **self.cost.summary(),
            num_examples={role: self.splits.num_examples(role) for role in ROLES},
            steps_per_epoch=self.steps_per_epoch,
            steps=self.steps,
            weights=self.load_report,
        ).to_json()


def make_plan(
    config: RunConfig,
    *,
    download: bool = False,
    cache_folder: Path | None = None,
    max_seconds: float | TimeLimit | None = None,
    load_weights: bool = True,
    try_forms: bool = True,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Plan:
    """Open the data, choose every open setting and build the network; write nothing.

    Args:
        config: The settings; None and "auto" are replaced by values that follow from the data set, the number of
            steps, and measurements of memory and time.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        max_seconds: Time limit of the run in seconds from now on, or one that has begun; the run gets at most as
            many epochs as fit.
        load_weights: Whether to load the weights that the run starts from; not needed if a checkpoint follows.
        try_forms: Whether to measure which form of the network trains fastest, if it is not known yet.
        on_progress: Called with a description before a measurement, which takes a while.

    Raises:
        SepnetsError: The data cannot be opened, the settings cannot be used, or not even one epoch fits.
    """
    limit, clock = TimeLimit.of(max_seconds), Clock()
    use_threads(config.training)  # before TensorFlow starts: it keeps the number of threads that it starts with
    check_settings(config, download=download, has_limit=limit is not None)
    if load_weights:
        check_network(config)
    with clock.counting("reading"):
        source = open_data(config.data, download=download)
    config, reasons = choose_data(config, source)
    config, why = choose_batch_norm(config)
    reasons |= why
    config, why = accept_threads(config)
    reasons |= why
    # Splits finds mistakes, which should show before a long trial. But it reads TFDS with TensorFlow, which keeps
    # the number of threads that it starts with: while that number is open, the trial has to come first.
    is_tfds = not DatasetName.parse(config.data.dataset).is_own_pictures
    read_later = is_tfds and config.training.intra_op_threads == "auto"
    num_train = source.num_examples("train")
    if read_later:
        check_examples(config.data, num_train)
    with clock.counting("reading"):
        splits = None if read_later else Splits(source, config.data, cache_folder=cache_folder)
    with clock.counting("measuring"):
        config, why = choose_fastest_form(
            config,
            classes=len(source.class_names),
            num_examples=num_train,
            max_seconds=limit and limit.seconds,
            measure=try_forms,
            on_progress=on_progress,
        )
    reasons |= why
    with clock.counting("reading"):
        splits = splits or Splits(source, config.data, cache_folder=cache_folder)
    with clock.counting("measuring"):
        config, why = choose_batch(config, splits)
        reasons |= why
        config, why = choose_epochs_by_steps(config, _steps_per_epoch(config, splits))
        reasons |= why
        if limit and config.training.epochs:
            on_progress("measuring how many epochs fit into the time")
            config, why = _choose_epochs(config, splits, limit)
            reasons |= why
    if load_weights:  # otherwise the run goes on with the schedule that it has
        config, why = choose_warmup(config)
        reasons |= why
    for choose in (choose_momentums, choose_precise_batch_norm):
        config, why = choose(config, _steps_per_epoch(config, splits))
        reasons |= why
    config, why = choose_which_to_keep(config, splits.num_examples("validation"))
    with clock.counting("building"):
        plan = _build(config, splits, reasons | why, load_weights=load_weights)
    if plan.epochs and not plan.last_epoch and plan.config.transfer.classifier != "fitted":
        raise SepnetsError(
            "No epoch is left to train; raise training.stop_after, or add epochs. "
            f"Received: training.stop_after={config.training.stop_after:g}, training.epochs={plan.epochs}"
        )
    return replace(plan, seconds=clock.parts)


def _choose_epochs(config: RunConfig, splits: Splits, limit: TimeLimit) -> Chosen:
    """Choose by measurement how many epochs fit into a time limit, at most the configured number."""
    asked = config.training.epochs
    trial_config = with_training(config, epochs=1 if asked == "auto" else asked)
    trial_config, _ = choose_momentums(trial_config, _steps_per_epoch(config, splits))
    fitting = epochs_within(limit, _build(trial_config, splits, {}, load_weights=False), config)
    epochs = fitting if asked == "auto" else min(asked, fitting)
    if epochs == asked:
        return Chosen(config, {})
    config = with_training(config, epochs=epochs)
    check_phases(config)
    return Chosen(config, {"training.epochs": f"what fits in {limit.seconds:,.0f} s, measured"})


def _steps_per_epoch(config: RunConfig, splits: Splits) -> int:
    return splits.num_examples("train") // int(config.training.batch_size)


def _build(config: RunConfig, splits: Splits, chosen: dict[str, str], *, load_weights: bool) -> Plan:
    """Return the plan for settings that are complete, except for the start of the classifier."""
    built = build_trained_network(
        config.model,
        config.training,
        image_size=config.data.image_size or 0,
        classes=len(splits.class_names),
        seed=config.training.seed_of("weights"),
        dropout_seed=config.training.seed_of("dropout"),
        weights=config.transfer.weights if load_weights else None,
    )
    report = getattr(built.network, "load_report", None)
    config, why = choose_start(config, report)
    if config.transfer.classifier == "fitted":
        check_can_be_fitted(built.network)
    steps_per_epoch = _steps_per_epoch(config, splits)

    return Plan(
        config=config,
        splits=splits,
        trained=built.model,
        network=built.network,
        cost=count_cost(built.network),
        steps_per_epoch=steps_per_epoch,
        evaluated=EvaluatedForm(built.model, batches_for_statistics(config, splits, steps_per_epoch)),
        chosen=chosen | why,
        load_report=report,
    )
