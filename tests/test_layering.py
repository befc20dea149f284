"""The table of rooms in CONTRIBUTING.md is what the imports do."""

import ast
import re
from pathlib import Path

import pytest

import keras_sepnets

PACKAGE = Path(keras_sepnets.__file__).parent
CONTRIBUTING = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
# Libraries that only some rooms may import; the table names them.
GUARDED = ("tensorflow", "tensorflow_datasets", "keras", "h5py", "matplotlib", "click", "rich")


def read_table():
    """Return the floor and the libraries of each room: | floor | room | what is inside | libraries |."""
    floors, libraries = {}, {}
    for floor, rooms, named in re.findall(r"^\| (\d+) \| ([^|]+) \|[^|]+\|([^|]*)\|$", CONTRIBUTING, re.MULTILINE):
        for room in re.findall(r"`(\w+)/`", rooms):
            floors[room] = int(floor)
            libraries[room] = set(re.findall(r"`(\w+)`", named))
    return floors, libraries


FLOORS, LIBRARIES = read_table()


def room_of(path):
    return path.relative_to(PACKAGE).parts[0]


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


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} == FLOORS.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_to_lower_floors(path):
    room = room_of(path)
    for name in imports_of(path):
        root, _, rest = name.partition(".")
        if root == "keras_sepnets":
            other = rest.split(".")[0]
            assert other in (room, "__version__") or FLOORS[other] < FLOORS[room], f"{room} imports {other}"
        assert root not in GUARDED or root in LIBRARIES[room], f"{room} imports {root}"


def test_the_package_imports_nothing_beside_it():
    for path in PACKAGE.rglob("*.py"):
        assert not {"experiments", "scripts", "tests"} & {name.split(".")[0] for name in imports_of(path)}
