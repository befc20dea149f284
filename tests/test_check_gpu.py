"""What scripts/check_gpu.py makes of its measurements; measuring itself needs a GPU to be of use."""

import json
import os
import tomllib
from pathlib import Path

import check_gpu
import measure_on_device
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SPEED = {"images_per_second": 1234.5, "lowest": 1000.0, "highest": 2000.0, "first_round_seconds": 21.8}
FOUND = {"training": SPEED, "inference": SPEED, "off_the_cpu": {"as_trained": 1e-3, "full_float32": 2e-6}}


def test_difference_is_relative_to_the_largest_value():
    assert measure_on_device.difference(np.array([1.0, -3.5]), np.array([1.5, -4.0])) == pytest.approx(0.5 / 4)


def test_rounds_that_may_compile_do_not_count():
    found = measure_on_device.summarize([0.0, 30.0, 40.0, 42.0, 46.0, 47.0], pictures=80)
    assert (found["images_per_second"], found["lowest"], found["highest"]) == (40, 20, 80)
    assert (found["rounds"], found["first_round_seconds"]) == (3, 30)


def test_measuring_goes_on_for_three_rounds_and_the_time_given():
    times = [0.0, 30.0, 40.0, 42.0, 46.0]
    assert not measure_on_device.enough(times, seconds=1.0)
    assert measure_on_device.enough([*times, 47.0], seconds=1.0)
    assert not measure_on_device.enough([*times, 47.0], seconds=8.0)


def test_table_says_how_fast_and_what_failed():
    rows = check_gpu.rows_of(
        {"mobilenet": {"float32": FOUND, "mixed_bfloat16": {"failed": "not done after 75 s"}}}
    )
    speed = "1,234 (1,000 to 2,000)"
    assert rows == [
        ["mobilenet", "float32", speed, speed, "22 s", "1e-03 / 2e-06"],
        ["mobilenet", "mixed_bfloat16", "not done after 75 s", "", "", ""],
    ]


def test_failures_and_other_outputs_are_faults():
    other = FOUND | {"off_the_cpu": {"as_trained": 1e-3, "full_float32": 3e-4}}
    unknown = FOUND | {"off_the_cpu": {"failed": "ValueError: no"}}
    assert check_gpu.faults_of({"mobilenet": {"float32": FOUND}}) == []
    assert check_gpu.faults_of({"mobilenet": {"float32": other}, "xception": {"float32": unknown}}) == [
        "mobilenet: the outputs are 3e-04 off the CPU's",
        "xception in float32: ValueError: no",
    ]


@pytest.mark.parametrize(
    ("program", "limit", "failed"),
    [("import time; time.sleep(60)", 0.3, "not done after 0.3 s"), ("exit(3)", 30, "ended with code 3")],
)
def test_a_process_that_hangs_or_dies_is_a_failure(program, limit, failed, tmp_path, monkeypatch):
    (tmp_path / "measure_on_device.py").write_text(program)
    monkeypatch.setattr(check_gpu, "__file__", str(tmp_path / "check_gpu.py"))
    assert failed in check_gpu.run_apart({"limit": limit}, {})["failed"]


def test_every_network_is_checked():
    from keras_sepnets.models.registry import NETWORKS

    assert check_gpu.NETWORKS.keys() == NETWORKS.keys()


def test_flags_of_the_user_are_kept():
    assert check_gpu.XLA_FLAGS.startswith(os.environ.get("XLA_FLAGS", ""))


def test_report_and_docs_say_what_was_recorded():
    folder = ROOT / "experiments" / "gpu_jax"
    recorded = json.loads((folder / "networks.json").read_text())
    pages = [(folder / "report.md").read_text(), (ROOT / "docs" / "gpus.md").read_text()]
    command = tomllib.loads((folder / "experiment.toml").read_text())["command"]
    for page in pages:
        assert command in page
        assert recorded["versions"]["jax"] in page
        for row in check_gpu.rows_of(recorded["networks"]):
            line = next(line for line in page.splitlines() if f"| {row[2]} | {row[3]} |" in line)
            assert row[1] in line
            assert all(off in line for off in row[5].split(" / "))
    for found in json.loads((folder / "depthwise.json").read_text())["layers"]:
        assert f"{found['milliseconds']:.3f}" in pages[0]
