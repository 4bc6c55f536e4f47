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
    "offsets": False,
    "ports": False, "report": False, "force": False, "images": None, "threads": None,
    "target_opset": None,
}  # fmt: skip


@pytest.mark.parametrize("bits", [8.0, 4.0, True, "8"])
def test_numbers_of_bits_that_are_no_whole_numbers_are_refused(bits: Any) -> None:
    with pytest.raises(InvalidArgument, match="bits must be one of 8, 4"):
        check_options("weights", None, {**_OPTIONS, "bits": bits})


def test_numbers_of_bits_of_numpy_are_taken() -> None:
    check_options("weights", None, {**_OPTIONS, "bits": np.int64(4)})


_WRONG = {
    "products": (1, "yes", None, [True]), "equalize": (0, "no"), "correct": ("", None),
    "offsets": (1, None),
    "ports": (2.0,), "report": ("full", np.ones(1, bool)), "force": ("true", 1),
    "method": (None, 8, ["auto"], np.array(["auto", "mse"])), "rounding": (None, b"nearest"),
    "percentile": ("99", np.nan, np.inf, True, 50, 101, None),
    "block": (32.0, 24, 8, -32, True, 1 << 40),
    "keep": ("conv", None, 5, [1], iter(["conv"]), b"conv", {"conv": 1}),
    "images": ({"layout": "NCHW"}, "NCHW"), "threads": (0, -1, 1.0, True, "2", 10**9),
    "target_opset": (0, 13.0, "13", True), "plots": (5, ["folder"], "a\0b"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in _WRONG.items() for value in values]
)
def test_values_that_an_option_does_not_have_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"^{name} must .*not ") as raised:
        check_options("static", None, {**_OPTIONS, name: value})
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("mode", [None, 8, "Static", ["static"], np.array(["static", "dynamic"])])
def test_modes_that_there_are_not_are_refused(mode: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^mode must be one of"):
        check_options(mode, None, _OPTIONS)


@pytest.mark.parametrize("path", [5, b"model.onnx", ["model.onnx"], "a\0.onnx"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^path must be a path"):
        check_options("static", path, _OPTIONS)


def test_truth_values_of_numpy_are_taken() -> None:
    flags = ("products", "equalize", "correct", "report", "force")
    check_options("static", None, _OPTIONS | dict.fromkeys(flags, np.True_))
