"""A run that was stopped, at whatever moment, ends like the run that was not, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta

import filelock
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from run_outcome import outcome
from scans import write_scans
from short_networks import short_networks
from stops import Signal, stop
from warm import start_sepnets

from keras_sepnets import Run, SepnetsError, train
from keras_sepnets.base.errors import InterruptedRunError
from keras_sepnets.cli import main
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.checkpoints import Checkpoints
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.loop import Position
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.saver import Saver
from keras_sepnets.training.trainer import extend, resume

pytestmark = pytest.mark.usefixtures("_short_networks")
STEPS, EPOCHS = 5, 2  # of 256 digits, or of 19 scans
NETWORKS = {
    "mobilenet": {"model.alpha": 0.0625, "model.shallow": True},
    "mobilenet_v2": {"model.name": "mobilenet_v2", "model.alpha": 0.0625, "data.image_size": 16},
    "xception": {
        "model.name": "xception",
        "model.alpha": 0.0625,
        "model.middle_repeats": 0,
        "data.image_size": 16,
    },
}
# Strong augmentation alone takes longer to trace than the rest of a run: scripts/stop_runs.py has it.
VARIED = {
    "model.dropout": 0.4, "training.ema_momentum": 0.9, "data.augmentation.mixup": 0.4, "data.augment": "light",
}  # fmt: skip
PLAIN = {"model.dropout": 0.0, "data.augment": "none"}
ACCELERATED = {"training.accelerate": "on", "training.precision": "bfloat16"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Settings of a data set that opens fast, with two batches of validation."""
    folder = write_scans(tmp_path_factory.mktemp("scans"), 240)
    return {"data.dataset": f"folder:{folder}", "data.holdout_fraction": 0.3, "training.batch_size": 19}


def config_of(network, *, varied, **more):
    options = {"data.image_size": 32, "training.epochs": EPOCHS, "training.batch_size": 256, **NETWORKS[network]}
    return load_config(options=options | (VARIED if varied else PLAIN) | more)


@pytest.mark.parametrize(
    ("network", "varied", "more", "signals"),
    [
        # In a step, in the last step, in the validation, and in the first step of the next epoch.
        ("mobilenet", True, {}, [Signal(0, 1), Signal(0, STEPS - 1), Signal(0), Signal(1, 0), Signal(1)]),
        pytest.param("mobilenet_v2", False, {}, [Signal(1, 1)], marks=pytest.mark.long),
        pytest.param("xception", True, ACCELERATED, [Signal(0, 2)], marks=pytest.mark.long),
    ],
    ids=["mobilenet", "mobilenet_v2", "xception"],
)
def test_stops_change_nothing(tmp_path, scans, network, varied, more, signals):
    config = config_of(network, varied=varied, **scans, **more)
    expected = outcome(train(config, output=tmp_path / "whole").run)
    run = stop(config, tmp_path / "stopped", *signals)
    assert not run.is_finished
    assert outcome(resume(run).run) == expected


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    with short_networks():
        return stop(config_of("mobilenet", varied=False), tmp_path_factory.mktemp("stopped") / "run", Signal(0, 3))


def test_a_run_that_another_process_trains_is_left_alone(stopped):
    with (
        filelock.FileLock(stopped.path / ".lock"),
        pytest.raises(SepnetsError, match="Another process is training"),
    ):
        resume(stopped)


def test_a_finished_run_cannot_be_resumed(finished):
    with pytest.raises(SepnetsError, match="The run is finished"):
        resume(finished.run)


def test_changed_data_are_refused(tiny_config, picture_folder, tmp_path):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    options = {"model.alpha": 0.0625, "data.image_size": 32, "data.dataset": f"folder:{folder}"}
    config = load_config(options=options | {"training.batch_size": 8, "training.epochs": 2})
    run = stop(config, tmp_path / "run", Signal(0, 1))
    (folder / "red" / "00.jpg").rename(folder / "red" / "other.jpg")
    with pytest.raises(SepnetsError, match="The data have changed since the run began"):
        resume(run)


