"""Builders, cost and weights on another backend of Keras than TensorFlow, in a process of their own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from keras_sepnets import build_mobilenet, count_cost

options = {"input_shape": (32, 32, 3), "classes": 3, "alpha": 0.25, "shallow": True}
model = build_mobilenet(**options)
model.save_weights("a.weights.h5")
model.save("a.keras")
for file in ("a.weights.h5", "a.keras"):
    loaded = build_mobilenet(**options, weights=file)
    assert not loaded.load_report.fresh
    assert all((ours == theirs).all() for ours, theirs in zip(model.get_weights(), loaded.get_weights()))
assert count_cost("a.keras").multiply_adds == count_cost(model).multiply_adds
print(count_cost(model).multiply_adds, "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_builders_cost_and_weights_need_no_tensorflow(backend, tmp_path):
    pytest.importorskip(backend)
    from keras_sepnets import build_mobilenet, count_cost

    expected = count_cost(build_mobilenet(input_shape=(32, 32, 3), classes=3, alpha=0.25, shallow=True))
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    assert answer.stdout.split() == [str(expected.multiply_adds), "False"]
