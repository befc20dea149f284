"""A module imports only from the layers below its own."""

import ast
from pathlib import Path

import pytest

import keras_sepnets

PACKAGE = Path(keras_sepnets.__file__).parent
LAYERS = (
    ("errors",),
    ("config", "statistics", "layer_types", "huge_pages"),
    ("config_files",),
    ("recipes", "runs", "cost", "plots", "averaging", "interruption"),
    ("models", "data", "checkpoints", "environment", "run_table", "fused_layers"),
    (
        "evaluation",
        "prediction",
        "training_loop",
        "papers",
        "benchmark",
        "speed",
        "freezing",
        "acceleration",
        "threads",
    ),
    ("optimization",),
    ("batch_size", "training_benchmark"),
    ("form_trial",),
    ("planning",),
    ("recording", "run_pictures"),
    ("saving",),
    ("training", "smoke"),
    ("ablation",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Only these may know these libraries.
OWNERS = {
    "tensorflow": {
        *("data", "checkpoints", "training_loop", "training", "benchmark"),
        *("environment", "optimization", "batch_size", "speed", "acceleration", "training_benchmark"),
        *("form_trial", "fused_layers", "threads"),
    },
    "tensorflow_datasets": {"data"},
    "click": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"plots"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "keras_sepnets":
                yield from (f"keras_sepnets.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    part = part_of(path)
    for name in imports_of(path):
        root, _, rest = name.partition(".")
        if root == "keras_sepnets":
            other = rest.split(".")[0]
            assert other == part or other == "__version__" or RANK[other] < RANK[part], f"{part} imports {other}"
        assert part in OWNERS.get(root, {part}), f"{part} imports {root}"


def test_every_part_has_a_layer():
    assert {part_of(path) for path in MODULES} == set(RANK)
