"""The README and docs/ say what is true: their links, commands, outputs and examples."""

import inspect
import json
import re
import shlex
import shutil
from pathlib import Path

import click
import generate_docs
import numpy as np
import pytest
from click.testing import CliRunner
from invented import three_arms
from PIL import Image
from pydantic import TypeAdapter

from keras_sepnets import Run, RunConfig, build_mobilenet, load_config
from keras_sepnets.base.learning_curves import learn_curve
from keras_sepnets.benchmarks.input import InputBenchmark
from keras_sepnets.benchmarks.steps import TrainingBenchmark
from keras_sepnets.cli import main
from keras_sepnets.cli.models import describe_network
from keras_sepnets.cli.results import RESULTS
from keras_sepnets.cli.tune import Picture
from keras_sepnets.cost.papers import GridPoint
from keras_sepnets.lab.growth import Forecast, MeasuredShare, describe_growth
from keras_sepnets.lab.pooling import CrossValidation, FoldResult
from keras_sepnets.lab.sweep import Pick, SweepPoint, SweepResult
from keras_sepnets.training.tuning.learning_rate import LearningRateRange

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("experiments/*/report.md"))]
# Commands that take long; other tests run smaller forms of them.
EXPENSIVE = (
    "tune", "train", "export", "ablate", "sweep", "benchmark", "data prepare", "data show", "data forecast",
    "cost --grid",
)  # fmt: skip


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shown_commands(page):
    """Return the arguments of every `sepnets` command in the shell blocks of a page."""
    lines = "\n".join(blocks(page, "sh")).splitlines()
    return [
        found[1].strip()
        for line in lines
        if (found := re.search(r"(?:^|&& )sepnets ((?:\"[^\"]*\"|[^>|&\"])*)", line))
    ]


SHOWN = sorted({command for page in PAGES for command in shown_commands(page)})
WITH_OUTPUT = {found[2] for page in PAGES for found in generate_docs.OUTPUT.finditer(page.read_text())}


def is_cheap(command):
    """Return whether a command is run as it is shown; those with a shown output run where that is compared."""
    if command in WITH_OUTPUT:
        return False
    return "--print-config" in command or "--dry-run" in command or not command.startswith(EXPENSIVE)


# Links


