"""What is wrong with a data set, before anyone trains on it: every picture is read and decoded once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.source import Inspected, Part, Source
from keras_sepnets.settings.schema import DataConfig

TINY = 32  # px of the shorter side
LONG = 3.0  # times as wide as high, or as high as wide
IMBALANCE = 10.0  # pictures of the largest class of train to those of the smallest
DECODED_SIDE = 224  # px; larger pictures are decoded at a half, a quarter or an eighth
SHEET_CLASSES, SHEET_COLUMNS, SHEET_SIDE = 20, 8, 96


@dataclass(frozen=True)
class Issue:
    """One kind of fault and the pictures that have it."""

    kind: str
    severity: str  # "error": training would fail or its result could not be trusted; or "warning"
    message: str
    examples: tuple[str, ...] = ()  # paths, or TFDS ids; where several belong together, joined by " = "

    def to_json(self) -> dict[str, Any]:
        """Return the issue with the number of its examples."""
        return {**asdict(self), "examples": list(self.examples), "count": len(self.examples)}


@dataclass(frozen=True)
class Check:
    """What a data set holds, and what is wrong with it."""

    source: str
    num_examples: dict[str, int]  # of each role: train, validation, test
    classes: dict[str, dict[str, int]]  # class -> role -> pictures
    sizes: dict[str, dict[str, int]]  # width and height -> smallest, median, largest, in px
    colours: dict[str, int]  # RGB, grey, palette, transparent, 16-bit, CMYK -> pictures
    issues: tuple[Issue, ...]
    thumbnails: dict[str, list[np.ndarray]] = field(repr=False)  # class -> a few pictures, 96 x 96 px

    @property
    def has_errors(self) -> bool:
        """Tell whether one of the issues is an error."""
        return any(issue.severity == "error" for issue in self.issues)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures."""
        return {
            "source": self.source,
            "num_examples": self.num_examples,
            "classes": self.classes,
            "sizes": self.sizes,
            "colours": self.colours,
            "issues": [issue.to_json() for issue in self.issues],
        }


def check_source(source: Source, on_progress: Callable[[int, int], None] | None = None) -> Check:
    """Read and decode every picture of a data set once and report what would hurt.

    Args:
        source: The data set; picture files must have been opened with `skip_bad`, so that all faults are found.
        on_progress: Called with the number of pictures that are done and of all.

    Returns:
        Counts, sizes and issues, for the roles that a run with default settings would give the pictures.
    """
    issues = []
    try:
        data = resolve_data(DataConfig(dataset=source.name), source, default_size=DECODED_SIDE)
        parts = Splits(source, data, memory=0).parts
    except SepnetsError as error:  # too small to be split
        issues.append(Issue("too small", "error", str(error)))
        parts = {split: Part(split) for split in source.splits}
    total = sum(
        len(source.index(split).keys) if chosen is None else chosen.sum() for split, chosen in parts.values()
    )
    findings = []
    thumbnails: dict[str, list[np.ndarray]] = {name: [] for name in source.class_names[:SHEET_CLASSES]}
    for finding in source.inspect(parts, DECODED_SIDE):
        row = thumbnails.get(source.class_names[finding.label])
        if finding.pixels is not None and row is not None and len(row) < SHEET_COLUMNS:
            row.append(_thumbnail(finding.pixels))
        findings.append(finding._replace(pixels=None))
        if on_progress:
            on_progress(len(findings), int(total))
    good = [finding for finding in findings if not finding.fault]
    roles = [role for role in ROLES if role in parts]
    classes = {name: dict.fromkeys(roles, 0) for name in source.class_names}
    for finding in findings:
        classes[source.class_names[finding.label]][finding.role] += 1
    found = _find_issues(findings, source.class_names, classes)
    issues += [issue for issue in found if not (issue.kind == "tiny" and source.picture_size)]
    issues += [Issue("note", "warning", note) for note in source.notes if not note.startswith("left out")]
    return Check(
        source=source.name,
        num_examples={role: sum(counts[role] for counts in classes.values()) for role in roles},
        classes=classes,
        sizes={
            name: {
                "smallest": min(values, default=0),
                "median": int(np.median(values)) if values else 0,
                "largest": max(values, default=0),
            }
            for name, values in (
                ("width", [finding.width for finding in good]),
                ("height", [finding.height for finding in good]),
            )
        },
        colours=dict(Counter(finding.colour for finding in good)),
        issues=tuple(sorted(issues, key=lambda issue: issue.severity)),
        thumbnails=thumbnails,
    )


