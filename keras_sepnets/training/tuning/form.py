"""The form in which a network trains fastest on this machine: measured once, then cached."""

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
from keras_sepnets.training.tuning.workers import WorkerTimeoutError

OPEN = {  # setting -> what "auto" may become
    "accelerate": ("off", "on"),
    "precision": ("float32", "bfloat16"),
    "jit_compile": ("off", "on"),
    "intra_op_threads": (0, 1),
}
FEWEST_STEPS = 1000  # shorter runs would not win back the time of a trial
BATCH_SIZE = 32  # of a trial if the run's is still "auto"
SMALL = 128  # px; one thread per operation is not tried with larger pictures
ROUNDS = 3
SECONDS = 1.0  # per turn
MOST_SECONDS = 60.0  # of a trial
SHARE = 0.1  # of a run's time limit that a trial may take
FEWEST_SECONDS = 20.0  # with less, its processes hardly get started
MATRIX = 1024  # rows of the square matrices whose products compare precisions
CLEARLY_SLOWER = 0.8  # relative speed below which a difference is not noise


# Results that no file keeps, as it cannot be written or the trial failed; an ablation asks for each of its runs.
_KNOWN: dict[Path, "Form"] = {}


class Form(NamedTuple):
    """Values for the settings that were "auto", and the reason for them."""

    settings: dict[str, Any]
    why: str


