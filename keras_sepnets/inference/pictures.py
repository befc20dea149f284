"""The pictures that a run is evaluated on: its own, wherever they are now, or others with labels."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, did_you_mean, printable
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.samples import count_found, describe_change
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.class_names import find_name
from keras_sepnets.data.sources.columns import columns_of
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_data
from keras_sepnets.data.sources.source import Part, Source
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.files import check_keys, override
from keras_sepnets.settings.schema import DataConfig

NAMED = 20  # classes that an error names
# Settings that may differ where pictures are read again; the others made the pixels that the run was trained on.
COLUMNS = ("data.path_column", "data.label_column")
SETTINGS = (*COLUMNS, "data.max_megapixels", "data.on_bad_picture")
NO_COLUMNS = {"path_column": None, "label_column": None}


class EvaluatedPictures(NamedTuple):
    """The pictures of an evaluation."""

    splits: Splits
    role: str  # of these splits
    other: str | None = None  # what tells the results from those of the run's own pictures; None for these


def open_pictures(
    run: Run,
    role: str,
    dataset: str | None = None,
    cache_folder: Path | None = None,
    settings: Sequence[str] = (),
) -> EvaluatedPictures:
    """Open the pictures of a role: those of the run, or of another data set.

    Args:
        run: The run.
        role: "train", "validation" or "test".
        dataset: Where the run's pictures are now, or another data set: its split of this name, or all of it if it
            has only one. None for the place that config.json names.
        cache_folder: Folder for decoded pictures; None for memory, if they fit.
        settings: How they are read, if not as the run's were: texts such as `data.label_column=name`.

    Raises:
        SepnetsError: The data set cannot be opened, has classes that the run does not know, no such split, or no
            picture that the run has not been trained on; or a setting is none of those that may differ.
    """
    if role not in ROLES:
        raise SepnetsError(f"A split is {', '.join(ROLES[:-1])} or {ROLES[-1]}. Received: {role!r}")
    data = _with_settings(run, settings)
    if dataset is None:
        check_held_out(run, role)
        check_still_there(run)
        splits = Splits(open_data(data), data, cache_folder=cache_folder)
        check_classes(run, splits)
        _check_unchanged(run, splits, role)
        return EvaluatedPictures(splits, role)
    source = _open(run, dataset, data)
    own = _as_own(run, source, data, role, cache_folder)
    if own:
        check_held_out(run, role)
        return EvaluatedPictures(own, role)
    if data.folds and DatasetName.parse(dataset).is_own_pictures:
        source = _open(run, dataset, data.model_copy(update={"folds": 0}))
    return _open_others(run, source, data, role, cache_folder)


def _with_settings(run: Run, settings: Sequence[str]) -> DataConfig:
    """Return the settings of a run's data, with those that may differ where pictures are read again."""
    check_keys(settings, SETTINGS)
    config = run.config
    if any(text.lstrip().startswith(COLUMNS) for text in settings):  # the run's are of its own list
        config = config.model_copy(update={"data": config.data.model_copy(update=NO_COLUMNS)})
    for text in settings:
        config = override(config, text)
    return config.data


def check_held_out(run: Run, role: str) -> None:
    """Refuse to test the final network of a cross-validation on its own pictures: it was trained on every one."""
    if run.config.data.trains_on_all and role in ("validation", "test"):
        folder = run.path.resolve().parent
        is_there = (folder / "experiment.json").is_file()
        shown = f", which sepnets evaluate {printable(folder)} shows" if is_there else ""
        raise SepnetsError(
            "This network was trained on every picture of its data set, so none is left to test it. The folds of "
            f"its cross-validation tell its accuracy{shown}; --dataset SOURCE tests it on other pictures. "
            f"Received: split={role!r}"
        )


def check_still_there(run: Run) -> None:
    """Raise SepnetsError if the files of a run's data set are no longer where they were."""
    name = DatasetName.parse(run.config.data.dataset)
    if name.is_own_pictures and not Path(name.place).exists():
        one_by_one = f", for {printable(run.path)} and each other run by itself" if run.config.data.folds else ""
        raise SepnetsError(
            f"The run's pictures are no longer where they were; if they have moved, say where they are: "
            f"--dataset {name.kind}:PATH{one_by_one}. Received: {printable(str(name))}"
        )