def without_code(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", without_code(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [DOCS / "design.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_named_modules_exist(page):
    named = set(re.findall(r"`([\w/]+/\w+\.py)`", page.read_text()))
    assert named
    for path in named:
        assert "NAME" in path or (ROOT / path).exists() or (ROOT / "keras_sepnets" / path).exists(), path


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text()
    assert {f"({page.name})" for page in DOCS.glob("*.md") if page.name != "README.md"} <= set(
        re.findall(r"\(\w[\w-]*\.md\)", index)
    )


def test_no_placeholder_is_left():
    for page in LINKED:
        prose = re.sub(r"`[^`]*`|\$\w+", "", without_code(page), flags=re.DOTALL)
        assert not re.findall(r"@@|\b[A-Z]+_[A-Z_]+\b", prose), page


def test_readme_stays_short():
    assert len(README.read_text().splitlines()) <= 185


# Commands


def test_every_command_is_in_the_index():
    index = (DOCS / "README.md").read_text()
    for words in generate_docs.list_commands():
        if words and words not in [("data",), ("benchmark",)]:
            assert f"`sepnets {' '.join(words)}" in index


@pytest.mark.parametrize("shown", SHOWN)
def test_shown_command_parses(shown):
    """Names, types and choices of options are right, and required arguments are there; nothing is executed."""
    command, arguments = main, shlex.split(shown)
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    command.make_context(command.name, arguments, **main.context_settings)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_the_text_exist(page):
    known = {name for words in generate_docs.list_commands() for name in options_of(words)}
    scripts = "".join(script.read_text() for script in (ROOT / "scripts").glob("*.py"))
    for option in re.findall(r"`[^`\n]*?(--[a-z][\w-]*)[^`\n]*`", without_code(page)):
        assert option in known or f'"{option}"' in scripts, option


def options_of(words):
    command = main
    for word in words:
        command = command.commands[word]
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    yield "--help"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_scripts_exist_with_their_options(page):
    for script, arguments in re.findall(r"python (scripts/\w+\.py)([^`\n]*)", page.read_text()):
        text = (ROOT / script).read_text()
        assert all(f'"{option}"' in text for option in re.findall(r"--[\w-]+", arguments))


@pytest.fixture(scope="module")
def workplace(finished, picture_folder, tmp_path_factory):
    """A folder with what the shown commands name: runs, pictures, a list, settings."""
    folder = tmp_path_factory.mktemp("workplace")
    for number in (1, 2):
        shutil.copytree(finished.run.path, folder / "runs" / f"mobilenet-digits-{number}")
    shutil.copytree(finished.run.path, folder / "runs" / "mobilenet-pictures-1")
    (folder / "pictures").symlink_to(picture_folder)
    (folder / "inbox").mkdir()
    for name in ("3", "7"):
        (folder / "more-pictures" / name).mkdir(parents=True)
        Image.new("L", (30, 30)).save(folder / "more-pictures" / name / "new.png")
    for name in ("new.jpg", "seven.png", "inbox/one.png"):
        Image.new("L", (30, 30)).save(folder / name)
    (folder / "pictures.csv").write_text("path,label\npictures/red/00.jpg,red\npictures/blue/00.jpg,blue\n")
    (folder / "my.toml").write_text("[training]\nepochs = 3\n")
    return folder


@pytest.mark.parametrize("shown", [shown for shown in SHOWN if is_cheap(shown)])
def test_shown_command_runs(shown, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    arguments = [*shlex.split(shown), *(["--accelerate", "off"] if "--dry-run" in shown else [])]  # without trials
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout


def prints_its_settings(shown):
    """Return whether a shown training can print its settings; others take them from a run, or keep none."""
    return shown.startswith("train") and not is_cheap(shown) and not re.search(r"--(resume|extend|smoke)\b", shown)


@pytest.mark.parametrize("shown", filter(prints_its_settings, SHOWN))
def test_settings_of_shown_training_are_valid(shown, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    result = CliRunner().invoke(main, [*shlex.split(shown), "--print-config"])
    assert result.exit_code == 0, result.output


# Generated pages and outputs


@pytest.fixture(scope="module")
def generated():
    """The generated pages, without the one thread per operation that conftest.py asks for."""
    pages = generate_docs.render_pages()
    return {page: re.sub(r", 1 thread per operation\b", "", text) for page, text in pages.items()}


def test_generated_pages_are_current(generated):
    stale = [name_of(page) for page, text in generated.items() if page.read_text() != text]
    assert not stale, "run `scripts/check --fix`"


def test_generated_pages_cover_every_setting_and_output(generated):
    settings = generated[DOCS / "settings.md"]
    flat = json.dumps(RunConfig.model_json_schema())
    for key in set(re.findall(r'"(\w+)": \{[^{}]*"default"', flat)):
        assert f"| `{key}` |" in settings or key in ("augmentation", *RunConfig.model_fields)
    assert sum(text.count("<!-- output: ") for text in generated.values()) == sum(
        page.read_text().count("<!-- output: ") for page in PAGES
    )


def test_outdated_output_is_replaced():
    old = "<!-- output: sepnets --version -->\n```text\nwrong\n```\nafter\n"
    assert generate_docs.OUTPUT.sub(generate_docs.replace_output, old) == old.replace(
        "wrong", generate_docs.run_sepnets(["--version"]).strip()
    )


# Python


@pytest.fixture
def in_workplace(tmp_path, monkeypatch, finished):
    """A folder with a run and a picture; `train` plans for real but hands out a run that was trained before."""
    from keras_sepnets.training import plan as planning
    from keras_sepnets.training import trainer

    def train(*arguments, **options):
        asked = inspect.signature(train_for_real).bind(*arguments, **options).arguments
        assert planning.make_plan(asked["config"]).steps == 40
        shutil.copytree(finished.run.path, asked["output"])
        return finished.model_copy(update={"run": Run.open(asked["output"])})

    train_for_real = trainer.train
    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (30, 30)).save("seven.png")
    run = Run.create(tmp_path / "runs" / "mobilenet-digits-1", load_config())
    run.save_model(build_mobilenet(alpha=0.5, input_shape=(64, 64, 3), classes=10), "final")


@pytest.mark.usefixtures("in_workplace")
@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page in PAGES for block in blocks(page, "python")],
    ids=lambda value: name_of(value) if isinstance(value, Path) else "",
)
def test_python_example_runs_and_prints_what_its_comment_says(page, block, capsys):
    exec(block, {"__name__": "example"})
    printed = capsys.readouterr().out.splitlines()
    claims = re.findall(r"^print\(.*\)  # (.+)$", block, re.MULTILINE)
    assert printed[: len(claims)] == claims
    if "load_report" in block:
        assert printed[0].startswith("weights of runs/mobilenet-digits-1/final.keras: 53 layers loaded; ")
        assert printed[0].endswith(
            "stem adapted (from 3 to 1 channels); left random: predictions; in the file, not used: predictions"
        )
    if "result.test.top1" in block:
        assert all(0 <= float(number) <= 1 for number in printed[0].split())


