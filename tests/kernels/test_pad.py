from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.pad import MODES, pad


def strides(x: np.ndarray) -> list[int]:
    return [s // x.itemsize for s in x.strides]


def padded(run: Any, numbered: Any, x: np.ndarray, pads: list[int], mode: str, value: float,
           threads: int, out: np.ndarray) -> None:  # fmt: skip
    words = numbered("n", x.shape, 8, 1) | numbered("m", out.shape, 8, 1)
    words |= numbered("p", pads[: x.ndim], 8, 0) | numbered("x", strides(x), 8, 0)
    words |= numbered("y", strides(out), 8, 0)
    constant = np.array([value], x.dtype)
    kernel = pad(x.itemsize)
    code = run(kernel, threads, x=x, y=out, value=constant, mode=MODES.index(mode), **words)
    assert code == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "pads"),
    [
        ((1, 3, 5, 6), [0, 0, 1, 2, 0, 0, 3, 1]),
        ((2, 7, 9, 40), [0, 1, 2, 0, 1, 0, 3, 0]),
        ((4, 70), [2, 5, 1, 40]),
        ((6,), [3, 4]),
        ((1, 2, 3, 2, 4, 3), [0, 1, 0, 1, 2, 0, 0, 0, 1, 1, 0, 2]),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_pads_like_numpy(
    run: Any, aligned_fields: Any, rng: np.random.Generator, mode: str, dtype: Any,
    shape: tuple[int, ...], pads: list[int], threads: int,
) -> None:  # fmt: skip
    x = rng.integers(0, 100, shape).astype(dtype)
    pairs = list(zip(pads[: len(shape)], pads[len(shape) :], strict=True))
    more = {"constant_values": 7} if mode == "constant" else {}
    result = np.pad(x, pairs, mode, **more)  # type: ignore[call-overload]
    out = np.zeros_like(result)
    padded(run, aligned_fields, x, pads, mode, 7, threads, out)
    np.testing.assert_array_equal(out, result)


@pytest.mark.parametrize("mode", MODES)
def test_strided_views(run: Any, aligned_fields: Any, rng: np.random.Generator, mode: str) -> None:
    x = rng.standard_normal((2, 9, 8, 12)).astype(np.float32).transpose(0, 3, 1, 2)
    out = np.zeros((2, 14, 12, 12), np.float32).transpose(0, 3, 1, 2)
    padded(run, aligned_fields, x, [0, 0, 2, 1, 0, 0, 3, 3], mode, 0, 2, out)
    pairs = ((0, 0), (0, 0), (2, 3), (1, 3))
    np.testing.assert_array_equal(out, np.pad(x, pairs, mode))  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_negative_pads_crop(
    run: Any, aligned_fields: Any, rng: np.random.Generator, mode: str
) -> None:
    x = rng.standard_normal((3, 8, 9)).astype(np.float32)
    out = np.zeros((3, 7, 8), np.float32)
    padded(run, aligned_fields, x, [0, -2, 3, 0, 1, -4], mode, 0, 2, out)
    whole = np.pad(x, ((0, 0), (0, 1), (3, 0)), mode)  # type: ignore[call-overload]
    np.testing.assert_array_equal(out, whole[:, 2:, :8])


def test_a_constant_fills_what_had_no_elements(run: Any, aligned_fields: Any) -> None:
    out = np.zeros((3, 4), np.float32)
    padded(run, aligned_fields, np.zeros((0, 4), np.float32), [1, 0, 2, 0], "constant", 5, 1, out)
    assert (out == 5).all()
