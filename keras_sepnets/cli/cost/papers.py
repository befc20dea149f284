"""`sepnets cost --against paper` and `--grid`: the papers' numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.files import write_file
from keras_sepnets.cli.command import quiet_imports
from keras_sepnets.cli.cost.answer import Answer
from keras_sepnets.settings.files import make_config

if TYPE_CHECKING:
    from keras_sepnets.cost.papers import Comparison


def compare_with_papers(network: str | None) -> Answer:
    """Return the papers' numbers beside ours, for one network or for all."""
    if network:
        make_config({"model": {"name": network}})  # raises for an unknown name
    with quiet_imports():
        from keras_sepnets.cost import papers

    comparisons = papers.compare_with_papers(network)
    rows = [comparison.to_json() for comparison in comparisons]
    return Answer(rows, rows, lambda: _show_comparisons(comparisons))


def _show_comparisons(comparisons: "Sequence[Comparison]") -> None:
    """Print the papers' numbers beside ours."""
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    table = Table("table", "row", "quantity", box=None)
    for heading in ("paper", "ours", "difference"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for comparison in comparisons:
        claim, digits = comparison.claim, comparison.decimals + (0 if comparison.ours > 100_000 else 2)
        verdict = "agrees" if comparison.agrees else "differs"
        table.add_row(
            f"{claim.paper} {claim.table}",
            claim.row,
            claim.quantity,
            claim.printed,
            f"{comparison.ours:,.{digits}f}",
            f"{comparison.difference:+,.{digits}f}",
            f"{verdict}: {claim.note}" if claim.note else verdict,
        )
    console.print(table)
    agreeing = sum(comparison.agrees for comparison in comparisons)
    console.print(f"{agreeing} of {len(comparisons)} numbers agree to the digits that the papers print.")


def draw_grid(picture: Path, csv_file: Path | None) -> Answer:
    """Draw accuracy over cost for 16 MobileNets."""
    with quiet_imports():
        from keras_sepnets.cost.papers import mobilenet_grid
        from keras_sepnets.runs import plots

    rows = [vars(point) for point in mobilenet_grid()]
    write_file(picture, plots.draw_grid(rows, "MobileNets: ImageNet top-1 of the authors' checkpoints over cost"))
    return Answer(rows, rows, lambda: _show_grid(rows, picture, csv_file))


def _show_grid(rows: Sequence[Mapping[str, Any]], picture: Path, csv_file: Path | None) -> None:
    """Print the grid, and where its picture is."""
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    table = Table("alpha", "image size", box=None)
    for heading in ("multiply-adds", "parameters", "top-1, checkpoint", "top-1, paper"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row['alpha']:g}",
            str(row["image_size"]),
            f"{row['multiply_adds']:,}",
            f"{row['parameters']:,}",
            f"{row['top1']:.1%}",
            f"{row['top1_paper']:.1%}" if row["top1_paper"] else "",
        )
    console.print(table)
    console.print(f"written: {picture}" + (f" and {csv_file}" if csv_file else ""), markup=False)
