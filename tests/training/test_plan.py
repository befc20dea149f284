"""What a plan settles: batch size by memory, epochs by time, momentums by steps."""

import json
import os
import re
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from warm import run_code

from keras_sepnets import Run, SepnetsError, train
from keras_sepnets.base.errors import FailedRunError, TimeUpError
from keras_sepnets.cli import main
from keras_sepnets.cli.plan import describe_faults
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.choices import Chosen, choose_warmup
from keras_sepnets.training.clock import TimeLimit
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.trainer import resume
from keras_sepnets.training.tuning import batch_size as module
from keras_sepnets.training.tuning import form as form_trial
from keras_sepnets.training.tuning.batch_size import Memory, choose_batch_size
from keras_sepnets.training.tuning.duration import Speed, Work

pytestmark = pytest.mark.usefixtures("_short_networks")
TINY = {
    "model.alpha": 0.0625,
    "model.shallow": True,
    "data.image_size": 32,
    "training.epochs": 1,
    "training.batch_size": 128,
    "training.accelerate": "on",  # so that no trial takes its time
    "training.precise_batch_norm": 0,
}


def fake_memory(monkeypatch, *, base, per_picture, budget, breaks_at=10**9):
    """Let a step of n pictures need base + n * per_picture bytes, and run out of memory from a size on."""
    asked = []

    def measure(_config, size, _classes):
        asked.append(size)
        return None if size >= breaks_at else Memory(base + size * per_picture, budget)

    monkeypatch.setattr(module, "_measure", measure)
    return asked


@pytest.mark.parametrize(
    ("budget", "num_examples", "expected"),
    [(1000, 10**6, 64), (10**6, 10**6, 512), (10**6, 1300, 64), (115, 10**6, 1), (10**6, 30, 1)],
)
def test_the_batch_is_what_two_measured_sizes_promise(monkeypatch, budget, num_examples, expected):
    asked = fake_memory(monkeypatch, base=100, per_picture=10, budget=budget)
    size, why = choose_batch_size(load_config(), classes=10, num_examples=num_examples)
    assert size == expected
    assert asked == [8, 32, expected]
    assert why.startswith("measured: a step takes")


def test_a_trial_that_does_not_fit_is_halved(monkeypatch):
    asked = fake_memory(monkeypatch, base=100, per_picture=1, budget=10**6, breaks_at=200)
    assert choose_batch_size(load_config(), classes=10, num_examples=10**6)[0] == 128
    assert asked == [8, 32, 512, 256, 128]
    fake_memory(monkeypatch, base=0, per_picture=1, budget=1, breaks_at=1)
    with pytest.raises(SepnetsError, match="Not even a batch of one picture fits"):
        choose_batch_size(load_config(), classes=10, num_examples=10**6)


@pytest.mark.long
@pytest.mark.usefixtures("_warm_workers")
def test_memory_is_measured_in_a_process_and_grows_with_the_batch():
    config = load_config(options=TINY | {"data.image_size": 64})
    small, large = (module._measure(config, size, 10) for size in (8, 256))
    assert large.needed > small.needed + 10e6
    assert small.budget > large.needed
    with pytest.raises(FailedRunError, match="could not be measured: .* Set --batch-size N"):
        module._measure(load_config(options=TINY | {"data.image_size": 1}), 8, 10)


def test_the_number_that_auto_chose_is_in_the_plan(monkeypatch):
    fake_memory(monkeypatch, base=0, per_picture=1, budget=10**9)
    plan = make_plan(load_config(options=TINY | {"training.batch_size": "auto"}))
    assert plan.config.training.batch_size == 64  # of 1293 pictures, for at least 20 steps
    assert "measured" in plan.chosen["training.batch_size"]


