"""Speed of training steps, of our forms of a network and of Keras' own; processes of their own that take turns."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.intervals import Ratio, compare_rounds
from keras_sepnets.base.machine import describe_machine
from keras_sepnets.settings.files import make_config
from keras_sepnets.training.tuning.turns import measure_steps, random_batches, serve_turns

FORMS: dict[str, dict[str, Any]] = {  # side -> settings of the training
    "accelerated": {"accelerate": "on"},
    "accelerated, bfloat16": {"accelerate": "on", "precision": "bfloat16"},
    "accelerated, one thread an operation": {"accelerate": "on", "intra_op_threads": 1},
    "not accelerated": {"accelerate": "off"},
}
KERAS = "keras.applications"  # the side of Keras' own network and fit
PROGRAM = (sys.executable, "-m", "keras_sepnets.benchmarks.steps")  # which measures it
KERAS_HAS_WIDTHS = ("mobilenet", "mobilenet_v2")
CLASSES = 100
TIMES = 3  # multiply-adds of a training step over those of inference: forward, and both gradients


@dataclass(frozen=True)
class TrainingBenchmark:
    """What was measured."""

    model: str
    alpha: float
    image_size: int
    batch_size: int
    multiply_adds: int  # of a picture
    images_per_second: dict[str, list[float]]  # of each side, a number a round
    peak_gflops: list[float]  # of float32 matrix products, a number a round

    def ratio(self, side: str, reference: str) -> Ratio:
        """Return how many times as fast a side is as the reference."""
        return compare_rounds(self.images_per_second[side], self.images_per_second[reference])

    def peak_share(self, side: str) -> float:
        """Return at which share of the speed of matrix products a side works; one multiply-add is two flops."""
        flops = 2 * TIMES * self.multiply_adds * statistics.median(self.images_per_second[side])
        return flops / (1e9 * statistics.median(self.peak_gflops))

    @property
    def reference(self) -> str:
        """The side that the others are compared with."""
        return list(self.images_per_second)[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as `sepnets benchmark train --json` prints them."""
        return {
            "model": self.model,
            "alpha": self.alpha,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "multiply_adds": self.multiply_adds,
            "images_per_second": self.images_per_second,
            "peak_gflops": self.peak_gflops,
            "peak_share": {side: self.peak_share(side) for side in self.images_per_second},
            "reference": self.reference,
            "ratios": {side: self.ratio(side, self.reference)._asdict() for side in self.images_per_second},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            **describe_machine("tensorflow", "keras"),
        }


def benchmark_training(
    model: str,
    *,
    alpha: float = 1.0,
    image_size: int = 128,
    batch_size: int = 32,
    against_keras: bool = False,
    rounds: int = 5,
    seconds: float = 5.0,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingBenchmark:
    """Measure training steps on pictures in memory: AdamW, cross-entropy, top-1, as `sepnets train` does them.

    Args:
        model: A network's name.
        alpha: Its width multiplier.
        image_size: Height and width in pixels.
        batch_size: Pictures a step.
        against_keras: Whether Keras' own model with `fit` takes turns too, as the reference; else that is the
            network that is not accelerated.
        rounds: Turns of each side.
        seconds: Of a turn, at least; a turn has at least two steps.
        on_progress: Called with what is being done.

    Raises:
        SepnetsError: There is no such network, or Keras has none of this width.
        FailedRunError: A side could not be measured.
    """
    config = make_config({"model": {"name": model, "alpha": alpha}})
    if against_keras and alpha != 1 and model not in KERAS_HAS_WIDTHS:
        raise SepnetsError(f"keras.applications has {model} of alpha 1 only. Received: alpha={alpha}")
    task = {
        "model": config.model.model_dump(),
        "image_size": image_size,
        "batch_size": batch_size,
        "classes": CLASSES,
        "seconds": seconds,
    }
    tasks = {side: task | {"training": settings} for side, settings in FORMS.items()}
    if against_keras:
        tasks[KERAS] = task
    turns = measure_steps(tasks, rounds=rounds, programs={KERAS: PROGRAM}, on_progress=on_progress)
    return TrainingBenchmark(
        model, alpha, image_size, batch_size, turns.multiply_adds, turns.images_per_second, turns.peak_gflops
    )


def _make_keras_steps(task: dict[str, Any]) -> tuple[Callable[[int], Any], int]:
    """Return what does training steps by Keras' own network and `fit`, and the network's multiply-adds."""
    import keras

    from keras_sepnets.cost.counting import count_cost

    batches = random_batches(task)
    model = _keras_model(task["model"]["name"], task["model"]["alpha"], task["image_size"])
    model.compile(keras.optimizers.AdamW(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda count: model.fit(batches, steps_per_epoch=count, verbose=0), count_cost(model).multiply_adds


def _keras_model(name: str, alpha: float, size: int) -> Any:
    import keras

    builders = {
        "mobilenet": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
        "xception": keras.applications.Xception,
        "inception_v3": keras.applications.InceptionV3,
    }
    width = {"alpha": alpha} if name in KERAS_HAS_WIDTHS else {}
    return builders[name](weights=None, input_shape=(size, size, 3), classes=CLASSES, **width)


if __name__ == "__main__":
    serve_turns(_make_keras_steps)
