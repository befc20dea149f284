"""Networks of a few blocks, for tests of what surrounds a network: the time to trace one grows with its layers.

Blocks, layers and their names are those of the papers; only the tables have fewer rows.
"""

import contextlib

import pytest

XCEPTION_FILTERS = 128


@contextlib.contextmanager
def short_networks():
    """Let the builders build MobileNet of 2 blocks, MobileNetV2 of 3, and Xception of half its layers."""
    from keras_sepnets.models import mobilenet, mobilenet_v2, xception

    first, inner = xception.ENTRY_FLOW[0], xception.MIDDLE_MODULE
    one = (XCEPTION_FILTERS,)
    entry = (first._replace(filters=one), *2 * (inner._replace(filters=one),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet, "BLOCKS", mobilenet.BLOCKS[:2])
        patch.setattr(mobilenet_v2, "BLOCKS", mobilenet_v2.BLOCKS[:3])
        patch.setattr(xception, "ENTRY_FLOW", entry)
        patch.setattr(xception, "EXIT_MODULE", xception.EXIT_MODULE._replace(filters=one))
        patch.setattr(xception, "EXIT_FILTERS", one)
        yield
