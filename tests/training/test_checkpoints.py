"""A checkpoint survives a kill at any moment, a full disk and damage: what is not whole is named and not used."""

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from warm import start_code

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.training import checkpoints as module
from keras_sepnets.training.checkpoints import Checkpoints


def variables(value=0.0):
    return {"model": [tf.Variable(tf.fill([50, 7], value)), tf.Variable([value] * 3)], "step": [tf.Variable(7)]}


def values(group):
    return [variable.numpy().tolist() for part in group.values() for variable in part]


def save_three(folder):
    """Save the steps 1, 2 and 3 and return the folder's checkpoints."""
    checkpoints = Checkpoints(folder)
    for step in (1, 2, 3):
        checkpoints.save(step, variables(float(step)), {"step": step})
    return checkpoints


def restored(folder):
    found = variables()
    state = Checkpoints(folder).restore(found)
    assert values(found) == values(variables(float(state["step"])))
    return state["step"]


def test_two_are_kept_and_the_newest_is_restored(tmp_path):
    save_three(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    assert restored(tmp_path) == 3


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    found = variables(5.0)
    assert Checkpoints(tmp_path / "none").restore(found) is None
    assert values(found) == values(variables(5.0))


def test_the_same_step_may_be_saved_again(tmp_path):
    checkpoints = save_three(tmp_path)
    for value in (30.0, 31.0, 32.0):
        checkpoints.save(3, variables(value), {"step": value})
        assert restored(tmp_path) == value
    assert len(list(tmp_path.iterdir())) == 2
    checkpoints.save(4, variables(4.0), {"step": 4})
    assert restored(tmp_path) == 4


def test_variables_of_other_shapes_are_refused(tmp_path):
    save_three(tmp_path)
    other = variables() | {"step": [tf.Variable([1, 2])]}
    with pytest.raises(FailedRunError, match="cannot be read, or holds other variables"):
        Checkpoints(tmp_path).restore(other)


def newest_files(folder):
    return sorted((folder / "step-00000003").iterdir())


def do_damage(file, damage, place):
    """Damage a file of the newest checkpoint from a place on; one that is swapped comes from the one before."""
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[:place])
    elif damage == "zeroed tail":
        place = min(place, len(content.rstrip(b"\0")) - 1)
        file.write_bytes(content[:place] + bytes(len(content) - place))
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes((file.parent.with_name("step-00000002") / file.name).read_bytes())


def test_every_bit_counts(tmp_path):
    """Of 1,000 single flipped bits, spread over all files, every one is noticed."""
    save_three(tmp_path / "whole")
    random = np.random.default_rng(0)
    files = newest_files(tmp_path / "whole")
    for number in range(1000):
        file = files[number % len(files)]
        content = bytearray(file.read_bytes())
        place = random.integers(len(content))
        content[place] ^= 1 << random.integers(8)
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises((ValueError, OSError)):
            module._verify(file.parent)
        file.write_bytes(whole)
    assert module._verify(files[0].parent) == {"step": 3}


@pytest.mark.parametrize(
    ("damage", "count"), [("truncated", 200), ("zeroed tail", 200), ("missing", 50), ("swapped", 50)]
)
def test_all_damage_is_noticed(tmp_path, damage, count):
    """Of the newest checkpoint's files; those that are swapped come from the checkpoint before."""
    checkpoints = Checkpoints(tmp_path / "whole")
    for step in (1, 2, 3):  # other sizes, so that no two files are the same
        checkpoints.save(step, {"model": [tf.Variable(tf.fill([step, 99], float(step)))]}, {"step": step})
    random = np.random.default_rng(2)
    files = newest_files(tmp_path / "whole")
    for number in range(count):
        file = files[number % len(files)]
        whole = file.read_bytes()
        do_damage(file, damage, int(random.integers(len(whole) - 1)))
        with pytest.raises(ValueError, match=r"is missing|is damaged"):
            module._verify(file.parent)
        file.write_bytes(whole)
    assert module._verify(files[0].parent) == {"step": 3}


@pytest.mark.parametrize("damage", ["truncated", "zeroed tail", "missing", "swapped"])
def test_damage_is_named_and_the_checkpoint_before_is_used(tmp_path, damage):
    save_three(tmp_path / "whole")
    count = len(newest_files(tmp_path / "whole"))
    random = np.random.default_rng(1)
    for number in range(12):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / f"{damage}-{number}")
        file = newest_files(folder)[number % count]
        whole = file.read_bytes()
        do_damage(file, damage, int(random.integers(len(whole) - 1)))
        if damage == "swapped" and file.read_bytes() == whole:  # the index of equal shapes is the same
            continue
        with pytest.warns(match=r"A checkpoint is damaged, so the one before it is used: .*step-00000003"):
            assert restored(folder) == 2
        Checkpoints(folder).save(5, variables(5.0), {"step": 5})  # beside it the whole one is kept
        assert {path.name for path in folder.glob("step-*")} == {"step-00000002", "step-00000005"}


