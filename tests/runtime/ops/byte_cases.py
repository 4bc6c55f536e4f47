"""What tests of products of bytes share: both forms of words, and bytes of the whole range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.runtime.ops import quads


@pytest.fixture(autouse=True, params=["quads", "pairs"])
def words(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, lowered_anew: None
) -> str:
    """Let constant weights be words of four bytes, on any processor, or pairs."""
    monkeypatch.setattr(quads, "words_pay", lambda: request.param == "quads")
    return str(request.param)


def numbers(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
