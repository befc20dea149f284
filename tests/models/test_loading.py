"""Files that claim more than they hold, or hold what is no number."""

import json
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from keras_sepnets import SepnetsError, build_mobilenet
from keras_sepnets.models import archives
from keras_sepnets.models.loading import load_network

SIZE = {"alpha": 0.25, "input_shape": (32, 32, 3), "classes": 2}


def small():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])


@pytest.fixture
def file(tmp_path):
    small().save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


def rewritten(file, *, config=None, weights=None, extra=None):
    """Write the file again, with other members, all compressed."""
    with zipfile.ZipFile(file) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members |= {"config.json": config or members["config.json"]}
    members |= {"model.weights.h5": weights or members["model.weights.h5"], **(extra or {})}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return file


def array_of_zeros(tmp_path, shape):
    """Return a weight file of zeros, which HDF5 compresses."""
    with h5py.File(tmp_path / "zeros.h5", "w") as zeros:
        variables = zeros.create_group("layers/dense/vars")
        variables.create_dataset("0", shape, dtype="float32", chunks=True, compression="gzip")
        variables.create_dataset("1", (3,), dtype="float32")
    return (tmp_path / "zeros.h5").read_bytes()


def refused(file):
    for read in (load_network, lambda path: build_mobilenet(**SIZE, weights=path)):
        with pytest.raises(SepnetsError, match=r"would become .* in memory, which real weights do not") as caught:
            read(file)
        assert "\n" not in str(caught.value)


def test_a_compressed_network_is_loaded(file):
    assert load_network(rewritten(file)).count_params() == 15


def test_a_member_that_unpacks_to_far_more_is_refused(file, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_JSON", 2**20)
    refused(rewritten(file, extra={"assets/zeros": bytes(2**23)}))


def test_arrays_that_unpack_to_far_more_are_refused(file, tmp_path):
    refused(rewritten(file, weights=array_of_zeros(tmp_path, (2**15, 2**13))))


def test_layers_that_need_far_more_than_the_file_has_are_refused(file):
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][-1]["config"]["units"] = 2**26
    with pytest.raises(SepnetsError, match="would become 1.3 GB in memory"):
        load_network(rewritten(file, config=json.dumps(config)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_weights_that_are_no_finite_numbers_are_refused(value, suffix, tmp_path):
    model = build_mobilenet(**SIZE)
    layer = model.get_layer("block3_pointwise_bn")
    layer.moving_mean.assign([value, *np.zeros(layer.moving_mean.shape[0] - 1)])
    path = tmp_path / f"diverged{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    sentence = r"weights that are NaN or infinite, first in .*block3_pointwise_bn.*use an earlier file"
    with pytest.raises(SepnetsError, match=sentence + ".*" + re.escape(str(path))):
        build_mobilenet(**SIZE, weights=path)
    if suffix == ".keras":
        with pytest.raises(SepnetsError, match=sentence):
            load_network(path)