def choose_form(
    config: RunConfig,
    *,
    classes: int,
    num_examples: int,
    max_seconds: float | None = None,
    measure: bool = True,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Form:
    """Choose values for those settings in `OPEN` that are "auto".

    The forms take turns, each in its own process. The default form (accelerated on CPUs, compiled by XLA on GPUs)
    wins unless another one is faster in every round. The result is cached in the user's cache folder by machine,
    versions, network, picture size and batch size, also if a whole minute was not enough.

    Args:
        config: The settings; the picture size is final.
        classes: Number of classes.
        num_examples: Approximate number of training examples. For runs of fewer than 1000 steps nothing is
            measured, and the default form is taken unless the cache has a result.
        max_seconds: Time limit of the run, of which a trial may take a tenth; with less than 20 seconds for it,
            nothing is measured.
        measure: Whether to measure, if there is no result yet.
        on_progress: Called with the stages of a trial, which takes a minute at most.
    """
    training = config.training
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    is_small = (config.data.image_size or 0) <= SMALL
    forms = _forms(training, has_gpu=has_gpu, is_small=is_small)
    if len(forms) == 1:
        (only,) = forms.values()
        return Form(only, "the only form that the other settings allow")
    batch_size = min(BATCH_SIZE if training.batch_size == "auto" else training.batch_size, max(1, num_examples))
    task = _make_task(config, batch_size=batch_size, classes=classes)
    cache = _cache_file(task)
    cached = _KNOWN.get(cache) or _read(cache, list(forms.values()))
    if cached:
        return cached
    default = form_name(_default(training, has_gpu=has_gpu))
    if training.epochs != "auto" and num_examples // batch_size * training.epochs < FEWEST_STEPS:
        return Form(forms[default], f"default; runs of fewer than {FEWEST_STEPS:,} steps are not worth a trial")
    if not measure:
        return Form(forms[default], "default; a run measures what is faster, and so does --accelerate auto here")
    seconds = MOST_SECONDS if max_seconds is None else min(MOST_SECONDS, SHARE * max_seconds)
    if seconds < FEWEST_SECONDS:
        return Form(
            forms[default], f"default; {seconds:.0f} s, a tenth of the time limit, is too little for a trial"
        )
    on_progress(
        f"measuring which form of the network trains fastest here, for {seconds:.0f} s at most: {', '.join(forms)}"
    )
    tasks = {name: task | {"training": task["training"] | form} for name, form in forms.items()}
    try:
        speeds = measure_steps(tasks, rounds=ROUNDS, max_seconds=seconds, on_progress=on_progress)
    except FailedRunError as error:
        form = Form(forms[default], f"default; {error}")
        if seconds == MOST_SECONDS and isinstance(error.__cause__, WorkerTimeoutError):
            _write(cache, form)  # the next run would wait as long for nothing
        return _KNOWN.setdefault(cache, form)
    chosen, why = _fastest(speeds.images_per_second, default)
    form = Form(forms[chosen], why)
    _write(cache, form)
    return form


def form_name(training: TrainingConfig) -> str:
    """Return the name of a form, as trials and benchmarks print it: "accelerated, bfloat16"."""
    words = ["accelerated" if training.accelerate == "on" else "not accelerated"]
    words += [training.precision] if training.precision != "float32" else []
    words += ["compiled by XLA"] if training.jit_compile == "on" else []
    words += ["one thread an operation"] if training.intra_op_threads == 1 else []
    return ", ".join(words)


def warn_of_slow_products(training: TrainingConfig) -> None:
    """Warn if the user chose bfloat16 and this device multiplies float32 matrices faster."""
    if training.precision.endswith("bfloat16") and (speed := _bfloat16_speed()) < CLEARLY_SLOWER:
        warnings.warn(
            f"Matrix products in bfloat16 are {1 / speed:.1f} times slower than in float32 on this machine (CPUs "
            f"with AMX or AVX512-BF16 and GPUs are fast); drop --precision {training.precision} to train faster.",
            stacklevel=2,
        )


@functools.cache
def _bfloat16_speed() -> float:
    """Return the speed of matrix products in bfloat16 relative to float32."""

    def product(dtype: tf.DType) -> float:
        matrix = tf.ones([MATRIX, MATRIX], dtype)
        return least_seconds(lambda: tf.matmul(matrix, matrix)[0, 0].numpy())  # waits for the device

    return product(tf.float32) / product(tf.bfloat16)


def _forms(training: TrainingConfig, *, has_gpu: bool, is_small: bool) -> dict[str, dict[str, Any]]:
    """Return name -> values of the open settings, for every form that the other settings and the device allow."""
    choices = {key: values for key, values in OPEN.items() if getattr(training, key) == "auto"}
    forms = {}
    for values in itertools.product(*choices.values()):
        form = dict(zip(choices, values, strict=True))
        settings = training.model_copy(update=form)
        accelerate = {"float32": ("on", "off"), "bfloat16": ("on",)}.get(settings.precision, ("off",))
        one_thread = form.get("intra_op_threads") == 1
        fits_device = not one_thread if has_gpu else form.get("jit_compile") != "on"
        # Keeps trials short: large pictures need all threads, and small ones gain the same in both forms.
        skipped = one_thread and (not is_small or (form.get("accelerate") == "off" and "on" in accelerate))
        if settings.accelerate in accelerate and fits_device and not skipped:
            forms[form_name(settings)] = form
    return forms


def _default(training: TrainingConfig, *, has_gpu: bool) -> TrainingConfig:
    precision = "float32" if training.precision == "auto" else training.precision
    default = {
        "precision": precision,
        "accelerate": "off" if precision.startswith("mixed") or (has_gpu and precision == "float32") else "on",
        "jit_compile": "on" if has_gpu else "off",
        "intra_op_threads": 0,
    }
    return training.model_copy(
        update={key: value for key, value in default.items() if getattr(training, key) == "auto"}
    )


def _fastest(speeds: dict[str, list[float]], default: str) -> tuple[str, str]:
    """Return the form to use, by median speed among those that beat the default in every round, and why."""
    ratios = {name: compare_rounds(found, speeds[default]) for name, found in speeds.items()}
    better = [name for name, ratio in ratios.items() if ratio.low > 1]
    chosen = max(better, key=lambda name: ratios[name].median, default=default)
    others = [
        f"{compare_rounds(speeds[chosen], found).median:.2f} times as fast as {name}"
        for name, found in speeds.items()
        if name != chosen
    ]
    return chosen, f"measured: {chosen}, {' and '.join(others)}"


def _make_task(config: RunConfig, *, batch_size: int, classes: int) -> dict[str, Any]:
    return {
        "model": config.model.model_dump(exclude={"bn_momentum"}),
        "training": config.training.model_dump(include={"optimizer", *OPEN}),
        "image_size": config.data.image_size,
        "batch_size": batch_size,
        "classes": classes,
        "seconds": SECONDS,
    }


def _cache_file(task: dict[str, Any]) -> Path:
    """Return the file of a trial's result; relative, so that it is never written, for a user without a home."""
    threads = {name: value for name, value in os.environ.items() if name.startswith("TF_NUM_")}
    known = [describe_machine("keras-sepnets", "keras", "tensorflow"), threads, task]
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    try:
        folder = platformdirs.user_cache_path("sepnets")
    except RuntimeError:  # older versions of platformdirs return a relative path
        folder = Path("sepnets")
    return folder / "form-trials" / f"{key[:32]}.json"


def _write(cache: Path, form: Form) -> None:
    """Keep the result of a trial in the user's cache folder, or in this process if there is none to write to."""
    if not cache.is_absolute():
        _KNOWN[cache] = form
        return
    content = to_json_bytes({**form._asdict(), "date": datetime.now(UTC).isoformat(timespec="seconds")})
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_file(cache, content)
    except OSError:
        _KNOWN[cache] = form


def _read(cache: Path, forms: list[dict[str, Any]]) -> Form | None:
    """Return the result of an earlier trial, or None if there is none or it is unusable."""
    try:
        cached = json.loads(cache.read_bytes())
        if cached["settings"] in forms:
            return Form(cached["settings"], f"{cached['why']} ({cached['date'][:10]})")
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None
