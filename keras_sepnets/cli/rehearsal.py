"""`sepnets train --dry-run` and `--smoke`: the plan of a run, without the run."""

from functools import partial
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.results import Result
from keras_sepnets.base.text import printable
from keras_sepnets.cli.command import print_json, quiet_imports
from keras_sepnets.cli.folds import show_folds
from keras_sepnets.cli.options import Settings
from keras_sepnets.settings.layers import flatten
from keras_sepnets.settings.schema import AUGMENTATIONS

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.training.plan import Plan


class Sources(Result):
    """Follows the plan."""

    sources: dict[str, str]
    """Where each setting comes from, by dotted key."""


def show_dry_run(
    settings: Settings, *, as_json: bool, folds: int | None = None, final: bool = False, **planning: Any
) -> None:
    """Print the plan (of a cross-validation: of its first fold), then every setting with its value and source."""
    from rich.markup import escape
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    plan = _show_plan(settings, console, **planning)
    if folds:
        show_folds(plan, console, final=final)
    sources = _describe_sources(plan, settings)
    table = Table("setting", "value", "from", box=None)
    for key, value in flatten(plan.config.model_dump(mode="json")).items():
        table.add_row(key, escape(printable(str(value))), escape(sources[key]))
    console.print(table)
    if as_json:
        print_json({**plan.to_json(), **Sources(sources=sources).to_json()})


def try_smoke_test(settings: Settings, *, as_json: bool, **planning: Any) -> None:
    """Print the plan, then try every part of the run on one batch."""
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.training.smoke import SmokeStep, smoke_test

    console = make_console(as_json=as_json)
    plan = _show_plan(settings, console, **planning)

    def show(step: SmokeStep) -> None:
        console.print(f"{step.name:<12} {step.outcome} ({step.seconds:.1f} s)", markup=False)

    steps = smoke_test(plan, on_step=show)
    if as_json:
        print_json({"steps": [step.to_json() for step in steps]})


def _show_plan(settings: Settings, console: "Console", **planning: Any) -> "Plan":
    with quiet_imports():
        from keras_sepnets.cli.plan import show_plan
        from keras_sepnets.training.plan import make_plan
        from keras_sepnets.training.tuning.form import OPEN

    # Without a run, only `--accelerate auto` is worth a trial, which that option's default is not.
    training = settings.config.training
    asked = any(f"training.{key}" in settings.given and getattr(training, key) == "auto" for key in OPEN)
    tell = partial(console.print, markup=False)
    plan = make_plan(settings.config, try_forms=asked, on_progress=tell, **planning)
    show_plan(plan, console)
    return plan


def _describe_sources(plan: "Plan", settings: Settings) -> dict[str, str]:
    """Return the source of every setting of a plan, in words."""
    augment = plan.config.data.augment
    preset = AUGMENTATIONS[augment or "none"].model_dump()
    sources = {}
    for key, value in flatten(plan.config.model_dump(mode="json")).items():
        words = [settings.sources[key]] if key in settings.sources else []
        if not words and key.startswith("data.augmentation."):
            same = value == preset[key.rpartition(".")[2]]
            words = [f"augmentation {augment}" if same else f"augmentation {augment} of small pictures"]
        words += [plan.chosen[key]] if key in plan.chosen else []
        sources[key] = "; ".join(words) or "default"
    return sources