def check_classes(run: Run, splits: Splits) -> None:
    """Raise SepnetsError unless the data set has the run's classes."""
    if splits.class_names != run.class_names:
        raise SepnetsError(
            f"The data set {printable(splits.source.name)} no longer has the classes that the run was "
            f"trained for. Received: {printable(', '.join(splits.class_names[:NAMED]))}; "
            f"expected: {printable(', '.join(run.class_names[:NAMED]))}"
        )


def _open(run: Run, dataset: str, data: DataConfig) -> Source:
    """Open a data set, a manifest with the run's names of columns only if it has them."""
    data = data.model_copy(update={"dataset": dataset})
    if columns_of(data) == columns_of(run.config.data):
        if DatasetName.parse(dataset).kind == "manifest":
            with contextlib.suppress(SepnetsError):
                return open_data(data, known=run.class_names)
        data = data.model_copy(update=NO_COLUMNS)
    return open_data(data, known=run.class_names)


def _as_own(run: Run, source: Source, data: DataConfig, role: str, cache_folder: Path | None) -> Splits | None:
    """Return the data if the pictures of the role are the run's own: digests of names and contents decide."""
    if source.class_names != run.class_names:
        return None
    recorded = run.read_data()
    try:
        splits = Splits(source, data, cache_folder=cache_folder)
    except SepnetsError:  # it cannot be divided as the run's was
        return None
    if splits.digest(role) is None:
        return splits if source.name == recorded.get("dataset") else None
    if data.trains_on_all:
        role = "train"  # the others are empty, or the same
    known, described = recorded.get(role, {}), splits.describe_role(role)
    return splits if "digest" in known and not describe_change({role: known}, {role: described}) else None


def _open_others(
    run: Run, source: Source, data: DataConfig, role: str, cache_folder: Path | None
) -> EvaluatedPictures:
    """Return the pictures of a data set that is not the run's."""
    name = DatasetName.parse(source.name)
    split = role if role in source.splits or len(source.splits) != 1 else source.splits[0]
    if split not in source.splits:
        raise SepnetsError(
            f"The data set has no {role} split; name one that it has with --split: {', '.join(source.splits)}. "
            f"Received: {printable(source.name)}"
        )
    _check_known(source, run.class_names)
    part = Part(split)
    sample = run.read_data()["train"].get("sample", {})
    if not sample and DatasetName.parse(run.config.data.dataset).is_own_pictures and name.is_own_pictures:
        warnings.warn(
            "This run of an earlier version does not remember its training pictures, so nothing tells whether it "
            "was trained on these.",
            stacklevel=4,
        )
    found = count_found(sample, source, part)
    if found:
        warnings.warn(
            f"The run was trained on some of these pictures: of {counted(len(sample), 'training picture')} that "
            f"data.json remembers, {found} are among them. Their accuracy says little about new ones.",
            stacklevel=4,
        )
    splits = Splits(source, data, parts={role: part}, cache_folder=cache_folder)
    return EvaluatedPictures(splits, role, name.slug if split != role else f"{name.slug}-{role}")


def _check_known(source: Source, known: Sequence[str]) -> None:
    """Raise SepnetsError for classes that a run does not know, all of them at once."""
    unknown = [label for label in source.class_names if find_name(label, known) is None]
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        named = ", ".join(f'"{printable(label)}"' for label in unknown[:NAMED])
        raise SepnetsError(
            f"The run knows no class {named}{more}.{printable(did_you_mean(unknown[0], known))} Its classes are "
            f"{printable(', '.join(known[:NAMED]))}; rename what is one of them, and leave out the others. "
            f"Received: {printable(source.name)}"
        )


def _check_unchanged(run: Run, splits: Splits, role: str) -> None:
    """Refuse to test on pictures that the run may have been trained on, because the files have changed."""
    recorded, described = run.read_data().get(role, {}), splits.describe_role(role)
    if "digest" not in recorded or describe_change({role: recorded}, {role: described}) is None:
        return
    changed = f"The {role} pictures of {printable(splits.source.name)} have changed since the run started"
    if splits.is_held_out(role) and recorded["digest"] != described.get("digest"):
        raise SepnetsError(
            f"{changed}: files were added or removed, so the run may have been trained on what is held out now. "
            f"Restore the files, or put pictures that are new to the run into a {role} folder or split."
        )
    warnings.warn(f"{changed}; the result is for the pictures as they are now.", stacklevel=4)