def test_epochs_that_fit_a_time():
    speed = Speed(beginning=10.0, step=0.1, evaluation=0.05, saving=0.5)
    once, epoch = 2 * 10 + 0.05 * 6 + 5, 0.1 * 100 + 0.05 * 4 + 1
    work = Work(steps=100, validation_batches=4, test_batches=6)
    assert speed.seconds_of(work, 2) == pytest.approx(1.1 * (once + 2 * epoch))
    assert speed.epochs_that_fit(1.1 * (once + 3.5 * epoch), work) == 3
    assert speed.epochs_that_fit(1.1 * (once + 0.99 * epoch), work) == 0
    assert speed.epochs_that_fit(-5.0, work) == 0
    # Features of 640 pictures are 10 more batches; 1,000 features for 10 classes: 6.4 million products.
    fitted = work.with_fitted_classifier((1000, 10), 640)
    more = 0.05 * 10 + 60 * 6.4e6 / 1e9
    assert speed.seconds_of(fitted) == pytest.approx(speed.seconds_of(work) + 1.1 * more)


@pytest.mark.long
def test_a_time_is_filled_or_is_the_limit_of_what_was_asked_for(monkeypatch):
    asked = []

    def measure(*_):
        asked.append(1)
        return Speed(beginning=1.0, step=0.1, evaluation=0.0, saving=0.0)

    monkeypatch.setattr("keras_sepnets.training.tuning.duration.measure_speed", measure)
    auto = load_config(options=TINY | {"training.epochs": "auto"})
    filled = make_plan(auto, max_seconds=1000.0)
    assert 700 < filled.epochs < 910  # a second each, less 10 % and the beginning
    assert filled.chosen["training.epochs"] == "what fits in 1,000 s, measured"
    assert make_plan(load_config(options=TINY), max_seconds=1000.0).epochs == 1
    assert 20 < make_plan(load_config(options=TINY | {"training.epochs": 500}), max_seconds=60.0).epochs < 50
    assert len(asked) == 3
    with pytest.raises(SepnetsError, match="training needs a time limit: --max-time"):
        make_plan(auto)
    begun = TimeLimit(1000.0, time.monotonic() + 300.0)  # 700 s ago
    assert 200 < make_plan(auto, max_seconds=begun).epochs < 273


def test_where_not_even_one_epoch_fits_one_sentence_says_so_and_nothing_is_written(monkeypatch, tmp_path):
    slow = Speed(beginning=20.0, step=1.0, evaluation=1.0, saving=1.0)
    monkeypatch.setattr("keras_sepnets.training.tuning.duration.measure_speed", lambda *_: slow)
    arguments = ["--alpha", "0.0625", "--image-size", "32", "--accelerate", "on", "--max-time", "60s"]
    result = CliRunner().invoke(main, ["train", *arguments, "--output", str(tmp_path / "run")])
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()[-1:]
    # 1.1 times: 20 s of tracing twice, 40 steps, 3 + 6 batches, 10 for batch norm's statistics, saved twice, 5 s
    needed = 1.1 * (2 * 20 + 40 + 3 + 6 + 10 + 2 + 5)
    found = float(re.search(r"it takes about ([\d.]+) s", sentence)[1])
    assert needed <= found < needed + 60
    assert sentence.startswith("Error: Not even one epoch fits into the time")
    assert sentence.endswith("Received: --max-time 60s")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("seconds", "batches"), [(10_000, 0), (600, 10)])
def test_only_runs_with_precise_statistics_are_charged_for_them(monkeypatch, seconds, batches):
    """An epoch has 40 steps of digits, so 600 s are a run of less than 300 steps, whose statistics lag behind."""
    speed = Speed(beginning=0.0, step=1.0, evaluation=10.0, saving=0.0)
    monkeypatch.setattr("keras_sepnets.training.tuning.duration.measure_speed", lambda *_: speed)
    options = {"training.batch_size": 32, "training.epochs": "auto", "training.precise_batch_norm": "auto"}
    begin = TimeLimit.of(seconds)
    plan = make_plan(load_config(options=TINY | options), max_seconds=begin)
    once, epoch = 10 * 6 + 5, 40 + 10 * (3 + batches)
    assert plan.config.training.precise_batch_norm == batches
    assert plan.epochs == pytest.approx((seconds / 1.1 - once) / epoch, abs=1, rel=0.02)


