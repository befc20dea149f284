"""The commands in experiments/ still run what was run, and the reports' figures follow from the results."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from keras_sepnets.base.intervals import compare_pairs
from keras_sepnets.cli.ablate import DEFAULTS, NETWORK_DEFAULTS
from keras_sepnets.lab.change import experiment_of_options
from keras_sepnets.lab.definition import read_definition
from keras_sepnets.lab.matrix import arms_of
from keras_sepnets.lab.opening import find_experiment
from keras_sepnets.settings.files import load_config, make_config

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
HEADS = ["Question", "Source", "Setting", "Results", "Reading", "Limits"]
RELU = EXPERIMENTS / "xception_intermediate_relu"
NOT_ACCELERATED = {"training.accelerate": "off"}  # true of every experiment but the newest
RESIDUAL = EXPERIMENTS / "mobilenet_v2_residual"


ALL = sorted(EXPERIMENTS.iterdir())
REPORTED = [folder for folder in ALL if (folder / "report.md").exists()]
TO_RUN = [folder for folder in ALL if "variants" in tomllib.loads((folder / "experiment.toml").read_text())]


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_an_experiment_opens_with_its_question(folder):
    experiment = tomllib.loads((folder / "experiment.toml").read_text())
    assert {"question", "source", "command", "cost", "expected", "base"} <= experiment.keys()
    assert (folder / "report.md").exists() == (folder / "results.json").exists() or folder not in TO_RUN


@pytest.mark.parametrize("folder", TO_RUN, ids=lambda folder: folder.name)
def test_the_variants_of_an_experiment_differ(folder):
    experiment = read_definition(folder)
    arms = arms_of(experiment)
    assert len({arm.config.model_dump_json() for arm in arms}) == len(arms) > 1
    assert experiment.command.startswith(f"sepnets ablate experiments/{folder.name}")


@pytest.mark.parametrize("folder", REPORTED, ids=lambda folder: folder.name)
def test_report_has_its_heads_and_names_its_command(folder):
    experiment = tomllib.loads((folder / "experiment.toml").read_text())
    report = (folder / "report.md").read_text()
    assert [line.removeprefix("## ") for line in report.splitlines() if line.startswith("## ")] == HEADS
    assert experiment["command"] in report
    make_config(experiment["base"])


def test_relu_experiment_is_the_default_of_the_command():
    experiment = read_definition(RELU)
    base = load_config(options=NOT_ACCELERATED, defaults=DEFAULTS | NETWORK_DEFAULTS["xception"])
    usual = experiment_of_options(base, option="no_intermediate_relu")
    assert [arm.config for arm in arms_of(experiment)] == [arm.config for arm in arms_of(usual)]


@pytest.mark.parametrize("folder", [RELU, RESIDUAL], ids=lambda folder: folder.name)
def test_ablations_are_what_version_0_1_0_ran(folder, tmp_path):
    shutil.copy(folder / "experiment.json", tmp_path)
    ran, now = find_experiment(tmp_path), read_definition(folder)
    assert ran.fixed == now.fixed == ["split"]
    for old, new in zip(arms_of(ran), arms_of(now), strict=True):
        assert old.name == new.name
        training = old.config.training.model_copy(update={"accelerate": "off"})  # older than accelerated training
        assert old.config.model_copy(update={"training": training}) == new.config


@pytest.mark.parametrize("folder", [RELU, RESIDUAL], ids=lambda folder: folder.name)
@pytest.mark.parametrize(("comparison", "metric"), [("comparison", "top1"), ("loss_comparison", "training_loss")])
def test_verdicts_follow_from_the_runs(folder, comparison, metric):
    results = json.loads((folder / "results.json").read_text())
    recorded = results[comparison]
    reference, ablated = (results["variants"][recorded[role]][metric] for role in ("reference", "ablated"))
    found = compare_pairs(reference, ablated, higher_is_better=metric == "top1")
    assert (recorded["difference"], recorded["verdict"]) == (pytest.approx(found.difference), found.verdict)
    assert recorded["interval"] == pytest.approx(found.interval)
    report = (folder / "report.md").read_text()
    assert recorded["verdict"] in report


def test_mobilenet_on_digits_is_reported_as_recorded():
    folder = EXPERIMENTS / "mobilenet_digits"
    results, report = json.loads((folder / "results.json").read_text()), (folder / "report.md").read_text()
    assert len(results) == 3
    for seed, result in enumerate(results):
        low, high = result["test"]["top1_interval"]
        accuracy = f"{result['test']['top1']:.2%} ({low:.2%} to {high:.2%})"
        assert (
            f"| {seed} | {accuracy} | {result['test']['loss']:.4f} | {result['train_seconds']:.0f} s |" in report
        )
    words = ("None", "One", "Two", "All")[sum(result["test"]["top1"] >= 0.98 for result in results)]
    assert f"{words} of three seeds reach the expected 98 %" in report


def test_accelerated_training_is_reported_as_recorded():
    folder = EXPERIMENTS / "accelerated_training"
    results, report = json.loads((folder / "results.json").read_text()), (folder / "report.md").read_text()
    for form, recorded in results["against_off"].items():
        found = compare_pairs(results["top1"]["off"], results["top1"][form], higher_is_better=True)
        assert (recorded["difference"], recorded["verdict"]) == (pytest.approx(found.difference), found.verdict)
        assert recorded["interval"] == pytest.approx(found.interval)
        low, high = (f"{100 * bound:+.2f}" for bound in recorded["interval"])
        assert f"{100 * recorded['difference']:+.2f} points ({low} to {high})" in report


def test_batch_norm_statistics_are_reported_as_recorded():
    folder = EXPERIMENTS / "batch_norm_statistics"
    results, report = json.loads((folder / "results.json").read_text()), (folder / "report.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in report.splitlines() if line[:1] == "|"}
    runs = [ways for data in results.values() for ways in data.values()]
    for name in ("momentum 0.9", "momentum 0.999"):
        for cell, ways in zip(rows[name], runs, strict=True):
            found = compare_pairs(ways["precise, 16 batches"], ways[name], higher_is_better=True)
            low, high = (f"{100 * bound:+.1f}" for bound in found.interval)
            assert f"({100 * found.difference:+.1f}: {low} to {high})" in cell
