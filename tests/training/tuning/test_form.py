"""The form in which a network is trained: which ones are tried, which is chosen, what is cached."""

import time
from pathlib import Path

import pytest

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.tuning import form as form_trial
from keras_sepnets.training.tuning.form import choose_form, form_name, warn_of_slow_products
from keras_sepnets.training.tuning.turns import StepSpeeds
from keras_sepnets.training.tuning.workers import WorkerError, WorkerTimeoutError

LONG = 10_000  # steps


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(form_trial, "_KNOWN", {})
    return tmp_path / "cache"


@pytest.fixture
def trials(monkeypatch):
    """Fake trials with given speeds; returns a list of the tasks that were asked for."""

    def set_speeds(speeds):
        asked, asked_seconds = [], []

        def measure_steps(tasks, *, rounds, max_seconds, on_progress):
            asked.append(tasks)
            asked_seconds.append(max_seconds)
            if speeds is None:
                raise FailedRunError("accelerated could not be measured: no memory")
            return StepSpeeds({name: speeds[name] for name in tasks}, 0)

        monkeypatch.setattr(form_trial, "measure_steps", measure_steps)
        set_speeds.seconds = asked_seconds
        return asked

    return set_speeds


def config(*, intra_op_threads=0, image_size=64, **options):
    options |= {"intra_op_threads": intra_op_threads}
    return load_config(
        options={f"training.{key}": value for key, value in options.items()} | {"data.image_size": image_size}
    )


def choose(settings, steps=LONG, **options):
    training = settings.training
    num_examples = steps // training.epochs * training.batch_size
    return choose_form(settings, classes=10, num_examples=num_examples, **options)


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({}, {"not accelerated", "accelerated"}),
        ({"precision": "auto"}, {"not accelerated", "accelerated", "accelerated, bfloat16"}),
        ({"precision": "auto", "accelerate": "on"}, {"accelerated", "accelerated, bfloat16"}),
    ],
)
def test_open_settings_are_tried(options, sides, trials):
    asked = trials({name: [1.0] for name in sides})
    choose(config(**options))
    (tasks,) = asked
    assert tasks.keys() == sides
    for name, task in tasks.items():
        assert task["training"]["intra_op_threads"] == 0
        assert (task["training"].get("accelerate") or "on") == ("off" if name.startswith("not") else "on")


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({}, {"not accelerated", "accelerated", "accelerated, one thread an operation"}),
        (
            {"precision": "bfloat16"},
            {"accelerated, bfloat16", "accelerated, bfloat16, one thread an operation"},
        ),
        (
            {"precision": "mixed_bfloat16"},
            {"not accelerated, mixed_bfloat16", "not accelerated, mixed_bfloat16, one thread an operation"},
        ),
    ],
)
def test_one_thread_per_operation_is_tried_for_small_pictures(options, sides, trials):
    asked = trials({name: [2.0 if "one thread" in name else 1.0] for name in sides})
    assert choose(config(intra_op_threads="auto", **options)).settings["intra_op_threads"] == 1
    (tasks,) = asked
    assert tasks.keys() == sides
    for name, task in tasks.items():
        assert task["training"]["intra_op_threads"] == ("one thread" in name)
        assert task["training"]["accelerate"] == ("off" if name.startswith("not") else "on")
        assert task["training"]["precision"] == options.get("precision", "float32")


def test_larger_pictures_are_not_tried_with_one_thread(trials):
    asked = trials({})
    assert choose(config(intra_op_threads="auto", accelerate="on", image_size=224)).settings == {
        "jit_compile": "off",
        "intra_op_threads": 0,
    }
    assert not asked


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"precision": "bfloat16"}, {"accelerate": "on", "jit_compile": "off"}),
        ({"precision": "mixed_bfloat16"}, {"accelerate": "off", "jit_compile": "off"}),
        ({"precision": "auto", "accelerate": "off"}, {"precision": "float32", "jit_compile": "off"}),
        ({"accelerate": "off", "jit_compile": "on"}, {}),
    ],
)
def test_a_single_form_is_not_measured(options, settings, trials):
    asked = trials({})
    assert choose(config(**options)).settings == settings
    assert not asked


