"""TensorFlow keeps the number of threads that it starts with; the plan takes what is possible."""

import os

import pytest
from warm import run_code

BEGIN = """
import os
import tensorflow as tf
from keras_sepnets import SepnetsError
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.plan import make_plan
from keras_sepnets.acceleration.threads import settle_threads

def config(threads):
    return load_config(options={"training.intra_op_threads": threads, "training.epochs": 1})

def plan(threads):
    training = make_plan(config(threads)).config.training
    assert settle_threads(config("auto").training).intra_op_threads == training.intra_op_threads
    return training.intra_op_threads

def refusal(threads):
    try:
        make_plan(config(threads))
    except SepnetsError as error:
        return str(error)
"""
OPEN = """
assert settle_threads(config("auto").training).intra_op_threads == "auto"
assert plan(1) == plan("auto") == tf.config.threading.get_intra_op_parallelism_threads() == 1
assert "already started in this process, with training.intra_op_threads=1," in refusal(0)
"""
BEGUN = """
tf.constant(1)
assert plan("auto") == plan(0) == 0
assert "already started in this process, with training.intra_op_threads=0," in refusal(1)
"""
SET = """
assert plan("auto") == plan(2) == 2
"""


@pytest.mark.parametrize(
    ("program", "value"),
    [(OPEN, None), *(pytest.param(*case, marks=pytest.mark.long) for case in ((BEGUN, None), (SET, "2")))],
)
def test_tensorflow_keeps_the_threads_that_it_starts_with(program, value):
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    environment |= {"TF_NUM_INTRAOP_THREADS": value} if value else {}
    done = run_code(BEGIN + program, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