# The run folder


def test_run_folder_is_as_shown(finished):
    shown = re.search(r"^runs/mobilenet-digits-1/\n(.*?)^```", (DOCS / "run-folder.md").read_text(), re.M | re.S)
    names = {line.split()[0].rstrip("/") for line in shown[1].splitlines()}
    assert names <= {path.name for path in finished.run.path.iterdir()}


# JSON


def test_json_page_lists_every_key_of_the_schema():
    """The generator follows lists, mappings and nested objects, and leaves out what is not in the JSON."""
    from pydantic import Field, computed_field

    from keras_sepnets.base.results import Result

    class Inner(Result):
        top1: float | None
        """a fraction"""

    class Outer(Result):
        hidden: int = Field(default=0, exclude=True)
        inner: Inner
        rows: list[Inner]
        by_type: dict[str, Inner]
        interval: tuple[float, float]

        @computed_field
        @property
        def total(self) -> int:
            """in all"""
            return 1

    schema = Outer.model_json_schema(mode="serialization")
    rows = list(generate_docs.json_rows(schema, schema["$defs"], ""))
    assert [row[0].strip("`") for row in rows] == [
        *("inner", "inner.top1", "rows", "rows[].top1", "by_type", "by_type.*.top1", "interval", "total"),
    ]
    assert ("`inner.top1`", "number or null", "A fraction") in rows
    assert ("`interval`", "[number, number]", "") in rows
    assert ("`total`", "integer", "In all") in rows