def test_the_speed_of_a_training_is_measured_and_its_epochs_fitted():
    plan = make_plan(load_config(options=TINY | {"training.epochs": "auto"}), max_seconds=3600.0)
    assert plan.epochs > 20
    fresh = make_plan(load_config(options=TINY))  # measuring leaves no trace in the weights
    for one, other in zip(plan.trained.trainable_variables, fresh.trained.trainable_variables, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()


def test_a_run_stops_at_its_time_limit_and_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_sepnets.training.plan.epochs_within", lambda *_: 400)
    config = load_config(options=TINY | {"training.epochs": 400})
    with pytest.raises(TimeUpError, match=r"Time ran out in epoch \d+.*sepnets train --resume") as caught:
        train(config, output=tmp_path / "run", max_seconds=12.0)
    assert caught.value.exit_code == 124
    run = Run.open(tmp_path / "run")
    assert run.is_resumable
    with pytest.raises(TimeUpError):
        resume(run, max_seconds=0.1)


def refuse_to_work(*_, **__):
    raise AssertionError("the mistake was noticed too late")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model.name": "inception_v3", "data.image_size": 74}, "needs pictures of at least 75x75 px"),
        ({"model.alpha": 1e-9}, "alpha is too small"),
        ({"transfer.weights": "imagenet", "transfer.freeze": "block77"}, 'mobilenet has no stage "block77"'),
        ({"transfer.weights": "imagenet", "model.alpha": 0.3}, "published for alpha"),
        ({"transfer.weights": "nowhere"}, "These weights do not exist"),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_data_are_opened(monkeypatch, options, sentence):
    monkeypatch.setattr("keras_sepnets.training.plan.open_data", refuse_to_work)
    with pytest.raises(SepnetsError, match=sentence):
        make_plan(load_config(options={"model.alpha": 1.0, "training.accelerate": "on", **options}))


def test_weights_in_the_home_folder_are_found(finished, monkeypatch):
    monkeypatch.setenv("HOME", str(finished.run.path.parent))
    weights = {"transfer.weights": f"~/{finished.run.path.name}", "model.shallow": True}
    plan = make_plan(load_config(options=TINY | weights))
    assert plan.config.transfer.weights == str(finished.run.path)
    assert plan.load_report.fresh == ()


@pytest.mark.parametrize("threads_are_open", [False, True])
def test_too_many_pictures_to_overfit_are_refused_before_a_trial(monkeypatch, threads_are_open):
    if threads_are_open:  # then only the sizes of the splits are known
        monkeypatch.setattr("keras_sepnets.training.plan.accept_threads", lambda config: Chosen(config, {}))
        monkeypatch.setattr("keras_sepnets.training.plan.Splits", refuse_to_work)
    monkeypatch.setattr("keras_sepnets.training.choices.choose_form", refuse_to_work)
    count = 1437 if threads_are_open else 1293  # less what is held out, which is known when labels are read
    options = TINY | {"data.overfit": count, "training.accelerate": "auto"}
    with pytest.raises(SepnetsError, match=f"only {count} training pictures"):
        make_plan(load_config(options=options))


KEEPS_THREADS_OPEN = """
import sys
from keras_sepnets.acceleration.threads import settle_threads
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.checks import check_network
config = load_config(options={"data.dataset": f"folder:{sys.argv[1]}", "data.image_size": 32})
check_network(config)
Splits(open_source(config.data.dataset), config.data.model_copy(update={"crop_fraction": 1.0}))
print(settle_threads(config.training).intra_op_threads)
"""


def test_checks_and_picture_files_leave_the_number_of_threads_open(picture_folder):
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    done = run_code(KEEPS_THREADS_OPEN, picture_folder, env=environment)
    assert done.stdout.strip() == "auto", done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400)]
)
def test_times_are_read(text, seconds):
    from keras_sepnets.cli.parameter_types import Duration

    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-time", "soon"], "'soon' is not a time; write it as 2h"),
        (["--max-time", "0s"], "is not a time"),
        (["--batch-size", "some"], "neither an integer nor auto"),
        (
            ["--batch-size", "0"],
            "training.batch_size: Input should be greater than or equal to 1 or input",
        ),
        (["--checkpoint-every", "0"], "at least 1 step apart"),
        (["--checkpoint-every", "often"], "write it as 2h"),
        (["--overfit", "5000", "--accelerate", "on"], "only 1293 training pictures"),
        (["--recipe", "finetun"], 'Did you mean "finetune"?'),
    ],
)
def test_mistakes_are_reported_in_one_sentence(arguments, sentence):
    result = CliRunner().invoke(main, ["train", *arguments, "--dry-run"])
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr


