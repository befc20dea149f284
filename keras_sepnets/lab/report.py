"""The report of an experiment: report.md, whose generated parts are replaced, report.html and the figures."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import write_file
from keras_sepnets.lab.figures import draw_figures
from keras_sepnets.lab.markdown import marked, plain, replace_parts
from keras_sepnets.lab.page import render_page
from keras_sepnets.lab.parts import write_question, write_setting, write_source
from keras_sepnets.lab.tables import write_limits, write_results
from keras_sepnets.settings.layers import flatten

if TYPE_CHECKING:
    from keras_sepnets.lab.results_models import ExperimentResult

HEADS = ("Question", "Source", "Setting", "Results", "Reading", "Limits")
UNWRITTEN = (
    "Nobody has written this yet: what the source saw, what we saw, at what scale, and what that does and does "
    "not show. Text outside the generated parts stays when the report is written again."
)


def write_reports(result: "ExperimentResult", folder: Path) -> None:
    """Write report.md, report.html and figures/ into an experiment's folder.

    A report.md that exists keeps every word outside its generated parts.

    Raises:
        SepnetsError: A marker of report.md is missing or damaged, so nothing is written, or a file cannot be.
    """
    figures = {f"figures/{name}.svg": drawing for name, drawing in draw_figures(result).items()}
    captions = {Path(path).stem: drawing.caption for path, drawing in figures.items()}
    parts = {
        "question": write_question(result),
        "source": write_source(result),
        "setting": write_setting(result, read_base(folder)),
        "results": write_results(result, captions),
        "limits": write_limits(result),
    }
    file = folder / "report.md"
    try:
        report = replace_parts(file.read_bytes(), parts, file) if file.exists() else _begin(folder, parts)
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for path, drawing in figures.items():
            write_file(folder / path, drawing.svg)
            write_file((folder / path).with_suffix(".png"), drawing.png)
        write_file(file, report)
        write_file(folder / "report.html", render_page(result.question or folder.resolve().name, report, figures))
    except OSError as error:
        raise SepnetsError(f"The report cannot be written: {error}") from error


def _begin(folder: Path, parts: dict[str, str]) -> bytes:
    """Return a new report."""
    title = plain(folder.resolve().name.replace("_", " ").strip() or "experiment")
    sections = [f"# {title[:1].upper()}{title[1:]}"]
    for head in HEADS:
        content = parts.get(head.lower())
        sections += [f"## {head}", marked(head.lower(), content) if content is not None else UNWRITTEN]
    return ("\n\n".join(sections) + "\n").encode()


def read_base(folder: Path) -> dict[str, Any]:
    """Return the settings of all arms by dotted key, from experiment.toml; none without such a file."""
    try:
        return flatten(tomllib.loads((folder / "experiment.toml").read_text(encoding="utf-8")).get("base", {}))
    except (OSError, ValueError):
        return {}
