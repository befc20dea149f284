"""In which form a network trains fastest on this machine: measured once, and kept."""

import functools
import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.files import to_json_bytes, write_file
from keras_sepnets.base.intervals import compare_rounds
from keras_sepnets.base.machine import describe_machine
from keras_sepnets.settings.schema import RunConfig, TrainingConfig
from keras_sepnets.training.tuning.turns import least_seconds, measure_steps

OPEN = {  # what "auto" may become
    "accelerate": ("off", "on"),
    "precision": ("float32", "bfloat16"),
    "jit_compile": ("off", "on"),
    "intra_op_threads": (0, 1),
}
FEWEST_STEPS = 1000  # a run of fewer would not win back the time of a trial
BATCH_SIZE = 32  # of a trial, where the run's is open
SMALL = 128  # px: of larger pictures a step with one thread an operation is not tried
ROUNDS = 3
SECONDS = 1.0  # of a turn
MATRIX = 1024  # rows of the square matrices whose products compare types
CLEARLY_SLOWER = 0.8  # times as fast, so that noise is not taken for it


class Form(NamedTuple):
    """What was chosen for settings that were "auto", and why."""

    settings: dict[str, Any]
    why: str


def choose_form(
    config: RunConfig,
    *,
    classes: int,
    num_examples: int,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Form:
    """Return the fastest form of the settings in `OPEN`, as far as they are "auto".

    The forms take turns in processes of their own. One that is not faster in every round than what is usual
    (accelerated on CPUs, compiled by XLA on GPUs) is not chosen. What was found is kept in the user's cache
    folder, by machine, versions, network, picture size and batch size.

    Args:
        config: The settings; the picture size is settled.
        classes: Number of classes.
        num_examples: Of training, about; for a run of fewer than 1000 steps nothing is measured, and the usual
            form is taken.
        on_progress: Told before something is measured, which takes 10 to 40 seconds, or some dozen steps.
    """
    training = config.training
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    is_small = (config.data.image_size or 0) <= SMALL
    forms = _forms(training, has_gpu=has_gpu, is_small=is_small)
    if len(forms) == 1:
        (only,) = forms.values()
        return Form(only, "the only form there is for the other settings")
    usual = _name(_usual(training, has_gpu=has_gpu))
    batch_size = BATCH_SIZE if training.batch_size == "auto" else training.batch_size
    task: dict[str, Any] = {
        "model": config.model.model_dump(exclude={"bn_momentum"}),
        "training": training.model_dump(include={"optimizer", *OPEN}),
        "image_size": config.data.image_size,
        "batch_size": batch_size,
        "classes": classes,
        "seconds": SECONDS,
    }
    cache = _cache_file(task)
    kept = _read(cache, list(forms.values()))
    if kept:
        return kept
    if training.epochs != "auto" and max(1, num_examples // batch_size) * training.epochs < FEWEST_STEPS:
        return Form(forms[usual], f"usual; in a run of fewer than {FEWEST_STEPS:,} steps nothing is measured")
    on_progress(f"measuring which form of the network trains fastest here: {', '.join(forms)}")
    try:
        turns = measure_steps(
            {name: task | {"training": task["training"] | form} for name, form in forms.items()},
            rounds=ROUNDS,
        )
    except FailedRunError as error:
        return Form(forms[usual], f"usual; {error}")
    chosen, why = _fastest(turns.images_per_second, usual)
    form = Form(forms[chosen], why)
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_file(cache, to_json_bytes({**form._asdict(), "date": datetime.now(UTC).isoformat(timespec="seconds")}))
    return form


def warn_of_slow_products(training: TrainingConfig) -> None:
    """Warn where bfloat16 was asked for on a device that multiplies matrices of float32 faster."""
    if training.precision.endswith("bfloat16") and (speed := _bfloat16_speed()) < CLEARLY_SLOWER:
        warnings.warn(
            f"Matrix products in bfloat16 are {1 / speed:.1f} times slower than in float32 here (fast are CPUs "
            f"with AMX or AVX512-BF16, and GPUs); leave --precision {training.precision} out to train faster.",
            stacklevel=2,
        )


@functools.cache
def _bfloat16_speed() -> float:
    """Return how many times as fast matrix products in bfloat16 are as in float32."""

    def product(dtype: tf.DType) -> float:
        matrix = tf.ones([MATRIX, MATRIX], dtype)
        return least_seconds(lambda: tf.matmul(matrix, matrix)[0, 0].numpy())  # which waits for it

    return product(tf.float32) / product(tf.bfloat16)


def _forms(training: TrainingConfig, *, has_gpu: bool, is_small: bool) -> dict[str, dict[str, Any]]:
    """Return every form that goes with the settings, by name; those alone that are open are in it."""
    choices = {key: values for key, values in OPEN.items() if getattr(training, key) == "auto"}
    forms = {}
    for values in itertools.product(*choices.values()):
        form = dict(zip(choices, values, strict=True))
        settings = training.model_copy(update=form)
        goes_with = {"float32": ("on", "off"), "bfloat16": ("on",)}.get(settings.precision, ("off",))
        one_thread = form.get("intra_op_threads") == 1
        fits_device = not one_thread if has_gpu else form.get("jit_compile") != "on"
        # So that trials are short: large pictures need all threads, and small ones gain the same in both forms.
        is_left_out = one_thread and (not is_small or (form.get("accelerate") == "off" and "on" in goes_with))
        if settings.accelerate in goes_with and fits_device and not is_left_out:
            forms[_name(settings)] = form
    return forms


def _usual(training: TrainingConfig, *, has_gpu: bool) -> TrainingConfig:
    precision = "float32" if training.precision == "auto" else training.precision
    usual = {
        "precision": precision,
        "accelerate": "off" if precision.startswith("mixed") or (has_gpu and precision == "float32") else "on",
        "jit_compile": "on" if has_gpu else "off",
        "intra_op_threads": 0,
    }
    return training.model_copy(
        update={key: value for key, value in usual.items() if getattr(training, key) == "auto"}
    )


def _name(training: TrainingConfig) -> str:
    words = ["accelerated" if training.accelerate == "on" else "not accelerated"]
    words += [training.precision] if training.precision != "float32" else []
    words += ["compiled by XLA"] if training.jit_compile == "on" else []
    words += ["one thread an operation"] if training.intra_op_threads == 1 else []
    return ", ".join(words)


def _fastest(speeds: dict[str, list[float]], usual: str) -> tuple[str, str]:
    """Return the fastest by the median of those that beat the usual form in every round, or that; and why."""
    ratios = {name: compare_rounds(found, speeds[usual]) for name, found in speeds.items()}
    better = [name for name, ratio in ratios.items() if ratio.low > 1]
    chosen = max(better, key=lambda name: ratios[name].median, default=usual)
    others = [
        f"{compare_rounds(speeds[chosen], found).median:.2f} times as fast as {name}"
        for name, found in speeds.items()
        if name != chosen
    ]
    return chosen, f"measured: {chosen}, {' and '.join(others)}"


def _cache_file(task: dict[str, Any]) -> Path:
    threads = {name: value for name, value in os.environ.items() if name.startswith("TF_NUM_")}
    known = [describe_machine("keras-sepnets", "keras", "tensorflow"), threads, task]
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return platformdirs.user_cache_path("sepnets") / "form-trials" / f"{key[:32]}.json"


def _read(cache: Path, forms: list[dict[str, Any]]) -> Form | None:
    """Return what was found before; None if there is nothing, or nothing that can be used."""
    try:
        kept = json.loads(cache.read_bytes())
        return (
            Form(kept["settings"], f"{kept['why']} ({kept['date'][:10]})") if kept["settings"] in forms else None
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
