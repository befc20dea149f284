"""Networks of a few blocks, for tests of what surrounds a network: the time to trace one grows with its layers.

Blocks, layers and their names are those of the papers; only the tables have fewer rows.
"""

import contextlib

import pytest

XCEPTION_FILTERS = 128
MOBILENET_BLOCKS = 2


@contextlib.contextmanager
def short_networks():
    """Let the builders build MobileNet of 2 blocks, MobileNetV2 of 3, the others of about half their layers."""
    from keras_sepnets.models import inception_v3, mobilenet, mobilenet_v2, xception
    from keras_sepnets.models.registry import build_shapes

    kinds = (
        inception_v3.module_35x35(32),
        inception_v3.REDUCTION_TO_17X17,
        inception_v3.module_17x17(128),
        inception_v3.REDUCTION_TO_8X8,
        inception_v3.MODULE_8X8,
    )
    first, inner = xception.ENTRY_FLOW[0], xception.MIDDLE_MODULE
    one = (XCEPTION_FILTERS,)
    entry = (first._replace(filters=one), *2 * (inner._replace(filters=one),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet, "BLOCKS", mobilenet.BLOCKS[:MOBILENET_BLOCKS])
        patch.setattr(mobilenet_v2, "BLOCKS", mobilenet_v2.BLOCKS[:3])
        patch.setattr(inception_v3, "MODULES", kinds)
        patch.setattr(xception, "ENTRY_FLOW", entry)
        patch.setattr(xception, "MIDDLE_MODULE", inner._replace(filters=len(inner.filters) * one))
        patch.setattr(xception, "EXIT_MODULE", xception.EXIT_MODULE._replace(filters=one))
        patch.setattr(xception, "EXIT_FILTERS", one)
        build_shapes.cache_clear()
        try:
            yield
        finally:
            build_shapes.cache_clear()


def are_short():
    """Return whether the builders build short networks now."""
    from keras_sepnets.models import mobilenet

    return len(mobilenet.BLOCKS) == MOBILENET_BLOCKS