def _find_issues(
    findings: list[Inspected], class_names: tuple[str, ...], classes: dict[str, dict[str, int]]
) -> list[Issue]:
    good = [finding for finding in findings if not finding.fault]
    copies = defaultdict(list)
    for finding in good:
        copies[finding.digest].append(finding)
    groups = [group for group in copies.values() if len(group) > 1]
    leaking = [group for group in groups if _differ(group, "role")]
    conflicting = [group for group in groups if _differ(group, "label")]
    repeated = [group for group in groups if not (_differ(group, "role") or _differ(group, "label"))]
    sizes = {name: counts.get("train", 0) for name, counts in classes.items()}
    largest, smallest = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    found = [
        Issue(
            "unreadable",
            "error",
            "files cannot be read; replace or remove them, or train with --on-bad-picture skip",
            tuple(f"{finding.name} {finding.fault}" for finding in findings if finding.fault),
        ),
        Issue(
            "leakage",
            "error",
            "pictures are the same in several of train, validation and test: the test would flatter",
            tuple(_joined(group, lambda finding: finding.role) for group in leaking),
        ),
        Issue(
            "conflicting labels",
            "error",
            "pictures are the same under different classes",
            tuple(_joined(group, lambda finding: class_names[finding.label]) for group in conflicting),
        ),
        Issue(
            "duplicates",
            "warning",
            "pictures are there more than once",
            tuple(_joined(group, lambda finding: finding.role) for group in repeated),
        ),
        Issue(
            "tiny",
            "warning",
            f"pictures have a side of less than {TINY} px",
            _names(good, lambda finding: min(finding.width, finding.height) < TINY),
        ),
        Issue(
            "odd shape",
            "warning",
            f"pictures are more than {LONG:g} times as long as wide: the central square shows little of them",
            _names(
                good,
                lambda finding: max(finding.width, finding.height) > LONG * min(finding.width, finding.height),
            ),
        ),
        Issue(
            "wrong name",
            "warning",
            "files have another format than their names say; they are read all the same",
            _names(good, lambda finding: finding.wrong_name),
        ),
    ]
    colours = Counter(finding.colour for finding in good)
    if len(colours) > 1:
        mixed = ", ".join(f"{count:,} {colour}" for colour, count in colours.most_common())
        found.append(
            Issue(
                "mixed colours",
                "warning",
                f"pictures are not RGB, of {mixed}; all become RGB",
                _names(good, lambda finding: finding.colour != "RGB"),
            )
        )
    missing = [issue for issue in found if issue.examples]
    if sizes[largest] > IMBALANCE * sizes[smallest]:
        missing.append(
            Issue(
                "imbalance",
                "warning",
                f'train has {sizes[largest]:,} pictures of "{printable(largest)}" and {sizes[smallest]:,} of '
                f'"{printable(smallest)}"; --class-weights balanced lets all classes weigh the same',
            )
        )
    return missing


def _names(findings: Iterable[Inspected], has_it: Callable[[Inspected], bool]) -> tuple[str, ...]:
    return tuple(finding.name for finding in findings if has_it(finding))


def _differ(group: list[Inspected], field_name: str) -> bool:
    return len({getattr(finding, field_name) for finding in group}) > 1


def _joined(group: list[Inspected], word: Callable[[Inspected], str]) -> str:
    return " = ".join(f"{finding.name} ({word(finding)})" for finding in group)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((SHEET_SIDE, SHEET_SIDE)))
