"""How fast runs learn: when they first reach an accuracy, and the area under their learning curves."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Reached(NamedTuple):
    """When several runs first reached an accuracy."""

    median: float | None  # Kaplan-Meier; None if too few runs reached it
    censored: int  # number of runs that never did


def first_reached(positions: Sequence[float], accuracies: Sequence[float | None], accuracy: float) -> float | None:
    """Return the first position (epoch or step) with at least this accuracy; None if there is none.

    Args:
        positions: Epochs or steps, in order.
        accuracies: The accuracy at each; None where it was not measured.
        accuracy: What is to be reached, a fraction.
    """
    pairs = zip(positions, accuracies, strict=True)
    return next((place for place, found in pairs if found is not None and found >= accuracy), None)


def median_reached(reached: Sequence[float | None], ends: Sequence[float]) -> Reached:
    """Return the median position at which runs reach an accuracy, and how many never did.

    A run that ended before is censored: it would have needed longer than it ran, by an unknown amount. Leaving it
    out, or taking its end instead, would make slow arms look fast. The median of Kaplan and Meier (1958) uses what
    is known of it: the first position by which half of the runs have reached the accuracy. It is not known if more
    than half never did.

    Args:
        reached: The position of each run (`first_reached`); None if it never reached the accuracy.
        ends: The last position of each run.
    """
    censored = [place is None for place in reached]
    positions = [end if place is None else place for place, end in zip(reached, ends, strict=True)]
    if not positions:
        return Reached(None, 0)
    remaining = stats.ecdf(stats.CensoredData.right_censored(positions, censored)).sf
    half = np.flatnonzero(remaining.probabilities <= 0.5 + 1e-9)  # 1e-9: products of fractions
    return Reached(float(remaining.quantiles[half[0]]) if half.size else None, sum(censored))


def area_under(positions: Sequence[float], accuracies: Sequence[float | None]) -> float | None:
    """Return the area under a learning curve by trapezoids, divided by its length: an average accuracy.

    Of two arms that end at the same accuracy, the one that rose earlier has more. None without any accuracy.

    Args:
        positions: Epochs or steps, in order.
        accuracies: The accuracy at each; None where it was not measured.
    """
    known = [(place, found) for place, found in zip(positions, accuracies, strict=True) if found is not None]
    if len(known) < 2:
        return known[0][1] if known else None
    places, values = np.transpose(known)
    return float(np.trapezoid(values, places) / (places[-1] - places[0]))
