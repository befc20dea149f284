"""The folder of an experiment: what it holds, whether it is the same experiment, and one process at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import locked, write_file
from keras_sepnets.lab.definition import FILE, WRITTEN, Experiment, make_experiment, read_definition, to_toml
from keras_sepnets.lab.experiment import FILE as OLD_FILE
from keras_sepnets.lab.experiment import check_is_empty, read_experiment, refuse_another
from keras_sepnets.lab.matrix import arms_of, configure
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.layers import flatten

LENGTH = ("training.epochs", "training.warmup_epochs")  # what a budget changes


def find_experiment(folder: Path) -> Experiment | None:
    """Return the experiment of a folder, also of version 0.1.0, whose seeds left the split alone; None if none.

    Raises:
        SepnetsError: Its file is damaged, or the folder has a cross-validation.
    """
    if (folder / FILE).is_file():
        return read_definition(folder)
    if not (folder / OLD_FILE).is_file():
        return None
    found = read_experiment(folder)
    if "reference" not in found:
        raise SepnetsError(
            "This folder holds a cross-validation, not an ablation; continue it with sepnets train --folds. "
            f"Received: {str(folder)!r}"
        )
    whole = flatten(found["base"])
    defaults = flatten(make_config({"model": {"name": whole["model.name"]}}).model_dump(mode="json"))
    base = {key: value for key, value in whole.items() if value is not None or defaults.get(key) is not None}
    variants = [{"name": name, "settings": settings} for name, settings in (found["reference"], found["ablated"])]
    seeds = {path.name for variant in variants for path in folder.glob(f"{variant['name']}/seed-*")}
    content = {"base": base, "variants": variants, "seeds": max(1, len(seeds)), "fixed": ["split"]}
    return make_experiment(content, str(folder / OLD_FILE))


def as_in_folder(experiment: Experiment, output: Path, *, with_epochs: bool = False) -> Experiment:
    """Return an experiment as its folder continues it: under the command that began it.

    The seeds of version 0.1.0 left the split alone, and so do those that are added to its folders.

    Args:
        experiment: The experiment as it is asked for.
        output: Its folder, which may not exist yet.
        with_epochs: Whether the epochs are those of the folder too, because a budget chose them.
    """
    found = find_experiment(output)
    if found is None:
        return experiment
    changes: dict[str, Any] = {"command": found.command or experiment.command}
    if not (output / FILE).is_file():
        changes["fixed"] = found.fixed
    if with_epochs:
        epochs = {key: found.base[key] for key in LENGTH if key in found.base}
        changes["base"] = experiment.base | epochs
    return experiment.model_copy(update=changes)


def check_folder(output: Path, experiment: Experiment) -> None:
    """Raise SepnetsError unless a folder is new, empty, or of this experiment; write nothing."""
    found = find_experiment(output)
    if found is None:
        check_is_empty(output)
    else:
        refuse_another(identity(found), identity(experiment), output)


@contextlib.contextmanager
def opened(output: Path, experiment: Experiment) -> Iterator[None]:
    """Describe an experiment in its folder, and keep other processes out of it within a block.

    Raises:
        SepnetsError: The folder holds something else or cannot be written, or another process works in it.
    """
    sentence = "Another process is running this experiment; wait for it, or stop it."
    with contextlib.ExitStack() as stack:
        try:
            check_folder(output, experiment)
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(output, f"{sentence} Received: {str(output)!r}"))
            check_folder(output, experiment)
            _write(output, experiment)
        except OSError as error:
            raise SepnetsError(f"The output folder cannot be written: {error}") from error
        yield


def _write(output: Path, experiment: Experiment) -> None:
    """Write the definition, or keep up with seeds that were added: in a file of people's, their comments stay."""
    file, content = output / FILE, to_toml(experiment)
    before = file.read_text(encoding="utf-8") if file.is_file() else WRITTEN
    is_old = not file.is_file() and (output / OLD_FILE).is_file()
    if before.startswith(WRITTEN) and before != content and not is_old:
        write_file(file, content.encode())


def identity(experiment: Experiment) -> dict[str, Any]:
    """Return what cannot change while an experiment runs; its seeds can, and its words."""
    return {
        "base": configure(experiment.base, {}).model_dump(mode="json"),
        "variants": [variant.name for variant in experiment.variants],
        "arms": {arm.name: arm.config.model_dump(mode="json") for arm in arms_of(experiment)},
        "margin": experiment.margin,
        "claim": experiment.claim,
        "fixed": sorted(experiment.fixed),
        "until_decided": experiment.until_decided,
        "tune": experiment.tune.model_dump() if experiment.tune else None,
    }