def test_where_no_checkpoint_is_whole_each_is_named(tmp_path):
    save_three(tmp_path)
    for file in tmp_path.rglob("state.json"):
        file.write_text("{}")
    with pytest.raises(FailedRunError, match=r"Every checkpoint is damaged; start a new run: .*00003.*00002"):
        Checkpoints(tmp_path).restore(variables())


@pytest.mark.parametrize("call", range(7))
def test_a_full_disk_at_any_moment_of_a_save_leaves_the_checkpoint_before(tmp_path, monkeypatch, call):
    checkpoints = save_three(tmp_path)
    calls = []

    def failing(original):
        def sync(path):
            calls.append(path)
            if len(calls) > call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(path)

        return sync

    monkeypatch.setattr(module, "sync_file", failing(module.sync_file))
    monkeypatch.setattr(module, "sync_folder", failing(module.sync_folder))
    try:
        checkpoints.save(4, variables(4.0), {"step": 4})
    except FailedRunError as error:
        assert "are needed and" in str(error)
        assert "step-0000000" in str(error)
    assert len(calls) > call or call >= 6
    assert restored(tmp_path) in (3, 4)
    assert not list(tmp_path.glob("tmp-*"))


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        (
            tf.errors.PermissionDeniedError,
            "{{function_node __wrapped__SaveV2_dtypes_2_device_/job:localhost/device:CPU:0}} "
            "/run/variables; Read-only file system [Op:SaveV2] name: ",
            "/run/variables; Read-only file system",
        ),
        (
            tf.errors.ResourceExhaustedError,
            "{{function_node __wrapped__SaveV2}} /run/variables; No space left on device [Op:SaveV2]",
            r"/run/variables; No space left on device: about 1.4 kB are needed and [\d.]+ \wB are free",
        ),
        (tf.errors.FailedPreconditionError, "/run is gone", "/run is gone"),
    ],
)
def test_a_failed_save_says_why_and_only_of_a_full_disk_how_much_is_needed(
    tmp_path, monkeypatch, kind, message, reason
):
    checkpoints = save_three(tmp_path)

    def fail(*_):
        raise kind(None, None, message)

    monkeypatch.setattr(module, "_write", fail)
    sentence = rf"^The checkpoint could not be written: {reason}. The previous one is intact: \S+/step-00000003$"
    with pytest.raises(FailedRunError, match=sentence):
        checkpoints.save(4, variables(4.0), {"step": 4})
    assert restored(tmp_path) == 3


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_on_a_small_disk_no_checkpoint_is_ever_lost(tmp_path):
    """60 levels of free space, from too little for anything to enough."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        refused = 0
        checkpoints = save_three(tmp_path / "run")
        for level in range(60):
            (tmp_path / "filler").unlink(missing_ok=True)
            free = shutil.disk_usage(tmp_path).free
            (tmp_path / "filler").write_bytes(bytes(max(0, free - 4096 * (level // 3))))
            before = restored(tmp_path / "run")
            try:
                checkpoints.save(before + 1, variables(before + 1.0), {"step": before + 1})
            except FailedRunError as error:
                refused += 1
                assert "are needed and" in str(error)
            assert restored(tmp_path / "run") in (before, before + 1)
            assert not list((tmp_path / "run").glob("tmp-*"))
        assert 5 < refused < 55
    finally:
        subprocess.run(["umount", tmp_path], check=True)


SAVE_ON_AND_ON = """
import sys, tensorflow as tf
from keras_sepnets.training.checkpoints import Checkpoints
checkpoints, step = Checkpoints(sys.argv[1]), 0
value = tf.Variable(tf.zeros([500_000]))
found = checkpoints.restore({"model": [value]})
step = found["step"] if found else 0
assert (value.numpy() == step).all(), (step, value)
checkpoints.remove_unfinished()
print("ready", step, flush=True)
while True:
    step += 1
    value.assign(tf.fill([500_000], float(step)))
    checkpoints.save(step, {"model": [value]}, {"step": step})
    print("saved", step, flush=True)
"""


def test_no_kill_loses_a_checkpoint(tmp_path):
    """Ten SIGKILLs, most of them while a checkpoint is being written; each new process verifies what it finds."""
    random = np.random.default_rng(3)
    saved = inside = 0
    for _ in range(10):
        process = start_code(SAVE_ON_AND_ON, tmp_path)
        word, step = process.stdout.readline().split()
        assert (word, int(step) >= saved) == ("ready", True), process.stderr.read()
        for _ in range(random.integers(1, 4)):
            saved = int(process.stdout.readline().split()[1])
        time.sleep(random.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for line in process.stdout:
            if line.startswith("saved ") and line.endswith("\n"):  # the last one may have been cut
                saved = int(line.split()[1])
        inside += bool(list(Path(tmp_path).glob("tmp-*")))
    assert inside >= 5
    found = tf.Variable(tf.zeros([500_000]))
    assert Checkpoints(tmp_path).restore({"model": [found]})["step"] >= saved
