"""`sepnets cost`: the cost of a network, a run or a file as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.machine import without_values
from keras_sepnets.base.results import Result
from keras_sepnets.cli.command import quiet_imports
from keras_sepnets.cli.cost.answer import Answer
from keras_sepnets.models.loading import load_architecture
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.schema import RunConfig

if TYPE_CHECKING:
    from keras_sepnets.cost.counting import Amounts, Cost


class CountedNetwork(Result):
    """Precedes the cost."""

    network: str
    """Name and options, or file."""


def count_named(settings: RunConfig, classes: int) -> tuple[str, "Cost"]:
    """Return title and cost of the network that the settings describe."""
    with quiet_imports():
        from keras_sepnets.cost.counting import count_cost
        from keras_sepnets.models.registry import NETWORKS, build_network

    size = settings.data.image_size or NETWORKS[settings.model.name].default_size
    with without_values():  # a wide network may not fit into memory
        model = build_network(settings.model, image_size=size, classes=classes, seed=None)
    changed = settings.model.model_dump(exclude={"name"}, exclude_defaults=True)
    options = "".join(f", {name}={value}" for name, value in changed.items())
    return f"{settings.model.name}{options}, {classes} classes", count_cost(model)


def count_file(target: Path, image_size: int | None) -> tuple[str, "Cost"]:
    """Return title and cost of the network of a run folder or of a whole model's .keras or .h5 file.

    Raises:
        SepnetsError: It cannot be read, or does not work at this image size.
    """
    if not target.is_dir() and not (target.is_file() and target.suffix in (".keras", ".h5", ".hdf5")):
        raise SepnetsError(f"This is neither a run folder nor a .keras or .h5 file. Received: {str(target)!r}")
    file = Run.open(target).network_file() if target.is_dir() else target
    with quiet_imports():
        from keras_sepnets.cost.counting import count_cost

    model = load_architecture(file)
    if image_size is None:
        return f"{target} ({model.name})", count_cost(model)
    built_for = getattr(model, "input_shape", None)
    if not isinstance(built_for, tuple) or len(built_for) != 4 or image_size < 1:
        raise SepnetsError(
            "--image-size counts a model of pictures at another size in pixels. "
            f"Received: --image-size {image_size} for inputs of shape {built_for}"
        )
    return f"{target} ({model.name})", count_cost(model, (image_size, image_size, built_for[-1]))


def make_table(title: str, cost: "Cost", by: str, *, sort: bool) -> Answer:
    """Return the table of a network's cost by "layer", "type" or "stage"."""
    rows = _cost_rows(cost, by)
    if sort:
        rows.sort(key=lambda row: row["multiply_adds"], reverse=True)
    content = {**CountedNetwork(network=title).to_json(), **cost.to_json()}
    return Answer(rows, content, lambda: _show_cost(title, cost, rows))


def _cost_rows(cost: "Cost", by: str) -> list[dict[str, Any]]:
    if by == "layer":
        groups: list[tuple[dict[str, str], Amounts]] = [
            (
                {
                    "layer": layer.name,
                    "type": layer.type,
                    "stage": layer.stage,
                    "output_shape": "x".join(map(str, layer.output_shape)),
                },
                layer,
            )
            for layer in cost.layers
        ]
    else:
        groups = [({by: name}, amounts) for name, amounts in cost.by(by).items()]
    return [
        {
            **names,
            "multiply_adds": amounts.multiply_adds,
            "parameters_total": amounts.total,
            "parameters_trainable": amounts.trainable,
            "parameters_without_bn": amounts.without_bn,
            "activation_bytes": amounts.activation_bytes,
        }
        for names, amounts in groups
    ]


def _show_cost(title: str, cost: "Cost", rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a network's cost, then the rows."""
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    shape = "x".join(map(str, cost.input_shape))
    console.print(f"{title}, input {shape}", markup=False)
    console.print(f"multiply-adds  {cost.multiply_adds:,}")
    parameters = f"{cost.total:,} total, {cost.trainable:,} trainable, {cost.without_bn:,} without batch norm"
    console.print(f"parameters     {parameters}")
    console.print(
        f"activations    {cost.activation_bytes:,} bytes in total, at most "
        f"{cost.peak_activation_bytes:,} alive at once"
    )
    if cost.not_counted:
        console.print(f"not counted    {', '.join(cost.not_counted)}", markup=False)
    names = [name for name in ("layer", "type", "output_shape") if name in rows[0]] or ["stage"]
    table = Table(box=None)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for heading in ("multiply-adds", "%", "parameters", "%", "activation bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            *(row[name] for name in names),
            f"{row['multiply_adds']:,}",
            f"{100 * row['multiply_adds'] / max(1, cost.multiply_adds):.2f}",
            f"{row['parameters_total']:,}",
            f"{100 * row['parameters_total'] / max(1, cost.total):.2f}",
            f"{row['activation_bytes']:,}",
        )
    console.print(table)
