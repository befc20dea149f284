"""What the README says is so."""

import inspect
import json
import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, RunConfig, build_mobilenet, load_config
from keras_sepnets.cli import main
from keras_sepnets.cli.models import describe_network
from keras_sepnets.cost.papers import GridPoint, compare_with_papers

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_command_is_shown():
    for command in main.commands:
        assert f"`sepnets {command}" in README


def test_every_option_in_a_shown_command_exists():
    shown = re.findall(r"^(?:.*&& )?sepnets (\w+) (.*)$", "\n".join(blocks("sh")), re.MULTILINE)
    assert shown
    for command, arguments in shown:
        shown_command = main.commands[command]
        if isinstance(shown_command, click.Group):
            shown_command = shown_command.commands[arguments.split()[0]]
        known = {name for parameter in shown_command.params for name in parameter.opts}
        assert set(re.findall(r"--[\w-]+", arguments)) <= known


def test_shown_settings_are_those_that_are_printed():
    (text,) = blocks("toml")
    assert text == CliRunner().invoke(main, ["train", "--print-config"]).stdout


def test_python_examples_run(tmp_path, monkeypatch, capsys, finished):
    """The training example trains as the README says, but is handed a run that was trained before."""
    from keras_sepnets.training import plan as planning
    from keras_sepnets.training import trainer as training

    def train(*arguments, **options):
        asked = inspect.signature(train_for_real).bind(*arguments, **options).arguments
        assert planning.make_plan(asked["config"]).steps == 40
        shutil.copytree(finished.run.path, asked["output"])
        return finished.model_copy(update={"run": Run.open(asked["output"])})

    train_for_real = training.train
    monkeypatch.setattr(training, "train", train)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (30, 30)).save("seven.png")
    weights, build, example = blocks("python")
    run = Run.create(tmp_path / "runs" / "mobilenet-digits-1", load_config())
    run.save_model(build_mobilenet(alpha=0.5, input_shape=(64, 64, 3), classes=10), "final")
    exec(weights, {})
    printed = capsys.readouterr().out
    assert printed.startswith("weights of runs/mobilenet-digits-1/final.keras: 53 layers loaded; ")
    assert printed.endswith("stem adapted (from 3 to 1 channels); left random: predictions\n")
    exec(build, {})
    assert capsys.readouterr().out.strip() == build.split("# ")[-1].strip() == "568740352"
    exec(example, {})
    top1, validation_top1 = capsys.readouterr().out.split("\n")[0].split()
    assert 0 <= float(top1) <= 1
    assert 0 <= float(validation_top1) <= 1


def test_run_folder_is_as_shown(finished):
    shown = re.search(r"^runs/mobilenet-digits-1/\n(.*?)^```", README, re.MULTILINE | re.DOTALL).group(1)
    names = {line.split()[0].rstrip("/") for line in shown.splitlines()}
    assert names <= {path.name for path in finished.run.path.iterdir()}


def keys_of(value):
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys_of, value.values()))
    return set()