def test_a_run_without_an_epoch_is_refused():
    with pytest.raises(SepnetsError, match="No epoch is left to train; raise training.stop_after"):
        make_plan(load_config(options=TINY | {"training.epochs": 3, "training.stop_after": 0.1}))


@pytest.mark.long
def test_some_pictures_can_be_learned_by_heart(tmp_path):
    """At full width, which two blocks need for it."""
    arguments = [
        "--alpha", "1", "--image-size", "32", "--overfit", "16", "--epochs", "24", "--json",
        "--output", str(tmp_path / "run"),
    ]  # fmt: skip
    done = CliRunner().invoke(main, ["train", *arguments])
    assert "overfit: the network learned its 16 pictures by heart" in done.stderr, done.stderr
    assert json.loads(done.stdout)["test"]["num_examples"] == 16
    run = Run.open(tmp_path / "run")
    data = run.read_json("data.json")
    assert data["train"] == data["validation"] == data["test"]
    assert data["test"]["from"] == "the same pictures of train for everything"


def test_every_part_of_a_run_is_tried_on_a_batch_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--alpha",
        "0.0625",
        "--image-size",
        "32",
        "--set",
        "training.ema_momentum=0.9",
        "--smoke",
        "--json",
    ]
    done = CliRunner().invoke(main, ["train", *arguments])
    assert done.exit_code == 0, done.output
    steps = json.loads(done.stdout)["steps"]
    assert [step["name"] for step in steps] == ["data", "train", "validate", "resume", "evaluate"]
    assert "bit-identical" in steps[3]["outcome"]
    assert list(tmp_path.iterdir()) == []


def test_a_smoke_run_finds_what_breaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_sepnets.training.smoke.Checkpoints.restore", lambda *_: None)
    done = CliRunner().invoke(main, ["train", "--alpha", "0.0625", "--image-size", "32", "--smoke"])
    assert (done.exit_code, "differs from the one that was saved" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("epochs", "unfreeze_after", "warmup", "expected"),
    [
        (12, 0, 1.0, 1.0),
        (1, 0, 1.0, 0.5),  # it would end with the run
        (5, 0, 5.0, 2.5),
        (4, 0, 5.0, 2.0),
        (4, 0, 3.9, 3.9),
        (6, 5, 1.0, 0.5),  # one epoch follows the unfreezing
        (6, 1, 1.0, 1.0),  # the recipe finetune, whose frozen epoch is all warm-up
        (9, 2, 3.0, 1.0),
        (0, 0, 1.0, 1.0),
    ],
)
def test_a_warm_up_leaves_time_for_the_schedule(epochs, unfreeze_after, warmup, expected):
    options = {"training.epochs": epochs, "training.warmup_epochs": warmup}
    options |= {"transfer.unfreeze_after": unfreeze_after, "transfer.classifier": "fitted"}
    config, reasons = choose_warmup(load_config(options=options))
    assert config.training.warmup_epochs == expected
    assert bool(reasons) == (expected != warmup)
    assert choose_warmup(config) == (config, {})  # so that a run that starts again has the same schedule


