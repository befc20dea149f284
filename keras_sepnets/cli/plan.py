"""The plan of a run, as `sepnets train` and `sepnets ablate` print it."""

from rich.console import Console

from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.base.text import counted, printable, size_of_weights
from keras_sepnets.cli.accuracy import UNEVEN
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.models.stages import BACKBONE
from keras_sepnets.settings.schema import TrainingConfig
from keras_sepnets.training.optimization import scaled_learning_rate
from keras_sepnets.training.plan import Plan

FEW_STEPS = 200  # of a run from random weights
FEW_STEPS_UNFROZEN = 30
LAG = 0.05  # share of batch norm's initial statistics above which they spoil evaluation
FEW_TESTS = 100  # test pictures, below which an accuracy says little


_KEPT = {"best": "the network of the best epoch on validation", "final": "the network of the last epoch"}
_CLASSIFIERS = {
    "fitted": "starts with a classifier fitted to the features of the weights (logistic regression)",
    "given": "starts with the classifier of the weights",
    "random": "starts with a random classifier",
}


def show_plan(plan: Plan, console: Console) -> None:
    """Print what a run will do."""
    config, splits = plan.config, plan.splits
    options = {"alpha": config.model.alpha, "dropout": config.model.dropout}
    options |= config.model.model_dump(exclude={"name", "bn_epsilon", "bn_momentum"}, exclude_defaults=True)
    rows = [
        ("network", f"{config.model.name} ({', '.join(f'{key}={value}' for key, value in options.items())})"),
        ("cost", _describe_cost(plan)),
        ("data", f"{printable(splits.source.name)}, {counted(len(splits.class_names), 'class', 'classes')}"),
        *(("", f"{role} {splits.num_examples(role):,}: {splits.describe(role)}") for role in ROLES),
        *(("", line) for line in _describe_pixels(plan)),
        ("", splits.place),
        *_describe_training(plan),
    ]
    if plan.cost.not_counted:
        rows.insert(2, ("", f"not counted: {', '.join(plan.cost.not_counted)}"))
    if plan.load_report:
        rows.insert(1, ("weights", printable(str(plan.load_report)).removeprefix("weights of ")))
    notes = [
        *splits.notes,
        *_describe_few_steps(plan),
        *describe_faults(plan),
        *_describe_small_test(plan),
        *_describe_uneven_test(plan),
    ]
    rows += [("note", note) for note in notes]
    for heading, text in rows:
        console.print(f"{heading:<9} {text}", markup=False)


def _describe_pixels(plan: Plan) -> list[str]:
    """Describe how pictures become squares and 16-bit samples bytes, where that is not the usual way."""
    data, lines = plan.config.data, []
    if data.fit == "pad":
        lines.append("whole pictures, padded with grey to a square")
    elif data.fit == "stretch":
        lines.append("whole pictures, stretched to a square")
    measured = plan.chosen.get("data.sixteen_bit", "")
    if data.sixteen_bit == "stretch":
        stretched = f"{data.sixteen_bit_black:g} to {data.sixteen_bit_white:g} become 0 to 255"
        lines.append(f"16-bit samples: {stretched}{f'; {measured}' if measured else ''}")
    elif measured:
        lines.append(f"16-bit samples keep their high byte; {measured}")
    return lines


def _describe_cost(plan: Plan) -> str:
    cost, size = plan.cost, plan.config.data.image_size
    return (
        f"{cost.total:,} parameters, {cost.multiply_adds:,} multiply-adds at {size}x{size} px, "
        f"{size_of_weights(cost.total)} of weights"
    )


def _describe_training(plan: Plan) -> list[tuple[str, str]]:
    config, training = plan.config, plan.config.training
    start = [_CLASSIFIERS[config.transfer.classifier]] if config.transfer.weights else []
    if not plan.epochs:
        return [("training", f"{start[0]}; no epochs follow")]
    steps = (
        f"{counted(plan.epochs, 'epoch')} x {counted(plan.steps_per_epoch, 'step')} x "
        f"{counted(plan.batch_size, 'picture')}"
    )
    if why := plan.chosen.get("training.epochs"):
        steps += f" ({why})"
    if plan.last_epoch < plan.epochs:
        steps += f"; stops after epoch {plan.last_epoch}"
    lines = [
        *start,
        steps,
        _describe_optimizer(plan),
        *_describe_extras(plan),
        f"augmentation {config.data.augment} ({plan.splits.policy.describe() or 'no change'})",
        f"{_describe_batch_norm(plan)}; {describe_seeds(training)}",
        f"keeps {_KEPT[training.keep]}" + (f": {why}" if (why := plan.chosen.get("training.keep")) else ""),
    ]
    return [("training", lines[0]), *(("", line) for line in lines[1:])]


def describe_seeds(training: TrainingConfig) -> str:
    """Name the seed, and those of single sources of randomness that are others."""
    seeds = {source: training.seed_of(source) for source in ("weights", "order", "augmentation", "dropout")}
    others = [f"{source} {seed}" for source, seed in seeds.items() if seed != training.seed]
    return f"seed {training.seed}" + (f" ({', '.join(others)})" if others else "")


def _describe_few_steps(plan: Plan) -> list[str]:
    """Say that a run from random weights is too short to learn much, and what is longer."""
    if plan.config.transfer.weights or plan.steps >= FEW_STEPS or plan.config.data.overfit:
        return []
    steps = counted(plan.steps, "step")
    return [f"{steps} are too few to learn much; sepnets train --recipe small-data takes at least 1,000"]