def test_json_keys_are_as_shown(finished):
    from keras_sepnets.benchmarks.input import InputBenchmark
    from keras_sepnets.benchmarks.steps import TrainingBenchmark
    from keras_sepnets.data.catalogue.checking import check_source
    from keras_sepnets.data.catalogue.info import describe_data_set, list_data_sets
    from keras_sepnets.data.sources.opening import open_source
    from keras_sepnets.models.weights import LoadReport
    from keras_sepnets.runs.table import summarize_run
    from keras_sepnets.settings.recipes import read_recipe
    from keras_sepnets.training.plan import make_plan
    from keras_sepnets.training.smoke import SmokeStep

    section = README.split("### JSON")[1].split("```")[1].removeprefix("text\n")
    shown = re.split(r"^(\w+(?: (?:--[\w-]+|\w+))?)\s", section, flags=re.MULTILINE)
    words = {name: set(re.findall(r"\w+", text)) for name, text in zip(shown[1::2], shown[2::2], strict=True)}
    commands = {
        *("train", "train --dry-run", "train --smoke", "evaluate", "predict", "runs", "runs --diff", "recipes"),
        *("ablate", "cost", "cost --against", "cost --grid"),
    }
    data_commands = {"data list", "data info", "data prepare", "data check", "data show"}
    assert words.keys() == commands | data_commands | {"models", "benchmark input", "benchmark train"}
    assert words["train"] == keys_of(finished.to_json())
    plan = make_plan(finished.run.config).to_json()
    report = LoadReport(source="", loaded=(), adapted={}, fresh=(), unused=()).to_json()
    shown_plan = keys_of({**plan, "config": {}, "num_examples": {}, "weights": report, "sources": {"SETTING": ""}})
    assert words["train --dry-run"] == shown_plan
    assert words["train --smoke"] == {"steps", *SmokeStep(name="", outcome="", seconds=0.0).to_json()}
    row = summarize_run(finished.run.path).to_json()
    assert words["runs"] == set(row)
    assert words["runs --diff"] - {"the", "same", "of", "A", "B", "SETTING"} == {"runs", "settings"}
    recipe = read_recipe("finetune").to_json()
    assert words["recipes"] - {"SETTING"} == {*recipe, "value", "source"}
    assert words["evaluate"] == {"run", "split"} | keys_of(finished.test.to_json())
    results = json.loads((ROOT / "experiments/xception_intermediate_relu/results.json").read_text())
    variants = {"NAME": next(iter(results["variants"].values()))}
    cost = make_plan(finished.run.config).cost
    shown_cost = {**cost.to_json(), "network": "", "by_type": {"TYPE": {}}, "by_stage": {"STAGE": {}}}
    assert words["cost"] - {"the", "same"} == keys_of(shown_cost)
    assert words["cost --against"] == keys_of(
        [comparison.to_json() for comparison in compare_with_papers("xception")]
    )
    assert words["cost --grid"] == set(GridPoint.model_fields)
    assert words["models"] == keys_of(describe_network("mobilenet").to_json())
    assert words["data list"] == set().union(*(entry.to_json() for entry in list_data_sets()))
    description = describe_data_set("fashion_mnist").to_json()
    assert words["data info"] == {*description, "file_name", "bytes", "url", "sha256"}
    assert words["data prepare"] == {"prepared_now", "and", "what", "data", "info", "says"}
    check = check_source(open_source("digits")).to_json()
    assert words["data check"] - {"ROLE", "CLASS", "COLOUR"} == {
        *check, "sheet", "width", "height", "smallest", "median", "largest",
        *("kind", "severity", "message", "count", "examples"),
    }  # fmt: skip
    assert words["data show"] == {*RunConfig().data.model_dump(), "seed", "file"}
    measured = InputBenchmark(
        source="", num_examples=1, image_size=1, augmentation="", first_batch_seconds=0.0,
        images_per_second={"streamed": [1.0], "naive": [1.0]}, memory_growth_bytes=None,
    ).to_json()  # fmt: skip
    assert words["benchmark input"] - {"SIDE"} == {*measured, "median", "low", "high"}
    measured = TrainingBenchmark(
        model="", alpha=1.0, image_size=1, batch_size=1, multiply_adds=1,
        images_per_second={"a": [1.0]}, peak_gflops=[1.0],
    ).to_json()  # fmt: skip
    assert words["benchmark train"] - {"SIDE"} == {*measured, "median", "low", "high"}
    assert words["ablate"] - {"the", "same"} == keys_of({**results, "variants": variants})


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()


def test_shown_cost_is_what_is_printed():
    shown = README.split("The first prints\n\n```text\n")[1].split("```")[0]
    printed = CliRunner().invoke(main, ["cost", "--model", "mobilenet"]).stdout
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()


def test_no_placeholder_is_left():
    prose = re.sub(r"```.*?```|`[^`]*`|\$\w+", "", README, flags=re.DOTALL)
    assert not re.findall(r"@@|\b[A-Z]+_[A-Z_]+\b", prose)