def test_a_shorter_warm_up_has_its_reason_in_the_plan():
    plan = make_plan(load_config(options=TINY))
    assert plan.chosen["training.warmup_epochs"] == "half of the run; 1 epoch would be all of it"


def test_a_run_that_goes_on_keeps_its_schedule():
    plan = make_plan(load_config(options=TINY), load_weights=False)
    assert plan.config.training.warmup_epochs == 1.0


def planned(*phases, steps=10, weights=None, momentum=0.9, precise=0):
    """As much of a plan as its notes need; phases are given by their ends."""
    begins = (0, *phases)
    return SimpleNamespace(
        phases=tuple(SimpleNamespace(begin=begin, end=end) for begin, end in zip(begins, phases, strict=False)),
        epochs=phases[-1],
        last_epoch=phases[-1],
        steps_per_epoch=steps,
        config=SimpleNamespace(
            transfer=SimpleNamespace(weights=weights),
            training=SimpleNamespace(precise_batch_norm=precise),
            model=SimpleNamespace(bn_momentum=momentum),
        ),
    )


def test_a_plan_says_what_will_not_work():
    assert describe_faults(planned(6, precise=4)) == []
    assert describe_faults(planned(6)) == []  # 0.9^60 is 0.2 %
    (lag,) = describe_faults(planned(1))
    assert lag.startswith("at the end, 35% of batch norm's statistics are still what they started with")
    (short,) = describe_faults(planned(5, 6, weights="imagenet"))
    assert short.startswith("only 10 steps follow the unfreezing")
    assert describe_faults(planned(3, 6, weights="imagenet")) == []


@pytest.mark.parametrize(("arguments", "asked"), [([], 0), (["--accelerate", "auto"], 1)])
def test_a_dry_run_measures_only_if_it_is_asked_to(monkeypatch, tmp_path, arguments, asked):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def measure_steps(*_, **__):
        calls.append(1)
        raise FailedRunError("no")

    monkeypatch.setattr(form_trial, "measure_steps", measure_steps)
    options = ["--alpha", "0.0625", "--image-size", "32", "--epochs", "500", *arguments]
    result = CliRunner().invoke(main, ["train", *options, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert len(calls) == asked
    assert ("default; a run measures" in result.stdout) == (not asked)


WITHOUT_HOME = """
import pwd, sys, tempfile
from keras_sepnets.cli import main
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid, tempfile.tempdir = unknown, None
main(sys.argv[1:], prog_name="sepnets")
"""


def test_a_user_without_a_home_folder_plans_runs(tmp_path):
    """As in a container with an unknown user: no HOME, and no line in /etc/passwd."""
    unset = ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "TFDS_DATA_DIR")
    settings = {name: value for name, value in os.environ.items() if name not in unset}
    place, temporary = tmp_path / "place", tmp_path / "temporary"
    place.mkdir()
    weights = temporary / ".keras" / "models" / "mobilenet_2_5_128_tf_no_top.h5"
    weights.parent.mkdir(parents=True)
    weights.write_text("not what is published")
    plan = ["train", "--dry-run", "--alpha", "0.25", "--image-size", "128", "--epochs", "500"]
    options = {"env": settings | {"TMPDIR": str(temporary)}, "cwd": place}
    ready = run_code(WITHOUT_HOME, *plan, **options)
    assert ready.returncode == 0, ready.stderr
    for given in ("imagenet", "~/weights.h5"):
        refused = run_code(WITHOUT_HOME, *plan, "--weights", given, **options)
        assert refused.returncode == 2
        *_, sentence = refused.stderr.splitlines()
        assert sentence.startswith(("Error: This is not the file published", "Error: These weights do not exist"))
    assert not list(place.iterdir())