@pytest.mark.long
@pytest.mark.usefixtures("_short_networks")
def test_a_run_continues_where_its_pictures_are_now(tiny_config, picture_folder, tmp_path):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    options = {"model.alpha": 0.0625, "data.image_size": 32, "data.dataset": f"folder:{folder}"}
    config = load_config(options=options | {"training.batch_size": 8, "training.epochs": 2})
    run = stop(config, tmp_path / "run", Signal(0, 1))
    others = shutil.copytree(folder, tmp_path / "others")
    for file in others.rglob("*.jpg"):
        file.write_bytes(file.read_bytes() + b"\0")  # the same names
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(SepnetsError, match="no longer where they were.*--dataset folder:PATH"):
        resume(run)
    with pytest.raises(SepnetsError, match="test has other pictures than before|train has other pictures"):
        resume(run, dataset=f"folder:{others}")
    with pytest.raises(SepnetsError, match="only picture files may be in another place"):
        resume(run, dataset="digits")
    assert run.config.data.dataset == f"folder:{folder}"
    result = CliRunner().invoke(main, ["train", "--resume", str(run.path), "--dataset", f"folder:{moved}"])
    assert result.exit_code == 0, result.stderr
    assert f"next: sepnets predict {run.path} PICTURE" in result.stdout
    assert " kB, " in result.stdout  # of weights
    assert run.config.data.dataset == run.read_json("data.json")["dataset"] == f"folder:{moved}"
    again = moved.rename(tmp_path / "again")
    arguments = ["--extend", str(run.path), "--epochs", "3", "--dataset", f"folder:{again}"]
    assert CliRunner().invoke(main, ["train", *arguments]).exit_code == 0
    assert run.config.data.dataset == run.read_json("evaluation-test.json")["dataset"] == f"folder:{again}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--alpha", "0.5"], "its model.alpha is 0.0625"),
        (["--set", "training.seed=3"], "its training.seed is 0"),
        (["--output", "x"], "leave out --output, --dry-run, --smoke, --print-config, --recipe"),
        (["--epochs", "0"], "training.epochs"),
    ],
)
def test_changed_settings_are_refused_by_name(stopped, arguments, sentence):
    result = CliRunner().invoke(main, ["train", "--resume", str(stopped.path), *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.long
def test_a_copy_of_a_checkpoint_beside_it_does_not_matter(stopped, tmp_path):
    run = Run(shutil.copytree(stopped.path, tmp_path / "run"))
    (newest,) = run.checkpoints_folder.iterdir()
    for name in (f"{newest.name}.bak", f"{newest.name} (copy)", "step-copy"):
        shutil.copytree(newest, newest.with_name(name))
    assert resume(run).run.is_finished
    assert len(list(run.checkpoints_folder.iterdir())) == 4
    only = Run(shutil.copytree(stopped.path, tmp_path / "only"))
    (newest,) = only.checkpoints_folder.iterdir()
    newest.rename(newest.with_name("step-00000003.bak"))
    assert not only.has_checkpoints


@pytest.mark.long
def test_the_newest_unfinished_run_is_found_and_latest_leads_to_the_newest(stopped, tmp_path, monkeypatch):
    monkeypatch.setenv("SEPNETS_RUNS", str(tmp_path))
    result = CliRunner().invoke(main, ["train", "--resume"])
    assert (result.exit_code, "no unfinished run" in result.stderr) == (2, True)
    shutil.copytree(stopped.path, tmp_path / "a")
    done = CliRunner().invoke(main, ["train", "--resume", "--dataset", "digits", "--json"])
    assert done.exit_code == 0, done.output
    assert Run(tmp_path / "a").is_finished
    config = load_config(options={"model.alpha": 0.0625, "data.image_size": 32})
    for number in (1, 2):
        Run.create(None, config)
        assert str((tmp_path / "latest").readlink()) == f"mobilenet-digits-{number}"


def test_a_finished_run_is_extended_on_the_longer_schedule(finished, tmp_path):
    run = Run(shutil.copytree(finished.run.path, tmp_path / "run"))
    run.write_json("evaluation-validation.json", {})  # of the shorter run
    with pytest.raises(SepnetsError, match="already has 1 epoch;"):
        extend(run, 1)
    (first,) = run.read_history()
    extend(run, 2)
    history = run.read_history()
    assert history[0] == first
    assert [row["epoch"] for row in history] == [1, 2]
    assert run.config.training.epochs == 2
    assert run.config.model.bn_momentum == finished.run.config.model.bn_momentum
    assert not (run.path / "evaluation-validation.json").exists()
    shutil.rmtree(run.checkpoints_folder)
    with pytest.raises(SepnetsError, match="no checkpoint to resume from"):
        extend(run, 3)
    assert run.is_finished  # what is refused changes nothing
    assert run.config.training.epochs == 2
    result = CliRunner().invoke(main, ["train", "--extend", str(run.path), "--epochs", "3", "--alpha", "1"])
    assert (result.exit_code, "and nothing else" in result.stderr) == (2, True)


def test_a_signal_before_the_first_step_ends_at_once_and_leaves_nothing(tmp_path, monkeypatch):
    def compile_slowly(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("went on")

    monkeypatch.setattr("keras_sepnets.training.plan.compile_model", compile_slowly)
    with pytest.raises(InterruptedRunError, match="nothing is saved"):
        train(config_of("mobilenet", varied=False), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "assignment", ["training.batch_size=auto", "training.ema_momentum=auto", "training.epochs=auto"]
)
def test_a_chosen_setting_may_be_given_again(stopped, assignment):
    arguments = ["train", "--resume", str(stopped.path), "--set", assignment, "--dry-run"]
    assert "leave out --output, --dry-run" in CliRunner().invoke(main, arguments).stderr  # nothing else is refused


@pytest.mark.draws
def test_a_signal_while_a_picture_is_drawn_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_sepnets.training.pictures.draw_pictures", lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(InterruptedRunError, match="nothing is saved"):
        train(config_of("mobilenet", varied=False), output=tmp_path / "run")


def test_settings_may_be_given_again_in_other_words(stopped, tmp_path):
    (tmp_path / "my.toml").write_text("[data.augmentation]\nflip = false\n[model]\nalpha = 0.0625\n")
    arguments = ["--config", str(tmp_path / "my.toml"), "--dataset", "digits", "--dry-run"]
    result = CliRunner().invoke(main, ["train", "--resume", str(stopped.path), *arguments])
    assert "leave out --output, --dry-run" in result.stderr  # nothing else is refused


def test_checkpoints_take_little_time_and_their_time_is_recorded(finished):
    written = finished.run.read_json("training.json")
    assert 0 < written["checkpoint_seconds"] < written["train_seconds"]


def test_a_run_says_where_its_time_went(finished, tmp_path):
    parts = finished.run.read_json("training.json")["seconds"]
    assert parts == finished.seconds
    assert parts.keys() == {
        "reading", "measuring", "building", "tracing", "training", "validation", "saving", "testing",
    }  # fmt: skip
    assert parts["tracing"] + parts["training"] + parts["validation"] < finished.train_seconds
    run = Run(shutil.copytree(finished.run.path, tmp_path / "run"))
    longer = extend(run, 2).seconds  # over both processes
    assert all(longer[part] > parts[part] for part in ("tracing", "training", "validation"))


@pytest.mark.long
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path, scans):
    """Whatever of its folder was written by then."""
    config = config_of("mobilenet", varied=False, **scans)
    expected = outcome(train(config, output=tmp_path / "whole").run)
    run = Run.create(tmp_path / "killed", make_plan(config).config)
    assert run.is_resumable
    run.write_csv("history.csv", [["epoch", "val_top1"], [1, 0.5]])  # just before its first checkpoint
    assert run.is_resumable
    assert outcome(resume(run).run) == expected
    assert run.has("environment.json")
    # With more epochs and no checkpoint something was deleted.
    shutil.rmtree(run.checkpoints_folder)
    (run.path / "training.json").unlink()
    assert not run.is_resumable
    with pytest.raises(SepnetsError, match="no checkpoint to resume from"):
        resume(run)


@pytest.mark.parametrize(
    ("every", "seconds", "step", "epoch_ends", "due"),
    [
        (3, 0, 6, False, True),
        (3, 0, 7, False, False),
        (3, 0, 7, True, True),
        (timedelta(minutes=10), 601, 7, False, True),
        (timedelta(minutes=10), 500, 7, False, False),
        (timedelta(minutes=10), 0, 10, True, True),
        (None, 301, 7, False, True),
        (None, 200, 7, False, False),
        (None, 200, 10, True, True),
        (None, 20, 10, True, False),  # it would cost more than 1 %
    ],
)
def test_when_a_checkpoint_is_due(monkeypatch, every, seconds, step, epoch_ends, due):
    position = Position(epoch=step // 5 if epoch_ends else 0, step=0 if epoch_ends else step)
    clock = Clock()
    clock.load_state_dict({"seconds": seconds})
    saver = Saver(None, None, position=position, clock=clock, steps_per_epoch=5, every=every)
    saver._last_time -= seconds
    saver._last_cost = 1.0  # second
    saved = []
    monkeypatch.setattr(saver, "save", lambda: saved.append(1))
    saver.save_if_due()
    assert bool(saved) == due


class Part:
    """Something with a state."""

    def load_state_dict(self, state):
        self.state = state


def test_the_state_of_an_older_checkpoint_is_read(tmp_path):
    """In which recorder and saver each kept a clock."""
    recorder = {
        "history": [{"epoch": 1}],
        "best": [0.5, -1.0],
        "best_epoch": 1,
        "images": 640,
        "image_seconds": 0.4,
    }
    old = {
        "position": {"epoch": 1, "step": 3, "logs": None},
        "recorder": recorder | {"seconds": 8.4},
        "checkpoint_seconds": 0.2,
        "seconds": 9.9,
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(8, {"model": [tf.Variable(1.0)]}, old)
    position, clock, part = Position(), Clock(), Part()
    saver = Saver(checkpoints, None, position=position, clock=clock, steps_per_epoch=5, others={"recorder": part})
    assert saver.load_newest().state == old
    assert (position, saver.step) == (Position(1, 3), 8)
    assert (clock.seconds, saver.seconds) == (8.4, 0.2)
    assert part.state == recorder


LONG = [
    "train", "--alpha", "0.0625", "--set", "model.shallow=true", "--image-size", "32", "--epochs", "500",
    "--batch-size", "19", "--accelerate", "on",  # without a trial of both forms
]  # fmt: skip
STEPS_OF_LONG = 10  # per epoch, of 192 scans


def start(output, scans, *arguments, warm=True):
    """Start a long training and return when an epoch is done; without `warm`, as the console script does.

    Only what is started warm can be resumed here, with a short network.
    """
    arguments = [*LONG, "--dataset", scans["data.dataset"], "--output", str(output), *arguments]
    if warm:
        process = start_sepnets(*arguments, quick=True)
    else:
        command = [sys.executable, "-m", "keras_sepnets", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch   1/500"):
            return process
    raise AssertionError(process.stderr.read())


@pytest.mark.long
def test_a_run_goes_on_when_nobody_reads_its_output_and_ends_with_its_terminal(tmp_path, scans):
    process = start(tmp_path / "run", scans)
    run = Run(tmp_path / "run")
    process.stdout.close()
    process.stderr.close()
    begin = len(run.read_history())
    deadline = time.monotonic() + 60
    while len(run.read_history()) < begin + 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)  # from the kernel and from the shell
    process.wait(60)
    assert process.returncode == 129
    assert run.is_resumable
    assert run.has_checkpoints


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_a_signal_ends_a_command_soon_and_its_last_line_says_how_to_resume(tmp_path, scans, number, code):
    process = start(tmp_path / "run", scans, warm=number == signal.SIGINT)
    process.send_signal(number)
    begin = time.perf_counter()
    _, errors = process.communicate(timeout=60)
    assert time.perf_counter() - begin < 20  # on a busy machine; a step and a save take half a second
    assert process.returncode == code
    assert errors.startswith(("Interrupted in epoch", "Terminated in epoch"))  # what the user wanted is no error
    assert errors.splitlines()[-1].endswith(f"resume with: sepnets train --resume {tmp_path / 'run'}")
    assert len(errors.splitlines()) == 1
    assert Run(tmp_path / "run").is_resumable


@pytest.mark.long
def test_kill_loses_at_most_what_came_after_the_last_checkpoint(tmp_path, scans):
    process = start(tmp_path / "run", scans, "--checkpoint-every", "1")
    time.sleep(0.3)
    process.kill()
    process.wait()
    run = Run(tmp_path / "run")
    steps = sorted(int(path.name.split("-")[1]) for path in run.checkpoints_folder.glob("step-*"))
    assert steps[-1] >= STEPS_OF_LONG
    epoch = steps[-1] // STEPS_OF_LONG + 1
    with pytest.raises(InterruptedRunError, match=r"Interrupted in epoch"):
        resume(run, callbacks=[Signal(epoch, 0, signal.SIGINT)])
    assert len(run.read_history()) == epoch
    assert np.isfinite([row["val_loss"] for row in run.read_history()]).all()
