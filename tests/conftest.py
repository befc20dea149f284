"""Shared by all tests: a data folder of their own, no TensorFlow chatter, one small finished run."""

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # pytest-xdist runs one process per core
# TFDS reads this when it is imported, which test modules do while they are collected.
os.environ["TFDS_DATA_DIR"] = tempfile.mkdtemp(prefix="tensorflow_datasets-")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="cache-")

import hypothesis
import numpy as np
import pytest
from PIL import Image
from short_networks import short_networks
from warm import WarmModule

from keras_sepnets import Run
from keras_sepnets.settings.files import load_config

WRITE_PICTURE = Run.write_picture

# Files whose tests take longest come first, so that no worker is left alone with one of them at the end.
LONG = [
    "test_kills", "test_resume", "test_pipeline", "test_twin", "test_plan", "test_transfer", "test_trainer",
    "test_commands", "test_end_to_end", "test_folds", "test_stores", "test_ablation", "test_weights",
    "test_optimization", "test_docs", "test_learning_rate", "test_recognition", "test_steps", "test_form",
]  # fmt: skip

# A shell lets what it starts in the background ignore Ctrl-C, and nohup SIGHUP; some tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
hypothesis.settings.register_profile("slow machines", deadline=None)
hypothesis.settings.load_profile("slow machines")
gc.set_threshold(10_000, 20, 20)  # TensorFlow keeps millions of objects: search them less often


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests with the mark `long`, too")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("long"):
        left_out = [item for item in items if "long" in item.keywords]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if "long" not in item.keywords]
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(Path(item.path).stem, len(LONG)))  # others stay in their order


def pytest_unconfigure():
    for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME"):
        shutil.rmtree(os.environ[name], ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_config():
    """The smallest MobileNet on digits: an epoch takes a second or two."""
    return load_config(
        options={
            "model.alpha": 0.0625,
            "model.shallow": True,
            "data.image_size": 32,
            "training.epochs": 1,
            "training.batch_size": 128,
            "training.precise_batch_norm": 0,  # tests of it and of resuming switch it on
        }
    )


@pytest.fixture(autouse=True)
def _undrawn(request, monkeypatch):
    """Draw the pictures of a run only in tests with the mark `draws`: they are a third of a tiny training."""
    if "draws" not in request.keywords:
        monkeypatch.setattr(Run, "write_picture", lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def _decode_digits_once():
    """Share the decoded digits between all tests of a process; most trainings in tests use them."""
    from keras_sepnets.data.batches.stores import RecordStore
    from keras_sepnets.data.sources.tfds import TfdsSource

    decode, index, shared = RecordStore.examples, TfdsSource.index, {}

    def share(source, key, find):
        if not source.name.startswith("digits:"):
            return find()
        key = (source.fingerprint, *key)
        if key not in shared:
            shared[key] = find()
        return shared[key]

    def examples(store, split, chosen):
        find = partial(decode, store, split, chosen)
        if not store._in_memory:
            return find()
        return share(store._source, (split, store._rules.key, None if chosen is None else chosen.tobytes()), find)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordStore, "examples", examples)
        patch.setattr(
            TfdsSource, "index", lambda source, split: share(source, (split,), partial(index, source, split))
        )
        yield


@pytest.fixture
def _warm_workers(monkeypatch):
    """Start the processes of trials with TensorFlow imported; see warm.py."""
    from keras_sepnets.training.tuning import workers

    monkeypatch.setattr(workers, "subprocess", SimpleNamespace(Popen=WarmModule, PIPE=subprocess.PIPE))


@pytest.fixture
def _short_networks():
    """Build networks of a few blocks in this test; see short_networks.py."""
    with short_networks():
        yield


@pytest.fixture(scope="session")
def finished(tiny_config, tmp_path_factory):
    """The result of a finished run of a short network, with its pictures; tests write nothing into it."""
    from keras_sepnets.training.trainer import train

    with short_networks(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "write_picture", WRITE_PICTURE)
        return train(tiny_config, output=tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """Three classes of 20 coloured JPEG pictures each, not split, of various sizes."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for number, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir()
        for index in range(20):
            pixels = random.integers(0, 60, (40 + index, 70 - index, 3), dtype=np.uint8)
            pixels[..., 2 - number] += 150
            Image.fromarray(pixels).save(root / name / f"{index:02d}.jpg")
    return root