def describe_faults(plan: Plan) -> list[str]:
    """Say what makes a plan unlikely to work: a phase that is too short, statistics that lag behind."""
    config, last = plan.config, plan.phases[-1]
    steps = max(0, min(last.end, plan.last_epoch) - last.begin) * plan.steps_per_epoch
    notes = []
    if last.begin and steps < FEW_STEPS_UNFROZEN:
        notes.append(
            f"only {counted(steps, 'step')} follow the unfreezing, too few to change much; unfreeze earlier "
            "(--unfreeze-after), or add epochs"
        )
    share = float(config.model.bn_momentum or 0) ** steps
    if share > LAG and plan.epochs and not (config.transfer.weights or config.training.precise_batch_norm):
        notes.append(
            f"at the end, {share:.0%} of batch norm's statistics are still what they started with, which spoils "
            "evaluation; train longer, or leave training.precise_batch_norm and model.bn_momentum to the plan"
        )
    return notes


def _describe_small_test(plan: Plan) -> list[str]:
    """Say how little a small test tells, and what tells more."""
    data, count = plan.config.data, plan.splits.num_examples("test")
    if count >= FEW_TESTS or data.folds or data.overfit or not DatasetName.parse(data.dataset).is_own_pictures:
        return []
    low, high = wilson_interval(round(0.9 * count), count)
    return [
        f"with {counted(count, 'test picture')}, the 95 % interval of an accuracy near 90 % is "
        f"{100 * (high - low):.0f} points wide; sepnets train --folds 5 tests on every picture"
    ]


def _describe_uneven_test(plan: Plan) -> list[str]:
    """Say that most test pictures are of one class, so that an accuracy looks better than it is."""
    data = plan.config.data
    if data.trains_on_all or data.overfit or not DatasetName.parse(data.dataset).is_own_pictures:
        return []
    counts = plan.splits.class_counts("test")
    largest, share = int(counts.argmax()), counts.max() / counts.sum()
    if share < UNEVEN:
        return []
    name = printable(plan.splits.class_names[largest])
    return [
        f'{share:.0%} of the test pictures are of the class "{name}": always naming it would reach {share:.0%}'
    ]


def _describe_batch_norm(plan: Plan) -> str:
    phase = plan.phases[-1]
    if phase.freeze == BACKBONE or plan.config.transfer.batch_norm == "frozen":
        return "batch norm frozen"
    if batches := plan.config.training.precise_batch_norm:
        count = counted(int(batches), "training batch", "training batches")
        return f"batch norm evaluated with the statistics of {count}"
    steps = max(0, min(phase.end, plan.last_epoch) - phase.begin) * plan.steps_per_epoch
    momentum = float(plan.config.model.bn_momentum or 0)
    share = momentum**steps
    left = "forgotten" if share < 0.0005 else f"down to {share:.1%}"
    return f"batch norm momentum {momentum}: initial statistics {left} after {counted(steps, 'step')}"


def _describe_optimizer(plan: Plan) -> str:
    training = plan.config.training
    rate = f"learning rate {scaled_learning_rate(training):g}"
    if training.base_batch_size and training.base_batch_size != training.batch_size:
        rate += f" ({training.learning_rate:g} for a batch of {training.base_batch_size})"
    if training.warmup_epochs:
        rate += f", reached after {counted(training.warmup_epochs, 'epoch')}"
        rate += f" ({why})" if (why := plan.chosen.get("training.warmup_epochs")) else ""
    decay = "epoch" if training.decay_epochs == 1 else f"{training.decay_epochs:g} epochs"
    schedules = {
        "cosine": "then a cosine to 0",
        "exponential": f"then times {training.decay_rate:g} every {decay}",
        "constant": "then constant",
    }
    return f"{training.optimizer}, {rate}, {schedules[training.schedule]}"


def _describe_extras(plan: Plan) -> list[str]:
    """Describe everything in a training besides the optimizer, in lines."""
    training, transfer = plan.config.training, plan.config.transfer
    parts = [f"weight decay {training.weight_decay:g}"] if training.weight_decay else []
    parts += [f"l2 {training.l2:g}"] if training.l2 else []
    parts += [f"gradients clipped to a norm of {training.clip_norm:g}"] if training.clip_norm else []
    parts += [f"label smoothing {training.label_smoothing:g}"] if training.label_smoothing else []
    parts += [f"averaged weights (momentum {training.ema_momentum:g})"] if training.ema_momentum else []
    parts += [training.precision] if training.precision != "float32" else []
    parts += ["accelerated"] if training.accelerate == "on" else []
    parts += ["compiled by XLA"] if training.jit_compile == "on" else []
    parts += (
        [f"{counted(int(training.intra_op_threads), 'thread')} per operation"] if training.intra_op_threads else []
    )
    parts += ["deterministic (free on CPUs; untested on GPUs)"] if training.deterministic else []
    parts += ["classes balanced"] if training.class_weights == "balanced" else []
    lines = [", ".join(parts)] if parts else []
    trials = [plan.chosen.get(f"training.{key}", "") for key in ("accelerate", "intra_op_threads")]
    lines += [why for why in trials if why.startswith("measured: ")][:1]
    if transfer.freeze:
        after = (
            f"for {counted(transfer.unfreeze_after, 'epoch')}, then everything trained at "
            f"{transfer.learning_rate_factor:g} times the learning rate"
            if transfer.unfreeze_after
            else "throughout"
        )
        lines.append(f"frozen up to {transfer.freeze} {after}")
    return lines