def test_a_form_is_chosen_that_is_faster_in_every_round(trials, cache):
    settings = config(precision="auto")
    trials({"not accelerated": [9.0, 30.0], "accelerated": [10.0, 20.0], "accelerated, bfloat16": [15.0, 24.0]})
    form = choose(settings)
    assert form.settings == {"accelerate": "on", "precision": "bfloat16", "jit_compile": "off"}
    assert form.why.startswith("measured: accelerated, bfloat16, 1.23 times as fast as not accelerated and 1.35 ")

    asked = trials({})
    again = choose(settings)
    assert again.settings == form.settings
    assert again.why.startswith(form.why)
    assert not asked  # the result is cached ...
    other = settings.model_copy(
        update={"training": settings.training.model_copy(update={"seed": 3, "epochs": 99})}
    )
    assert choose(other).settings == form.settings  # ... whatever the other settings are,
    assert choose(settings, steps=12).settings == form.settings  # and short runs use it too

    (file,) = cache.rglob("*.json")
    for damage in (b"{", b'{"settings": {"accelerate": "never"}, "why": "x", "date": "2026-01-01"}', b"[]"):
        file.write_bytes(damage)
        asked = trials({"not accelerated": [1.0], "accelerated": [2.0], "accelerated, bfloat16": [1.0]})
        assert choose(settings).settings["precision"] == "float32"
        assert asked


def test_without_a_measured_gain_the_default_form_is_taken(trials, cache):
    trials({"not accelerated": [11.0, 9.0], "accelerated": [10.0, 10.0]})
    assert choose(config()).settings["accelerate"] == "on"
    trials(None)
    failed = choose(config(batch_size=7))
    assert failed.settings["accelerate"] == "on"
    assert failed.why == "default; accelerated could not be measured: no memory"
    asked = trials({})
    assert choose(config(batch_size=7)) == failed  # in this process
    assert not asked
    assert len(list(cache.rglob("*.json"))) == 1  # failures are not cached
    asked = trials({})
    assert choose(config(batch_size=8, epochs=1), steps=form_trial.FEWEST_STEPS - 1).why.startswith(
        "default; runs of fewer"
    )
    assert not asked


def test_a_trial_uses_the_batch_size_that_fits_the_data_set(trials):
    asked = trials({"not accelerated": [1.0], "accelerated": [2.0]})
    choose_form(config(batch_size=64, epochs=5000), classes=10, num_examples=50)
    assert {task["batch_size"] for task in asked[0].values()} == {50}


@pytest.mark.usefixtures("_short_networks", "_warm_workers")
def test_a_plan_settles_the_form_by_a_trial_in_processes(monkeypatch, tiny_config):
    monkeypatch.setattr(form_trial, "FEWEST_STEPS", 1)
    monkeypatch.setattr(form_trial, "ROUNDS", 1)
    monkeypatch.setattr(form_trial, "SECONDS", 0.1)
    messages = []
    plan = make_plan(tiny_config, on_progress=messages.append)
    training = plan.config.training
    assert (training.accelerate, training.jit_compile) in {("on", "off"), ("off", "off")}
    assert plan.chosen["training.accelerate"].startswith("measured: ")
    # Tests run with one thread, so every form has it.
    forms = "not accelerated, one thread an operation, accelerated, one thread an operation"
    assert messages == [
        f"measuring which form of the network trains fastest here, for 60 s at most: {forms}",
        f"building and tracing: {forms}",
        "measuring, round 1 of 1",
    ]
    again = make_plan(tiny_config, on_progress=lambda text: pytest.fail(text))
    assert again.config.training == training


BOTH = {"not accelerated": [1.0], "accelerated": [2.0]}


def test_a_trial_takes_a_minute_or_a_tenth_of_the_time_limit_or_is_skipped(trials):
    asked = trials(BOTH)
    for number, (limit, seconds) in enumerate([(None, 60.0), (3600.0, 60.0), (300.0, 30.0)]):
        choose(config(batch_size=8 + number), max_seconds=limit)
        assert trials.seconds[-1] == seconds
    short = choose(config(batch_size=7), max_seconds=90.0)
    assert len(asked) == 3
    assert short.settings == {"accelerate": "on", "jit_compile": "off"}
    assert short.why == "default; 9 s, a tenth of the time limit, is too little for a trial"


