"""Pairs of int16 of rows of bytes: short and long rows, odd ones, groups, rows that lie apart."""

import numpy as np
import pytest
from sardonyx.kernels.cpu.pairs import pair_rows


@pytest.mark.parametrize("kind", ["u8", "i8"])
@pytest.mark.parametrize("zeros", ["none", "one", "rows"])
@pytest.mark.parametrize(
    ("groups", "channels", "apart"),
    [(1, 3, 0), (1, 8, 0), (1, 40, 0), (1, 41, 0), (2, 5, 0), (2, 6, 0), (2, 20, 4), (1, 4, 3)],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_rows_are_paired(rng, kind, zeros, groups, channels, apart, parts):
    images, rows = 2, 7
    dtype = np.uint8 if kind == "u8" else np.int8
    step = groups * channels + apart
    ends = np.iinfo(dtype)
    x = rng.integers(ends.min, ends.max + 1, (images, rows * step + 5)).astype(dtype)
    zero = rng.integers(ends.min, ends.max + 1, images * rows).astype(dtype)
    points = {"none": 0 * zero, "one": zero[0] + 0 * zero, "rows": zero}[zeros]
    padded = (channels + 1) // 2 * 2
    y = np.full(images * rows * groups * padded + 1, 77, np.int16)
    for part in range(parts):
        arguments = {
            "x": x, "zero": 0 if zeros == "none" else zero, "y": y, "images": images,
            "rows": rows, "groups": groups, "channels": channels, "x_image": x.shape[1],
            "x_row": step, "zero_step": int(zeros == "rows"), "part": part, "until": part + 1,
            "parts": parts,
        }  # fmt: skip
        assert pair_rows(kind)(**arguments) == 0
    taken = x[:, : rows * step].reshape(images * rows, step)[:, : groups * channels]
    wide = taken.astype(np.int16) - points.astype(np.int16)[:, None]
    expected = np.zeros((images * rows, groups, padded), np.int16)
    expected[..., :channels] = wide.reshape(images * rows, groups, channels)
    np.testing.assert_array_equal(y[:-1], expected.ravel())
    assert y[-1] == 77
