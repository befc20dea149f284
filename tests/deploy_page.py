"""Pages for tests, and their scripts in node."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from keras_sepnets.deploy.html.operations import Operation, merge
from keras_sepnets.deploy.html.packing import pack
from keras_sepnets.deploy.html.page import HERE, INTERPRETER, render_page

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CARD = {
    "top1": 0.9,
    "interval": [0.8, 0.95],
    "majority": 0.5,
    "words": "of 10 pictures",
    "facts": [["Data", "digits"]],
    "notes": [],
    "sure": [[0.5, 8, 8]],
    "pictures": 10,
    "split": "test",
}


def about(classes, size, **rules):
    """Return what a page says of a network; its pictures are not cropped unless `rules` say so."""
    pixels = {"imageSize": size, "cropFraction": 1.0, "fit": "crop", "padding": 128.0} | rules
    return {"title": "digits", "summary": "digits", "classes": list(classes), "rules": pixels, "card": CARD}


def tiny_operations(size=4, classes=3):
    """Return the operations of a random network of one convolution, and its input's shape."""
    random = np.random.default_rng(0)
    picture = Operation("input", [], (size, size, 3))
    settings = {"window": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
    conv = Operation(
        "conv", [picture], (size, size, 5), settings, random.normal(0, 0.01, (3, 3, 3, 5)), np.ones(5)
    )
    mean = Operation("mean", [conv], (5,))
    dense = Operation("dense", [mean], (classes,), {}, random.normal(size=(5, classes)), np.zeros(classes))
    return merge(Operation("softmax", [dense], (classes,))), picture.shape


def tiny_page(classes=("a", "b", "c"), weights="float16"):
    """Return a page of such a network."""
    network = pack(*tiny_operations(classes=len(classes)), weights)
    return render_page(network, about(classes, 4))


def run_scripts(code, given):
    """Run the page's scripts and this code in node: `given` is the JSON on stdin, the answer what it returns."""
    scripts = "\n".join((HERE / name).read_text() for name in INTERPRETER)
    program = f"{scripts}\nconst given = JSON.parse(require('fs').readFileSync(0)); " + (
        f"console.log(JSON.stringify((() => {{ {code} }})()));"
    )
    answer = subprocess.run(
        ["node", "-e", program], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout)
