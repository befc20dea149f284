"""A check of a data set before training: its contents and its faults."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image
from pydantic import Field

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.catalogue.issues import Issue, find_issues
from keras_sepnets.data.pictures.preprocessing import SMALL_PICTURE
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_to_check
from keras_sepnets.data.sources.source import Inspected, Part, Source
from keras_sepnets.settings.schema import DataConfig

DECODED_SIDE = 224  # px; larger pictures are decoded at a half, a quarter or an eighth of their size
SHEET_CLASSES, SHEET_COLUMNS, SHEET_SIDE = 20, 8, 96  # of the contact sheet; the side of a thumbnail in px


class Check(Result):
    """Contents and faults of a data set."""

    source: str
    """Full name of the data set."""
    num_examples: dict[str, int]
    """Role (train, validation, test) -> pictures."""
    classes: dict[str, dict[str, int]]
    """Class -> role -> pictures."""
    sizes: dict[str, dict[str, int]]
    """width and height -> smallest, median and largest, in pixels."""
    colours: dict[str, int]
    """RGB, grey, palette, transparent, 16-bit or CMYK -> pictures."""
    issues: tuple[Issue, ...]
    """Faults, errors first."""
    thumbnails: dict[str, list[np.ndarray]] = Field(exclude=True, repr=False)
    """Class -> a few pictures, uint8 (96, 96, 3)."""

    @property
    def has_errors(self) -> bool:
        """Whether one of the issues is an error."""
        return any(issue.severity == "error" for issue in self.issues)


def check_data(config: DataConfig, on_progress: Callable[[int, int], None] | None = None) -> Check:
    """Open as much as possible of a data set and check it; see `check_source`.

    Raises:
        SepnetsError: A TFDS data set is unknown or not prepared. What is wrong with picture files is an issue,
            also where none can be found.
    """
    try:
        source = open_to_check(config)
    except SepnetsError as error:
        if not DatasetName.parse(config.dataset).is_own_pictures:
            raise
        nothing = _summarize([])
        return Check(
            source=config.dataset,
            num_examples={},
            classes={},
            sizes={"width": nothing, "height": nothing},
            colours={},
            issues=(_unusable([str(error)]),),
            thumbnails={},
        )
    return check_source(source, on_progress, config=config)


def check_source(
    source: Source,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    config: DataConfig = DataConfig(),  # noqa: B008  immutable
) -> Check:
    """Read and decode every picture of a data set once and report faults that would hurt training.

    Args:
        source: The data set. Open picture files with `skip_bad` and collected faults, so that all are found.
        on_progress: Called with the number of pictures done and of all pictures.
        config: The settings of the run for which the data set is checked.

    Returns:
        Counts, sizes and issues, for the roles that such a run would give the pictures.
    """
    data = resolve_data(config, source, default_size=DECODED_SIDE)
    parts, issues = _assign_roles(source, data)
    if source.faults:
        issues.append(_unusable(source.faults))
    findings, thumbnails = _collect(source, parts, data, on_progress)
    roles = [role for role in ROLES if role in parts]
    counts = Counter((finding.label, finding.role) for finding in findings)
    classes = {
        name: {role: counts[label, role] for role in roles} for label, name in enumerate(source.class_names)
    }
    issues += find_issues(
        findings,
        source.class_names,
        [counts.get("train", 0) for counts in classes.values()],
        is_cropped=data.fit == "crop",
        may_be_tiny=source.picture_size is not None and source.picture_size <= SMALL_PICTURE,
    )
    issues += [
        Issue(kind="note", severity="warning", message=note)
        for note in source.notes
        if not note.startswith("left out")  # "unreadable" names these
    ]
    good = [finding for finding in findings if not finding.fault]
    return Check(
        source=source.name,
        num_examples={role: sum(counts[role] for counts in classes.values()) for role in roles},
        classes=classes,
        sizes={
            "width": _summarize([finding.width for finding in good]),
            "height": _summarize([finding.height for finding in good]),
        },
        colours=dict(Counter(finding.colour for finding in good)),
        issues=tuple(sorted(issues, key=lambda issue: issue.severity)),
        thumbnails=thumbnails,
    )


def _unusable(faults: Sequence[str]) -> Issue:
    return Issue(kind="unusable", severity="error", message="training would be refused", examples=tuple(faults))


def _assign_roles(source: Source, data: DataConfig) -> tuple[Mapping[str, Part], list[Issue]]:
    """Return the parts of a run, or, if the set is too small, its splits and an issue."""
    if source.faults and "train" not in source.splits:  # which is among the faults
        return {split: Part(split) for split in source.splits}, []
    try:
        return Splits(source, data, memory=0).parts, []
    except SepnetsError as error:
        issue = Issue(kind="too small", severity="error", message=str(error))
        return {split: Part(split) for split in source.splits}, [issue]


def _collect(
    source: Source,
    parts: Mapping[str, Part],
    data: DataConfig,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Inspected], dict[str, list[np.ndarray]]]:
    """Return a finding for each picture, and thumbnails of the first pictures of some classes."""
    total = sum(
        len(source.index(split).keys) if chosen is None else int(chosen.sum()) for split, chosen in parts.values()
    )
    findings: list[Inspected] = []
    thumbnails: dict[str, list[np.ndarray]] = {name: [] for name in source.class_names[:SHEET_CLASSES]}
    for finding in source.inspect(parts, PixelRules.of(data, DECODED_SIDE)):
        row = thumbnails.get(source.class_names[finding.label])
        if finding.pixels is not None and row is not None and len(row) < SHEET_COLUMNS:
            row.append(_thumbnail(finding.pixels))
        if finding.pixels is not None:
            finding = finding._replace(contrast=_contrast(finding.pixels, data))
        findings.append(finding._replace(pixels=None))
        if on_progress:
            on_progress(len(findings), total)
    return findings, thumbnails


def _summarize(lengths: Sequence[int]) -> dict[str, int]:
    return {
        "smallest": min(lengths, default=0),
        "median": int(np.median(lengths)) if lengths else 0,
        "largest": max(lengths, default=0),
    }


def _contrast(pixels: np.ndarray, data: DataConfig) -> float:
    """Return the standard deviation of the colour channel that varies most in what the network sees."""
    seen = _central_square(pixels, data.crop_fraction or 1.0) if data.fit == "crop" else pixels
    return float(seen.std(axis=(0, 1)).max())


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    square = Image.fromarray(_central_square(pixels))
    return np.asarray(square.resize((SHEET_SIDE, SHEET_SIDE)))


def _central_square(pixels: np.ndarray, crop_fraction: float = 1.0) -> np.ndarray:
    side = max(1, round(min(pixels.shape[:2]) * crop_fraction))
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]
