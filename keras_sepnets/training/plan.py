"""What a run will do: the plan, in which nothing is left open."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_sepnets.acceleration.threads import settle_threads, use_threads
from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.cost.counting import Cost, count_cost
from keras_sepnets.data.batches.labels import balanced_weights, smooth, weigh
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.inference.forward import BATCH_SIZE
from keras_sepnets.models.registry import NETWORKS, build_network
from keras_sepnets.models.stages import BACKBONE, frozen_stages
from keras_sepnets.models.weights import LoadReport
from keras_sepnets.settings.schema import RunConfig, TrainingConfig
from keras_sepnets.training.build import build_trained_network
from keras_sepnets.training.optimization import choose_momentum, compile_model
from keras_sepnets.training.phases import Phase, freeze
from keras_sepnets.training.tuning.batch_size import choose_batch_size
from keras_sepnets.training.tuning.duration import measure_speed
from keras_sepnets.training.tuning.form import choose_form, warn_of_slow_products


@dataclass(frozen=True)
class Plan:
    """What a run will do, before anything is written."""

    config: RunConfig  # complete: nothing is left open
    splits: Splits
    trained: keras.Model  # what training runs on
    network: keras.Model  # what is saved: stock layers, with the same variables
    cost: Cost
    steps_per_epoch: int
    chosen: dict[str, str] = field(default_factory=dict)  # settings that the plan settled -> why so
    load_report: LoadReport | None = None  # of the weights that the run begins with

    @property
    def epochs(self) -> int:
        """Epochs of the run."""
        return int(self.config.training.epochs)

    @property
    def batch_size(self) -> int:
        """Examples a step."""
        return int(self.config.training.batch_size)

    @property
    def steps(self) -> int:
        """All optimizer steps of the run."""
        return self.steps_per_epoch * self.epochs

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The run's phases: one, or the frozen one and the one after it."""
        transfer = self.config.transfer
        if not transfer.freeze or not transfer.unfreeze_after:
            return (Phase(0, self.epochs, transfer.freeze),)
        return (
            Phase(0, transfer.unfreeze_after, transfer.freeze),
            Phase(transfer.unfreeze_after, self.epochs, None, transfer.learning_rate_factor),
        )

    @property
    def one_hot(self) -> bool:
        """Whether labels are probabilities in training."""
        return self.splits.policy.mixes or self.config.training.label_smoothing > 0

    def training_batches(self, start: int = 0) -> Any:
        """Return endless training batches from a step on, with labels as the settings say."""
        training, splits = self.config.training, self.splits
        batches = splits.training_batches(self.batch_size, self.steps_per_epoch, training.seed, start=start)
        if training.class_weights == "balanced":
            batches = weigh(batches, balanced_weights(splits.class_counts("train")))
        if training.label_smoothing:
            batches = smooth(batches, training.label_smoothing, len(splits.class_names))
        return batches

    def validation_batches(self) -> Any:
        """Return every validation example once, with labels of the same form."""
        return self.splits.evaluation_batches("validation", BATCH_SIZE, one_hot=self.one_hot)

    def compile(self, phase: Phase) -> None:
        """Make the model ready for a phase: what is trained, optimizer, schedule, loss."""
        freeze(self.trained, phase.freeze)
        compile_model(
            self.trained,
            self.config.training,
            self.steps_per_epoch,
            epochs=phase.end - phase.begin,
            learning_rate_factor=phase.learning_rate_factor,
            one_hot=self.one_hot,
        )

    def build_network(self) -> keras.Model:
        """Return the run's network anew, of float32 and with other weights."""
        return build_network(
            self.config.model,
            image_size=self.config.data.image_size or 0,
            classes=len(self.splits.class_names),
            seed=None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as `sepnets train --dry-run --json` prints it."""
        return {
            "config": self.config.model_dump(mode="json"),
            **self.cost.summary(),
            "num_examples": {role: self.splits.num_examples(role) for role in ROLES},
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "weights": self.load_report.to_json() if self.load_report else None,
        }


def make_plan(
    config: RunConfig,
    *,
    download: bool = False,
    cache_folder: Path | None = None,
    max_seconds: float | None = None,
    load_weights: bool = True,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Plan:
    """Open the data, settle every open setting and build the network; write nothing.

    Args:
        config: The settings; None and "auto" are chosen here, from the data set, the number of steps, and by
            measuring memory and time.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        max_seconds: What the run may take from now on; it has at most as many epochs as fit.
        load_weights: Whether the weights that the run begins with are loaded; not where a checkpoint follows.
        on_progress: Called with what is being measured, which takes a while.

    Raises:
        SepnetsError: The data cannot be had, or the network does not exist for these settings.
    """
    begin = time.monotonic()
    use_threads(config.training)  # before TensorFlow begins, which keeps what it begins with
    _check(config, download=download, max_seconds=max_seconds)
    sizes = NETWORKS[config.model.name]
    source = open_source(config.data.dataset, download=download, skip_bad=config.data.on_bad_picture == "skip")
    data = resolve_data(config.data, source, default_size=sizes.default_size, minimum_size=sizes.minimum_size)
    classes = len(source.class_names)
    begun = settle_threads(config.training)
    form = choose_form(
        config.model_copy(update={"data": data, "training": begun}),
        classes=classes,
        num_examples=data.overfit or source.num_examples("train"),
        on_progress=on_progress,
    )
    training = begun.model_copy(update=form.settings)
    use_threads(training)
    warn_of_slow_products(config.training)  # what a trial chose is fast
    splits = Splits(source, data, cache_folder=cache_folder)
    chosen = _reasons(config) | {f"training.{key}": form.why for key in form.settings}
    num_train = splits.num_examples("train")
    if training.batch_size == "auto":
        measured = config.model_copy(update={"data": data, "training": training})
        size, why = choose_batch_size(measured, classes=classes, num_examples=num_train)
        training = training.model_copy(update={"batch_size": size})
        chosen["training.batch_size"] = why
    elif training.batch_size > num_train:
        training = training.model_copy(update={"batch_size": num_train})
        chosen["training.batch_size"] = "all training pictures, which are fewer than was asked for"
    steps_per_epoch = num_train // int(training.batch_size)
    transfer = config.transfer.with_whole_path()

    def settle(epochs: int) -> Plan:
        settled, model_config = _settle_momentums(config, training, epochs, steps_per_epoch, chosen)
        built = build_trained_network(
            model_config,
            settled,
            image_size=data.image_size or 0,
            classes=classes,
            seed=settled.seed,
            weights=transfer.weights if load_weights else None,
        )
        network = built.network
        frozen_stages(network, transfer.freeze)  # refuses a stage that is none
        return Plan(
            config=RunConfig(model=model_config, data=data, training=settled, transfer=transfer),
            splits=splits,
            trained=built.model,
            network=network,
            cost=count_cost(network),
            steps_per_epoch=steps_per_epoch,
            chosen=chosen,
            load_report=getattr(network, "load_report", None),
        )

    if max_seconds is None:
        return settle(int(training.epochs))
    trial = settle(1 if training.epochs == "auto" else training.epochs)
    fitting = _epochs_that_fit(trial, max_seconds, begin)
    epochs = fitting if training.epochs == "auto" else min(training.epochs, fitting)
    if epochs != training.epochs:
        chosen["training.epochs"] = f"what fits {max_seconds:,.0f} s, measured"
    plan = settle(epochs)
    _check_phases(plan.config)
    return plan


def _epochs_that_fit(trial: Plan, max_seconds: float, begin: float) -> int:
    """Return how many epochs end within so many seconds of `begin`."""
    trial.compile(Phase(0, trial.epochs, None))  # as slow as it gets
    speed = measure_speed(trial.trained, trial.network, trial.training_batches(), trial.validation_batches())
    validation, test = (-(-trial.splits.num_examples(role) // BATCH_SIZE) for role in ("validation", "test"))
    left = max_seconds - (time.monotonic() - begin)
    return speed.epochs_that_fit(
        left, steps=trial.steps_per_epoch, validation_batches=validation, test_batches=test
    )


def _check(config: RunConfig, *, download: bool, max_seconds: float | None) -> None:
    """Refuse what can be seen to be wrong before any data is read."""
    if keras.backend.backend() != "tensorflow":
        raise SepnetsError(
            "Training needs Keras on TensorFlow; unset KERAS_BACKEND or set it to tensorflow. "
            f"Received: {keras.backend.backend()}"
        )
    own = DatasetName.parse(config.data.dataset).is_own_pictures
    if download and own:
        raise SepnetsError(
            "--download is for data sets of TFDS; leave it out. "
            f"Received: --dataset {printable(config.data.dataset)}"
        )
    if config.data.on_bad_picture == "skip" and not own:
        raise SepnetsError(
            "--on-bad-picture skip is for picture files; TFDS has verified those of its sets. "
            f"Received: --dataset {printable(config.data.dataset)}"
        )
    if config.training.epochs == "auto" and max_seconds is None:
        raise SepnetsError(
            "As many epochs as fit a time need that time: --max-time 2h. Received: training.epochs='auto'"
        )
    _check_precision(config.training)
    _check_phases(config)
    if download:  # a network that cannot be built shows itself before hours of download
        size = config.data.image_size or NETWORKS[config.model.name].default_size
        build_network(config.model, image_size=size, classes=2, seed=None)


def _check_precision(training: TrainingConfig) -> None:
    if training.precision == "bfloat16" and training.accelerate == "off":
        raise SepnetsError(
            "Only an accelerated network multiplies in bfloat16; leave --accelerate off out. "
            "Received: training.precision='bfloat16'"
        )
    if training.accelerate == "on" and training.precision.startswith("mixed"):
        raise SepnetsError(
            "An accelerated network has the precision float32 or bfloat16; choose one of them, or say "
            f"--accelerate off. Received: training.precision={training.precision!r}"
        )


def _check_phases(config: RunConfig) -> None:
    transfer, epochs = config.transfer, config.training.epochs
    if transfer.freeze and not transfer.weights:
        raise SepnetsError(
            "Frozen random weights would learn nothing; name the weights to start from: --weights RUN. "
            f"Received: transfer.freeze={transfer.freeze!r}"
        )
    if transfer.unfreeze_after and not transfer.freeze:
        raise SepnetsError(
            f"Nothing is frozen that could be unfrozen; add --freeze {BACKBONE}, or leave it out. "
            f"Received: transfer.unfreeze_after={transfer.unfreeze_after}"
        )
    if epochs != "auto" and transfer.unfreeze_after >= epochs:
        raise SepnetsError(
            f"The run has {epochs} epochs, so it would never unfreeze; unfreeze earlier, or add epochs. "
            f"Received: transfer.unfreeze_after={transfer.unfreeze_after}"
        )


def _settle_momentums(
    config: RunConfig, training: TrainingConfig, epochs: int, steps_per_epoch: int, chosen: dict[str, str]
) -> tuple[TrainingConfig, Any]:
    """Return the training's and the network's settings for a number of epochs."""
    unfrozen = epochs - config.transfer.unfreeze_after  # the second phase, if there are two
    steps = steps_per_epoch * max(1, min(unfrozen, config.transfer.unfreeze_after or unfrozen))
    update: dict[str, Any] = {"epochs": epochs}
    if training.ema_momentum == "auto":
        update["ema_momentum"] = choose_momentum(steps, of="weights")
        chosen["training.ema_momentum"] = f"of {steps:,} steps, so that 5 % of its start are left after a tenth"
    model_config = config.model
    if model_config.bn_momentum is None:
        model_config = model_config.model_copy(update={"bn_momentum": choose_momentum(steps, of="batch norm")})
        chosen["model.bn_momentum"] = (
            f"of {steps:,} steps, so that at most 5 % of its start are left after a tenth"
        )
    return training.model_copy(update=update), model_config


def _reasons(config: RunConfig) -> dict[str, str]:
    """Return why the data's open settings were settled as they were."""
    why = {
        "image_size": "the data set's pictures and the network",
        "crop_fraction": "the size of the data set's pictures",
        "augment": "pictures that are learned by heart" if config.data.overfit else "the data set",
    }
    reasons = {f"data.{key}": reason for key, reason in why.items() if getattr(config.data, key) is None}
    if config.training.intra_op_threads == "auto":  # unless a trial can choose
        reasons["training.intra_op_threads"] = "what TensorFlow has begun with in this process"
    return reasons
