"""The width multiplier alpha: how it becomes filter counts.

MobileNet, Xception and Inception V3 call `scale_filters`; MobileNetV2 multiplies and calls `round_filters`.
"""

import math
from collections.abc import Callable, Sequence

from keras_sepnets.base.errors import SepnetsError


def scale_filters(filters: int, alpha: float) -> int:
    """Return the filter count at width `alpha`, rounded down as in MobileNets' reference code."""
    return int(filters * alpha)


def round_filters(filters: float) -> int:
    """Return the multiple of 8 nearest to `filters`, at least 8 and never below 90 % of it (MobileNetV2)."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8


def check_alpha(alpha: float, smallest: int | None = None) -> None:
    """Raise SepnetsError unless `alpha` is positive and leaves the narrowest layer at least one filter.

    Args:
        alpha: The width multiplier.
        smallest: Filters of the narrowest layer at alpha 1; None for networks that round up.
    """
    if not (math.isfinite(alpha) and alpha > 0):
        raise SepnetsError(f"alpha, the width multiplier, is a positive number. Received: alpha={alpha}")
    if smallest and scale_filters(smallest, alpha) < 1:
        raise SepnetsError(
            f"alpha is too small: the layer with {smallest} filters at alpha 1 would have none; "
            f"use at least {1 / smallest:g}. Received: alpha={alpha}"
        )


def find_alpha(
    filters: Sequence[tuple[Callable[[float], int], int]], preferred: Sequence[float] = ()
) -> float | None:
    """Return the alpha at which layers have given filter counts; None if there is none.

    An interval of alphas gives the same counts. Of these, the result is the first preferred one, otherwise the one
    with the fewest decimals, or the smallest if it is a round binary fraction.

    Args:
        filters: For each layer, its filters as a function of alpha, which never falls, and their number.
        preferred: Alphas that are more probable than others.
    """
    low = max((_first_alpha(count, number) for count, number in filters), default=math.inf)
    high = min((_first_alpha(count, number + 1) for count, number in filters), default=0.0)
    two, more = ((_round_up(low, digits) for digits in range(*ends)) for ends in ((3,), (3, 17)))
    ratio = [low] if round(low, 5) == low else []  # such as 0.0625: filter counts are exact multiples of it
    for alpha in (*preferred, *two, *ratio, *more, low) if low < high else ():
        if low <= alpha < high and alpha > 0:
            return alpha
    return None


def _round_up(alpha: float, digits: int) -> float:
    """Return the smallest positive number of so many decimals that is not below `alpha`."""
    return max(1, math.ceil(alpha * 10**digits)) / 10**digits


def _first_alpha(count: Callable[[float], int], number: int) -> float:
    """Return the smallest alpha at which a layer has `number` filters or more."""
    low, high = 0.0, 1.0
    while count(high) < number:
        high *= 2
    if count(low) >= number:
        return low
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if count(middle) >= number else (middle, high)
    return high
