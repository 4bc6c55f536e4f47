"""Options of quantization that are given values of the wrong type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.errors import InvalidArgument
from sardonyx.tools.quantize_options import check_options

_OPTIONS: dict[str, Any] = {
    "method": "auto", "bits": 8, "rounding": "nearest", "percentile": 99.99, "block": 32,
    "keep": (), "products": False, "equalize": False, "plots": None, "correct": False,
    "ports": False,
}  # fmt: skip


@pytest.mark.parametrize("bits", [8.0, 4.0, True, "8"])
def test_numbers_of_bits_that_are_no_whole_numbers_are_refused(bits: Any) -> None:
    with pytest.raises(InvalidArgument, match="bits must be one of 8, 4"):
        check_options("weights", None, {**_OPTIONS, "bits": bits})


def test_numbers_of_bits_of_numpy_are_taken() -> None:
    check_options("weights", None, {**_OPTIONS, "bits": np.int64(4)})
