"""The width multiplier alpha: how it becomes filter counts.

MobileNet, Xception and Inception V3 call `scale_filters`; MobileNetV2 multiplies and calls `round_filters`.
"""

import math

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