def check_keys(value, schema, defs, path):
    """Compare the keys of a value, and of the objects in it, with a JSON schema."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:
        fitting = [part for part in schema["anyOf"] if (part.get("type") == "null") == (value is None)]
        assert fitting, path
        schema = fitting[0]
        return check_keys(value, schema, defs, path) if "$ref" in schema else None
    if "properties" in schema:
        assert set(value) == set(schema["properties"]), path
        for key, inner in schema["properties"].items():
            check_keys(value[key], inner, defs, f"{path}.{key}")
    elif isinstance(schema.get("additionalProperties"), dict):
        for key, inner in value.items():
            check_keys(inner, schema["additionalProperties"], defs, f"{path}.{key}")
    elif isinstance(schema.get("items"), dict):
        for inner in value:
            check_keys(inner, schema["items"], defs, f"{path}[]")


def check_documented(words, value):
    schema = TypeAdapter(RESULTS[words]).json_schema(mode="serialization")
    check_keys(value, schema, schema.get("$defs", {}), words)


def test_check_keys_notices_a_key_too_many_and_one_too_few():
    check_documented("train --smoke", {"steps": [{"name": "data", "outcome": "read", "seconds": 0.1}]})
    for step in ({"name": "data", "outcome": "read"}, {"name": "", "outcome": "", "seconds": 0.1, "more": 1}):
        with pytest.raises(AssertionError, match=r"train --smoke.steps\[\]"):
            check_documented("train --smoke", {"steps": [step]})


def test_json_is_as_documented(finished, tmp_path):
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    run = str(shutil.copytree(finished.run.path, tmp_path / "run"))
    asked = {
        "train --dry-run": ["train", "--alpha", "0.0625", "--image-size", "32", "--dry-run"],
        "evaluate": ["evaluate", run],
        "predict": ["predict", run, str(tmp_path / "a.png")],
        "export": ["export", run, "--format", "html"],
        "runs": ["runs", str(tmp_path)],
        "runs --diff": ["runs", "--diff", run, run],
        "recipes": ["recipes"],
        "cost": ["cost", run],
        "cost --against": ["cost", "--against", "paper", "--model", "xception"],
        "data list": ["data", "list"],
        "data info": ["data", "info", "fashion_mnist"],
        "data prepare": ["data", "prepare", "digits"],
        "data check": ["data", "check", "digits"],
        "data show": ["data", "show", "digits", "--pictures", "4", "--output", str(tmp_path / "b.png")],
    }
    for words, arguments in asked.items():
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        check_documented(words, json.loads(result.stdout))
    check_documented("train", finished.to_json())
    fold = FoldResult(run=finished.run, top1=1.0, loss=0.0, num_examples=2)
    check_documented("train --folds", CrossValidation(
        output=tmp_path, num_examples=4, top1=1.0, top1_interval=(0.5, 1.0), majority_top1=0.5, top5=1.0, loss=0.0,
        folds=[fold, fold], class_names=["a", "b"], confusion=[[2, 0], [0, 2]], final=None,
    ).to_json())  # fmt: skip
    check_documented("models", [describe_network("mobilenet").to_json()])
    check_documented("ablate", three_arms().to_json())
    point = SweepPoint(
        settings={}, val_top1=0.5, val_top1_interval=None, parameters=1, multiply_adds=1, on_front=True
    )
    pick = Pick(settings={}, conditions="", val_top1=0.5, test_top1=0.5, command="")
    check_documented("sweep", SweepResult(
        experiment="", dataset="", seeds=[0], points=[point], pick=pick
    ).to_json())  # fmt: skip
    curve = learn_curve([20, 40, 80], np.random.default_rng(0).random((2, 3, 50)) < 0.3)
    check_documented("data forecast", Forecast(
        output=tmp_path, dataset="", method="trainings", tested_on="", seeds=2,
        shares=[MeasuredShare(share=1.0, num_examples=80, top1=[0.5, 0.5], mean=0.5)],
        overall=describe_growth(curve, 80, 0.9, None), classes=[describe_growth(curve, 80, None, "a")],
    ).to_json())  # fmt: skip
    for file in ROOT.glob("experiments/*/results.json"):
        if "comparisons" in (results := json.loads(file.read_text())):
            check_documented("ablate", results)
    point = GridPoint(alpha=1.0, image_size=224, multiply_adds=1, parameters=1, top1=0.5, top1_paper=None)
    check_documented("cost --grid", [point.to_json()])
    check_documented("benchmark input", InputBenchmark(
        source="", num_examples=1, image_size=1, augmentation="", first_batch_seconds=0.0,
        images_per_second={"streamed": [1.0], "naive": [1.0]}, memory_growth_bytes=None,
    ).to_json())  # fmt: skip
    check_documented("benchmark train", TrainingBenchmark(
        model="", alpha=1.0, image_size=1, batch_size=1, multiply_adds=1,
        images_per_second={"a": [1.0]}, peak_gflops=[1.0],
    ).to_json())  # fmt: skip
    found = LearningRateRange(
        learning_rate=0.1,
        steepest=0.2,
        lowest_loss_at=1.0,
        stopped_by="",
        rates=[1.0],
        losses=[1.0],
        smoothed=[1.0],
    )
    check_documented("tune", found.to_json() | Picture(file="").to_json())
    shown = {
        *asked,
        "tune",
        "train",
        "train --folds",
        "train --smoke",
        "models",
        "ablate",
        "sweep",
        "data forecast",
        "cost --grid",
        "benchmark input",
        "benchmark train",
    }
    assert shown == set(RESULTS)
