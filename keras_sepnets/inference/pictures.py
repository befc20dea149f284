"""The pictures that a run is evaluated on: its own, wherever they are now, or others with labels."""

import contextlib
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, did_you_mean, printable
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.samples import count_found, describe_change
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.columns import Columns, columns_of
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_data, open_source
from keras_sepnets.data.sources.source import Part, Source
from keras_sepnets.runs.folder import Run

NAMED = 20  # classes that an error names


class EvaluatedPictures(NamedTuple):
    """The pictures of an evaluation."""

    splits: Splits
    role: str  # of these splits
    other: str | None = None  # what tells the results from those of the run's own pictures; None for these


def open_pictures(
    run: Run, role: str, dataset: str | None = None, cache_folder: Path | None = None
) -> EvaluatedPictures:
    """Open the pictures of a role: those of the run, or of another data set.

    Args:
        run: The run.
        role: "train", "validation" or "test".
        dataset: Where the run's pictures are now, or another data set: its split of this name, or all of it if it
            has no splits. None for the place that config.json names.
        cache_folder: Folder for decoded pictures; None for memory, if they fit.

    Raises:
        SepnetsError: The data set cannot be opened, has classes that the run does not know, no such split, or no
            picture that the run has not been trained on.
    """
    if role not in ROLES:
        raise SepnetsError(f"A split is {', '.join(ROLES[:-1])} or {ROLES[-1]}. Received: {role!r}")
    data = run.config.data
    if dataset is None:
        check_held_out(run, role)
        check_still_there(run)
        splits = Splits(open_data(data), data, cache_folder=cache_folder)
        check_classes(run, splits)
        _check_unchanged(run, splits, role)
        return EvaluatedPictures(splits, role)
    source = _open(run, dataset, pooled=data.folds > 0)
    own = _as_own(run, source, role, cache_folder)
    if own:
        check_held_out(run, role)
        return EvaluatedPictures(own, role)
    if data.folds and DatasetName.parse(dataset).is_own_pictures:
        source = _open(run, dataset, pooled=False)
    return _open_others(run, source, role, cache_folder)


def check_held_out(run: Run, role: str) -> None:
    """Refuse to test the final network of a cross-validation on its own pictures: it was trained on every one."""
    if run.config.data.trains_on_all and role in ("validation", "test"):
        raise SepnetsError(
            "This network was trained on every picture, so none is left to test it; its accuracy is that of the "
            f"folds: sepnets evaluate {run.path.parent}. Received: split={role!r}"
        )


def check_still_there(run: Run) -> None:
    """Raise SepnetsError if the files of a run's data set are no longer where they were."""
    name = DatasetName.parse(run.config.data.dataset)
    if name.is_own_pictures and not Path(name.place).exists():
        raise SepnetsError(
            f"The run's pictures are no longer where they were; if they have moved, say where they are: "
            f"--dataset {name.kind}:PATH. Received: {printable(str(name))}"
        )


def check_classes(run: Run, splits: Splits) -> None:
    """Raise SepnetsError unless the data set has the run's classes."""
    if splits.class_names != run.class_names:
        raise SepnetsError(
            f"The data set {printable(splits.source.name)} no longer has the classes that the run was "
            f"trained for. Received: {printable(', '.join(splits.class_names[:NAMED]))}; "
            f"expected: {printable(', '.join(run.class_names[:NAMED]))}"
        )


def _open(run: Run, dataset: str, *, pooled: bool) -> Source:
    """Open a data set, a manifest with the run's names of columns if it has them."""
    data = run.config.data
    opened = partial(open_source, dataset, skip_bad=data.on_bad_picture == "skip", pooled=pooled)
    columns = columns_of(data)
    if columns != Columns() and DatasetName.parse(dataset).kind == "manifest":
        with contextlib.suppress(SepnetsError):
            return opened(columns=columns)
    return opened()


def _as_own(run: Run, source: Source, role: str, cache_folder: Path | None) -> Splits | None:
    """Return the data if the pictures of the role are the run's own: digests of names and contents decide."""
    if source.class_names != run.class_names:
        return None
    recorded = run.read_json("data.json")
    try:
        splits = Splits(source, run.config.data, cache_folder=cache_folder)
    except SepnetsError:  # it cannot be divided as the run's was
        return None
    if splits.digest(role) is None:
        return splits if source.name == recorded.get("dataset") else None
    if run.config.data.trains_on_all:
        role = "train"  # the others are empty, or the same
    known, described = recorded.get(role, {}), splits.describe_role(role)
    return splits if "digest" in known and not describe_change({role: known}, {role: described}) else None


def _open_others(run: Run, source: Source, role: str, cache_folder: Path | None) -> EvaluatedPictures:
    """Return the pictures of a data set that is not the run's."""
    name = DatasetName.parse(source.name)
    split = "train" if source.splits == ("train",) else role
    if split not in source.splits:
        raise SepnetsError(
            f"The data set has no {role} split; name one that it has with --split: {', '.join(source.splits)}. "
            f"Received: {printable(source.name)}"
        )
    known = run.class_names
    for label in source.class_names:
        if label not in known:
            raise SepnetsError(
                f'The run knows no class "{printable(label)}".{printable(did_you_mean(label, known))} Its classes '
                f"are {printable(', '.join(known[:NAMED]))}. Received: {printable(source.name)}"
            )
    part = Part(split)
    sample = run.read_json("data.json")["train"].get("sample", {})
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
    splits = Splits(source, run.config.data, parts={role: part}, cache_folder=cache_folder)
    return EvaluatedPictures(splits, role, name.slug if split != role else f"{name.slug}-{role}")


def _check_unchanged(run: Run, splits: Splits, role: str) -> None:
    """Refuse to test on pictures that the run may have been trained on, because the files have changed."""
    recorded, described = run.read_json("data.json").get(role, {}), splits.describe_role(role)
    if "digest" not in recorded or describe_change({role: recorded}, {role: described}) is None:
        return
    changed = f"The {role} pictures of {printable(splits.source.name)} have changed since the run started"
    if splits.is_held_out(role) and recorded["digest"] != described.get("digest"):
        raise SepnetsError(
            f"{changed}: files were added or removed, so the run may have been trained on what is held out now. "
            f"Restore the files, or put pictures that are new to the run into a {role} folder or split."
        )
    warnings.warn(f"{changed}; the result is for the pictures as they are now.", stacklevel=4)
