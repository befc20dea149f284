"""Optimizer, schedule and loss of a training."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_sepnets.acceleration import twin
from keras_sepnets.models.keras_internals import optimized_variables
from keras_sepnets.settings.schema import TrainingConfig
from keras_sepnets.training.loop import checked_when_trained

LARGEST_MOMENTUM = {"batch norm": 0.99, "weights": 0.9999}  # Keras' default; the papers' reference code
SMALLEST_MOMENTUM = 0.9  # below, an average over so few batches is noise
INITIAL_SHARE = 0.05  # weight of the initial value in a moving average ...
WARMUP = 0.1  # ... after this share of all steps


def choose_momentum(steps: int, of: str) -> float:
    """Return the momentum with which a moving average forgets 95 % of its initial value in a tenth of `steps`.

    It is at least 0.9, so an average covers some ten batches.

    After n steps, the initial value still has the weight m^n in an average of momentum m: with Keras' 0.99 for
    batch norm that is 37 % after 100 steps, which ruins the evaluation of short runs.

    Args:
        steps: Number of steps of the training.
        of: "batch norm": at most 0.99; "weights" (Polyak averaging): at most 0.9999.
    """
    momentum = INITIAL_SHARE ** (1 / (WARMUP * max(1, steps)))
    return round(min(LARGEST_MOMENTUM[of], max(SMALLEST_MOMENTUM, momentum)), 6)


def scaled_learning_rate(config: TrainingConfig) -> float:
    """Return the peak learning rate, scaled by batch_size / base_batch_size if there is a base_batch_size."""
    if config.base_batch_size is None or config.batch_size == "auto":
        return config.learning_rate
    return config.learning_rate * config.batch_size / config.base_batch_size


@keras.saving.register_keras_serializable("keras_sepnets")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from 0 to a schedule's first value, then the schedule."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, peak: float, steps: int) -> None:
        """Rise to `peak` within `steps`."""
        super().__init__()
        self.schedule, self.peak, self.steps = schedule, peak, steps

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rising = self.peak * step / self.steps
        return tf.where(step < self.steps, rising, self.schedule(tf.maximum(step - self.steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self.schedule, "peak": self.peak, "steps": self.steps}


def make_schedule(
    config: TrainingConfig, steps_per_epoch: int, epochs: int, factor: float = 1.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate schedule: a warm-up, then a cosine to 0, exponential decay, or constant.

    Args:
        config: The settings.
        steps_per_epoch: Steps per epoch.
        epochs: Length of the schedule.
        factor: Multiplies the learning rate.
    """
    schedules = keras.optimizers.schedules
    peak = factor * scaled_learning_rate(config)
    steps = max(1, steps_per_epoch * epochs)  # no epochs: nothing but the classifier is fitted
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), steps - 1)
    if config.schedule == "cosine":
        return schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else peak,
            decay_steps=steps - warmup_steps,
            warmup_target=peak if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    schedule: keras.optimizers.schedules.LearningRateSchedule
    if config.schedule == "exponential":
        decay_steps = max(1, round(config.decay_epochs * steps_per_epoch))
        schedule = schedules.ExponentialDecay(peak, decay_steps, config.decay_rate, staircase=True)
    else:
        schedule = schedules.PiecewiseConstantDecay([steps], [peak, peak])
    return WarmUp(schedule, peak, warmup_steps) if warmup_steps else schedule


def compile_model(
    model: keras.Model,
    config: TrainingConfig,
    steps_per_epoch: int,
    *,
    epochs: int | None = None,
    learning_rate_factor: float = 1.0,
    one_hot: bool = False,
) -> None:
    """Give a model its optimizer, schedule and loss.

    Args:
        model: The model; its trainable variables are trained.
        config: The settings; `epochs`, `batch_size` and `ema_momentum` are numbers.
        steps_per_epoch: Steps per epoch.
        epochs: Length of the schedule; by default the config's epochs.
        learning_rate_factor: Multiplies the learning rate.
        one_hot: Whether labels are probabilities instead of class numbers.
    """
    epochs = int(config.epochs) if epochs is None else epochs
    schedule = make_schedule(config, steps_per_epoch, epochs, learning_rate_factor)
    optimizer = _make_optimizer(config, schedule)
    decayed = decayed_variables(model)
    undecayed = [variable for variable in model.trainable_variables if not _is_in(variable, decayed)]
    optimizer.exclude_from_weight_decay(var_list=undecayed)
    optimizer.add_l2(config.l2, decayed)
    losses, metrics = keras.losses, keras.metrics
    crossentropy = losses.categorical_crossentropy if one_hot else losses.sparse_categorical_crossentropy
    model.compile(
        optimizer=optimizer,
        loss=lambda labels, probabilities: checked_when_trained(crossentropy(labels, probabilities)),
        jit_compile={"auto": "auto", "on": True, "off": False}[config.jit_compile],
        metrics=[(metrics.CategoricalAccuracy if one_hot else metrics.SparseCategoricalAccuracy)(name="top1")],
    )
    # Otherwise TensorFlow traces the first step twice, and a checkpoint finds no variables (nor the loss scale).
    model.optimizer.build(model.trainable_variables)


def decayed_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the variables that weight decay and l2 act on: all kernels but depthwise ones (MobileNets, 3.2)."""
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel") and not _is_depthwise(layer)]
    return [variable for variable in kernels if _is_in(variable, model.trainable_variables)]


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D) or getattr(layer, "is_depthwise", False)


class _Regularized:
    """Adds l2 to an optimizer's gradients, and lets it change nothing before it has every gradient.

    Otherwise, weight decay would not wait for the gradients, and would change the weights in a step that fails
    because its loss is NaN.
    """

    _l2 = 0.0
    _decayed_ids: frozenset[int] = frozenset()  # not the variables: Keras would take them for the optimizer's own

    def add_l2(self, l2: float, variables: Sequence[keras.Variable]) -> None:
        """Add `l2` times each of these variables to its gradient; call it before the first step."""
        self._l2 = l2
        self._decayed_ids = frozenset(id(variable) for variable in variables) if l2 else frozenset()

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> Any:
        variables = trainable_variables or optimized_variables(self)
        with tf.control_dependencies([gradient for gradient in grads if gradient is not None]):
            grads = [
                gradient + self._l2 * variable if id(variable) in self._decayed_ids else gradient
                for gradient, variable in zip(grads, variables, strict=True)
            ]
            return super().apply(grads, trainable_variables)  # type: ignore[misc]


# Under the names of their base classes, by which Keras names variables.
class AdamW(_Regularized, keras.optimizers.AdamW):
    """Keras' AdamW with l2."""


class FusedAdamW(_Regularized, twin.FusedAdamW):
    """The twin's AdamW with l2."""


class RMSprop(_Regularized, keras.optimizers.RMSprop):
    """Keras' RMSprop with l2."""


class SGD(_Regularized, keras.optimizers.SGD):
    """Keras' SGD with l2."""


def _make_optimizer(
    config: TrainingConfig, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    common: dict[str, Any] = {"weight_decay": config.weight_decay, "global_clipnorm": config.clip_norm or None}
    if config.ema_momentum:
        common |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if config.optimizer == "adamw":
        return (FusedAdamW if config.accelerate == "on" else AdamW)(schedule, **common)
    common["momentum"] = config.momentum
    if config.optimizer == "sgd":
        return SGD(schedule, **common)
    return RMSprop(schedule, rho=config.rmsprop_decay, epsilon=config.rmsprop_epsilon, **common)


def _is_in(variable: keras.Variable, variables: Sequence[keras.Variable]) -> bool:
    return any(variable is other for other in variables)
