"""Speed of training steps: our forms of a network and Keras' own take turns, each in its own process."""

import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
from pydantic import Field, computed_field

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.benchmarks.speeds import Speeds
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.schema import TrainingConfig
from keras_sepnets.training.tuning.form import form_name
from keras_sepnets.training.tuning.turns import least_seconds, measure_steps, random_batches, serve_turns

FORMS: dict[str, dict[str, Any]] = {  # name -> settings of the training
    form_name(TrainingConfig(**settings)): settings
    for settings in (
        {"accelerate": "on"},
        {"accelerate": "on", "precision": "bfloat16"},
        {"accelerate": "on", "intra_op_threads": 1},
        {"accelerate": "off"},
    )
}
KERAS = "keras.applications"  # the side of Keras' own network and `fit`
PROGRAM = (sys.executable, "-m", "keras_sepnets.benchmarks.steps")  # measures it
KERAS_HAS_WIDTHS = ("mobilenet", "mobilenet_v2")
CLASSES = 100
TIMES = 3  # multiply-adds of a training step relative to inference: forward, and two gradients
MATRIX = 2048  # rows of the square matrices whose product measures the machine's peak


class TrainingBenchmark(Speeds):
    """Speed of the training steps of a network, in several forms."""

    model: str
    """Name of the network."""
    alpha: float
    """Width multiplier."""
    image_size: int
    """Height and width in pixels."""
    batch_size: int
    """Pictures per step."""
    multiply_adds: int
    """Multiply-adds of inference, per picture."""
    peak_gflops: list[float]
    """Speed of float32 matrix products, in GFLOP/s, one number per round."""
    date: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When it was measured, in UTC."""
    keras: str = Field(default_factory=lambda: metadata.version("keras"))
    """Version of Keras."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def peak_share(self) -> dict[str, float]:
        """Side -> fraction of the speed of matrix products; one multiply-add is two floating-point operations."""
        peak = 1e9 * statistics.median(self.peak_gflops)
        flops = 2 * TIMES * self.multiply_adds
        return {side: flops * statistics.median(speeds) / peak for side, speeds in self.images_per_second.items()}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reference(self) -> str:
        """The side that the others are compared with."""
        return list(self.images_per_second)[-1]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """Side -> how many times as fast it is as the reference: median, lowest and highest of the rounds."""
        return {side: self.ratio(side, self.reference)._asdict() for side in self.images_per_second}


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
    """Measure training steps as `sepnets train` runs them: AdamW, cross-entropy, top-1; pictures are in memory.

    Args:
        model: Name of the network.
        alpha: Width multiplier.
        image_size: Height and width in pixels.
        batch_size: Pictures per step.
        against_keras: Whether to measure Keras' own model with `fit` too, as the reference. Otherwise the
            reference is our network without acceleration.
        rounds: Turns per side.
        seconds: Minimum length of a turn, which has at least two steps.
        on_progress: Called with a description of each stage.

    Raises:
        SepnetsError: The network is unknown, or Keras does not offer it in this width.
        FailedRunError: A side could not be measured.
    """
    config = make_config({"model": {"name": model, "alpha": alpha}})
    if against_keras and alpha != 1 and model not in KERAS_HAS_WIDTHS:
        raise SepnetsError(
            f"keras.applications has {model} with alpha=1 only; leave out --alpha or --against. "
            f"Received: alpha={alpha}"
        )
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
    peak_gflops: list[float] = []
    speeds = measure_steps(
        tasks,
        rounds=rounds,
        programs={KERAS: PROGRAM},
        on_progress=on_progress,
        on_round=lambda _number: peak_gflops.append(_measure_peak()),
    )
    return TrainingBenchmark(
        model=model,
        alpha=alpha,
        image_size=image_size,
        batch_size=batch_size,
        multiply_adds=speeds.multiply_adds,
        images_per_second=speeds.images_per_second,
        peak_gflops=peak_gflops,
    )


def _measure_peak() -> float:
    """Return GFLOP/s of float32 matrix products in NumPy."""
    random = np.random.default_rng(0)
    one, other = (random.random((MATRIX, MATRIX), np.float32) for _ in range(2))
    return 2 * MATRIX**3 / least_seconds(lambda: one @ other) / 1e9


def _make_keras_steps(task: dict[str, Any]) -> tuple[Callable[[int], Any], int]:
    """In a worker: return a function that trains Keras' network with `fit`, and the multiply-adds per picture."""
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