def test_a_trial_that_is_not_done_in_time_is_given_up(monkeypatch):
    monkeypatch.setattr(form_trial, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(form_trial, "FEWEST_SECONDS", 0.1)
    begin = time.monotonic()
    form = choose(config())
    assert time.monotonic() - begin < 10
    assert form.settings["accelerate"] == "on"
    assert form.why == "default; not accelerated could not be measured: not done after 0.2 s"


@pytest.mark.parametrize(
    ("cause", "limit", "measured"),
    [
        (WorkerTimeoutError("not done after 60 s"), None, 1),
        (WorkerTimeoutError("not done after 30 s"), 300.0, 2),  # of a short run; a longer one may be done in time
        (WorkerError(1, "no memory"), None, 2),
    ],
)
def test_a_trial_that_used_its_whole_minute_is_not_repeated(monkeypatch, cause, limit, measured):
    asked = []

    def measure_steps(*_, **__):
        asked.append(1)
        raise FailedRunError(f"accelerated could not be measured: {cause}") from cause

    monkeypatch.setattr(form_trial, "measure_steps", measure_steps)
    first = choose(config(), max_seconds=limit)
    form_trial._KNOWN.clear()  # as in the next process
    again = choose(config(), max_seconds=limit)
    assert len(asked) == measured
    assert again.settings == first.settings
    assert again.why.startswith(first.why)


def test_nothing_is_measured_where_no_run_follows(trials):
    asked = trials(BOTH)
    assert choose(config(), measure=False).why.startswith("default; a run measures")
    assert not asked
    measured = choose(config())
    assert choose(config(), measure=False).settings == measured.settings


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null", "~/.cache", None])
def test_a_cache_that_cannot_be_written_does_not_matter(trials, tmp_path, monkeypatch, place):
    """The last two are those of a user without a home folder, in older and newer versions of platformdirs."""

    def user_cache_path(_name):
        if place is None:
            raise RuntimeError("could not determine the home directory")
        return Path(place)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", user_cache_path)
    asked = trials(BOTH)
    first = choose(config())
    assert first.settings["accelerate"] == "on"
    assert choose(config()) == first  # one process measures once, as for the runs of an ablation
    assert len(asked) == 1
    assert not list(tmp_path.iterdir())


def test_a_gpu_has_forms_compiled_by_xla():
    training = config(precision="auto", intra_op_threads="auto").training
    forms = form_trial._forms(training, has_gpu=True, is_small=True)
    assert len(forms) == 6
    default = form_trial._default(config(intra_op_threads="auto").training, has_gpu=True)
    assert (default.accelerate, default.jit_compile) == ("off", "on")
    assert forms[form_name(default)] == {
        "accelerate": "off",
        "precision": "float32",
        "jit_compile": "on",
        "intra_op_threads": 0,
    }


def test_settings_of_0_1_0_are_understood():
    assert load_config(options={"training.accelerate": True}).training.accelerate == "on"
    assert load_config(options={"training.accelerate": False}).training.accelerate == "off"


@pytest.mark.parametrize(("precision", "speed"), [("bfloat16", 0.25), ("mixed_bfloat16", 0.5)])
def test_bfloat16_on_a_machine_that_is_slow_with_it_is_warned_of(precision, speed, monkeypatch):
    monkeypatch.setattr(form_trial, "_bfloat16_speed", lambda: speed)
    with pytest.warns(UserWarning, match=rf"{1 / speed:.1f} times slower .* drop --precision {precision} to"):
        warn_of_slow_products(config(precision=precision).training)


@pytest.mark.parametrize(("precision", "speed"), [("bfloat16", 0.9), ("bfloat16", 7.0), ("float32", 0.25)])
def test_no_warning_where_bfloat16_is_not_slower(precision, speed, monkeypatch, recwarn):
    monkeypatch.setattr(form_trial, "_bfloat16_speed", lambda: speed)
    warn_of_slow_products(config(precision=precision).training)
    assert not recwarn


def test_a_plan_warns_of_slow_bfloat16(tiny_config, monkeypatch):
    monkeypatch.setattr(form_trial, "_bfloat16_speed", lambda: 0.25)
    slow = tiny_config.training.model_copy(update={"precision": "bfloat16"})
    with pytest.warns(UserWarning, match="4.0 times slower"):
        make_plan(tiny_config.model_copy(update={"training": slow}))
