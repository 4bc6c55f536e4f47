"""Collection of garbage is made rarer for a while, and then what it was."""

from __future__ import annotations

import gc

import pytest
from sardonyx.kernels.collection import rare_collection


@pytest.mark.parametrize("thresholds", [(700, 10, 10), (0, 10, 10), (10**6, 50, 50)])
def test_collection_is_never_made_more_frequent(thresholds):
    before = gc.get_threshold()
    gc.set_threshold(*thresholds)
    try:
        with rare_collection():
            during = gc.get_threshold()
        assert gc.get_threshold() == thresholds
    finally:
        gc.set_threshold(*before)
    assert all(new >= old for new, old in zip(during, thresholds, strict=True))
    assert (during[0] == 0) == (thresholds[0] == 0)
