"""Faults of a data set, judged from the findings about each picture."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

from pydantic import computed_field

from keras_sepnets.base.results import Result
from keras_sepnets.base.text import printable
from keras_sepnets.data.pictures.files import MISSING
from keras_sepnets.data.pictures.preprocessing import HIDES_MUCH, SHOW_WHOLE, hidden_share
from keras_sepnets.data.sources.source import Inspected

TINY = 32  # px of the shorter side
LONG = 3.0  # ratio of the longer to the shorter side
NEARLY_CONSTANT = 2.5  # contrast; noise around one colour has more than 5
IMBALANCE = 10.0  # ratio of the largest to the smallest class of train


class Issue(Result):
    """One kind of fault, and the pictures that have it."""

    kind: str
    """Such as "unreadable", "missing", "leakage", "imbalance" or "note"."""
    severity: str
    """One of "error" (training would fail, or its result could not be trusted) and "warning"."""
    message: str
    """The fault and its remedy, in words."""
    examples: tuple[str, ...] = ()
    """Paths or TFDS ids; the copies of one picture are joined by equals signs."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.examples)


def find_issues(
    findings: Sequence[Inspected],
    class_names: Sequence[str],
    train_counts: Sequence[int],
    *,
    is_cropped: bool,
    may_be_tiny: bool,
) -> list[Issue]:
    """Return the issues of a data set, of both severities.

    Args:
        findings: One per picture.
        class_names: Name of each class.
        train_counts: Number of training pictures of each class.
        is_cropped: Whether the network sees only the central square.
        may_be_tiny: Whether small pictures are normal for this data set.
    """
    good = [finding for finding in findings if not finding.fault]
    rules = (
        _unreadable(findings),
        _constant(good),
        _copies(good, class_names),
        () if may_be_tiny else _tiny(good),
        _odd(good),
        _crop(good) if is_cropped else (),
        _mixed_colours(good),
    )
    found = [issue for issues in rules for issue in issues if issue.examples]
    return [*found, *_imbalance(class_names, train_counts)]


def _unreadable(findings: Iterable[Inspected]) -> Iterator[Issue]:
    faulty = [finding for finding in findings if finding.fault]
    yield Issue(
        kind="missing",
        severity="error",
        message="files do not exist; correct paths, which are relative to the folder of a manifest, or links",
        examples=tuple(finding.name for finding in faulty if finding.fault == MISSING),
    )
    yield Issue(
        kind="unreadable",
        severity="error",
        message="files cannot be read; replace or remove them, or train with --on-bad-picture skip",
        examples=tuple(f"{finding.name} {finding.fault}" for finding in faulty if finding.fault != MISSING),
    )


def _constant(good: Sequence[Inspected]) -> Iterator[Issue]:
    """An error where at least half of the pictures of a class carry nothing, otherwise a warning."""
    blank = [finding for finding in good if finding.contrast < NEARLY_CONSTANT]
    counts, blank_counts = (Counter(finding.label for finding in found) for found in (good, blank))
    is_class = any(2 * count >= counts[label] for label, count in blank_counts.items())
    yield Issue(
        kind="nearly constant",
        severity="error" if is_class else "warning",
        message="pictures are of one colour, or nearly so, as a network sees them: perhaps masks, transparent "
        "pictures, values that use little of their range, or only the centre; sepnets data show draws them",
        examples=tuple(finding.name for finding in blank),
    )


def _copies(good: Iterable[Inspected], class_names: Sequence[str]) -> Iterator[Issue]:
    copies = defaultdict(list)
    for finding in good:
        copies[finding.digest].append(finding)
    leaking, conflicting, repeated = [], [], []
    for group in copies.values():
        crosses_roles = len({finding.role for finding in group}) > 1
        crosses_classes = len({finding.label for finding in group}) > 1
        roles = " = ".join(f"{finding.name} ({finding.role})" for finding in group)
        if crosses_roles:
            leaking.append(roles)
        if crosses_classes:
            conflicting.append(" = ".join(f"{finding.name} ({class_names[finding.label]})" for finding in group))
        if len(group) > 1 and not crosses_roles and not crosses_classes:
            repeated.append(roles)
    yield Issue(
        kind="leakage",
        severity="error",
        message="pictures occur in more than one of train, validation and test, which flatters the test",
        examples=tuple(leaking),
    )
    yield Issue(
        kind="conflicting labels",
        severity="error",
        message="pictures occur under more than one class",
        examples=tuple(conflicting),
    )
    yield Issue(
        kind="duplicates",
        severity="warning",
        message="pictures occur more than once",
        examples=tuple(repeated),
    )


def _tiny(good: Iterable[Inspected]) -> Iterator[Issue]:
    yield Issue(
        kind="tiny",
        severity="warning",
        message=f"pictures have a side of less than {TINY} px",
        examples=_names(good, lambda finding: min(finding.width, finding.height) < TINY),
    )


def _odd(good: Sequence[Inspected]) -> Iterator[Issue]:
    yield Issue(
        kind="odd shape",
        severity="warning",
        message=f"pictures are more than {LONG:g} times as long as wide, or as wide as long",
        examples=_names(
            good, lambda finding: max(finding.width, finding.height) > LONG * min(finding.width, finding.height)
        ),
    )
    yield Issue(
        kind="wrong name",
        severity="warning",
        message="files are in another format than their suffix says; they are read anyway",
        examples=_names(good, lambda finding: finding.wrong_name),
    )


def _crop(good: Sequence[Inspected]) -> Iterator[Issue]:
    """Warn where the central square leaves out much of at least half of all pictures, or of those of a class."""
    hiding = [finding for finding in good if hidden_share(finding.width, finding.height) > HIDES_MUCH]
    counts, hiding_counts = (Counter(finding.label for finding in found) for found in (good, hiding))
    if any(2 * count >= counts[label] for label, count in hiding_counts.items()):
        shares = [hidden_share(finding.width, finding.height) for finding in hiding]
        yield Issue(
            kind="crop",
            severity="warning",
            message=f"of these pictures, the central square hides {median(shares):.0%}; {SHOW_WHOLE}",
            examples=tuple(finding.name for finding in hiding),
        )


def _mixed_colours(good: Sequence[Inspected]) -> Iterator[Issue]:
    colours = Counter(finding.colour for finding in good)
    if len(colours) > 1:
        mixed = ", ".join(f"{count:,} {colour}" for colour, count in colours.most_common())
        yield Issue(
            kind="mixed colours",
            severity="warning",
            message=f"pictures are not RGB (all pictures: {mixed}); they are converted to RGB",
            examples=_names(good, lambda finding: finding.colour != "RGB"),
        )


def _imbalance(class_names: Sequence[str], train_counts: Sequence[int]) -> Iterator[Issue]:
    largest, smallest = max(train_counts, default=0), min(train_counts, default=0)
    if largest > IMBALANCE * smallest:
        named = [printable(class_names[train_counts.index(count)]) for count in (largest, smallest)]
        yield Issue(
            kind="imbalance",
            severity="warning",
            message=f'train has {largest:,} pictures of "{named[0]}" and {smallest:,} of "{named[1]}"; '
            "--class-weights balanced gives all classes the same weight",
        )


def _names(findings: Iterable[Inspected], has_it: Callable[[Inspected], bool]) -> tuple[str, ...]:
    return tuple(finding.name for finding in findings if has_it(finding))
