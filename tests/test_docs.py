"""The README and docs/ say what is true: their links, commands, outputs and examples."""

import dataclasses
import inspect
import json
import re
import shlex
import shutil
from pathlib import Path

import click
import generate_docs
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, RunConfig, build_mobilenet, load_config
from keras_sepnets.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("experiments/*/report.md"))]
# Commands that take long; other tests run smaller forms of them.
EXPENSIVE = ("train", "ablate", "benchmark", "data prepare", "data show", "cost --grid")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shown_commands(page):
    """Return the arguments of every `sepnets` command in the shell blocks of a page."""
    lines = "\n".join(blocks(page, "sh")).splitlines()
    return [found[1].strip() for line in lines if (found := re.search(r"(?:^|&& )sepnets ([^>|&]*)", line))]


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


@pytest.mark.parametrize("shown", [shown for shown in SHOWN if shown.startswith("train") and not is_cheap(shown)])
def test_settings_of_shown_training_are_valid(shown, workplace, monkeypatch):
    if re.search(r"--(resume|extend|smoke)\b", shown):
        pytest.skip("takes its settings from a run, or keeps none; that it parses is tested above")
    monkeypatch.chdir(workplace)
    result = CliRunner().invoke(main, [*shlex.split(shown), "--print-config"])
    assert result.exit_code == 0, result.output


# Generated pages and outputs


@pytest.fixture(scope="module")
def generated():
    """The generated pages, without the one thread per operation that conftest.py asks for."""
    pages = generate_docs.render_pages()
    return {page: re.sub(r", threads \w+ operation: 1\b", "", text) for page, text in pages.items()}


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
        return with_run(finished, Run.open(asked["output"]))

    train_for_real = trainer.train
    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (30, 30)).save("seven.png")
    run = Run.create(tmp_path / "runs" / "mobilenet-digits-1", load_config())
    run.save_model(build_mobilenet(alpha=0.5, input_shape=(64, 64, 3), classes=10), "final")


def with_run(result, run):
    """Return a training's result as that of another run folder."""
    if dataclasses.is_dataclass(result):
        return dataclasses.replace(result, run=run)
    return result.model_copy(update={"run": run})


@pytest.mark.usefixtures("in_workplace")
@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page in PAGES for block in blocks(page, "python")],
    ids=lambda value: name_of(value) if isinstance(value, Path) else "",
)
def test_python_example_runs_and_prints_what_its_comment_says(page, block, capsys):
    from keras_sepnets import count_cost

    if "counters=" in block and "counters" not in inspect.signature(count_cost).parameters:
        pytest.skip("count_cost does not take counters yet")
    exec(block, {"__name__": "example"})
    printed = capsys.readouterr().out.splitlines()
    claims = re.findall(r"^print\(.*\)  # (.+)$", block, re.MULTILINE)
    assert printed[: len(claims)] == claims
    if "load_report" in block:
        assert printed[0].startswith("weights of runs/mobilenet-digits-1/final.keras: 53 layers loaded; ")
        assert printed[0].endswith("stem adapted (from 3 to 1 channels); left random: predictions")
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
    assert ("`inner.top1`", "number or null", "a fraction") in rows
    assert ("`interval`", "[number, number]", "") in rows
    assert ("`total`", "integer", "in all") in rows


def keys_of(value):
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys_of, value.values()))
    return set()


@pytest.mark.skipif(generate_docs.find_results() is not None, reason="docs/json.md is generated")
def test_json_keys_are_as_shown(finished):
    """Temporary, like `generate_docs.handwritten_json`: for docs/json.md as it was written by hand."""
    from keras_sepnets.benchmarks.input import InputBenchmark
    from keras_sepnets.benchmarks.steps import TrainingBenchmark
    from keras_sepnets.cli.models import describe_network
    from keras_sepnets.cost.papers import GridPoint, compare_with_papers
    from keras_sepnets.data.batches.splits import open_source
    from keras_sepnets.data.catalogue.checking import check_source
    from keras_sepnets.data.catalogue.info import describe_data_set, list_data_sets
    from keras_sepnets.models.weights import LoadReport
    from keras_sepnets.runs.table import summarize_run
    from keras_sepnets.settings.recipes import read_recipe
    from keras_sepnets.training.plan import make_plan
    from keras_sepnets.training.smoke import SmokeStep

    (section,) = blocks(DOCS / "json.md", "text")
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
    report = LoadReport("", (), {}, (), ()).to_json()
    shown_plan = keys_of({**plan, "config": {}, "num_examples": {}, "weights": report, "sources": {"SETTING": ""}})
    assert words["train --dry-run"] == shown_plan
    assert words["train --smoke"] == {"steps", *SmokeStep("", "", 0.0).to_json()}
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
    assert words["cost --grid"] == {field.name for field in dataclasses.fields(GridPoint)}
    assert words["models"] == keys_of(describe_network("mobilenet"))
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
    measured = InputBenchmark("", 1, 1, "", 0.0, {"streamed": [1.0], "naive": [1.0]}, None).to_json()
    assert words["benchmark input"] - {"SIDE"} == {*measured, "median", "low", "high"}
    measured = TrainingBenchmark("", 1.0, 1, 1, 1, {"a": [1.0]}, [1.0]).to_json()
    assert words["benchmark train"] - {"SIDE"} == {*measured, "median", "low", "high"}
    assert words["ablate"] - {"the", "same"} == keys_of({**results, "variants": variants})
