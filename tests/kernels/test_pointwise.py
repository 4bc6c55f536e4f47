"""Generated kernels walk operands of any strides: rows end to end, apart, repeated, narrow."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from sardonyx.kernels.pointwise import pointwise

KINDS = {1: "f32v", 0: "f32s"}


def operand(rng, dims, mode):
    """An array and its strides: dense, rows apart, repeated along rows or along channels."""
    _, d1, d2, d3 = dims
    rows = d3 + (5 if mode == "apart" else 0)
    strides = {
        "row": (0, 0, 0, 1),
        "one": (0, 0, 0, 0),
        "pixel": (d1 * d2, d2, 1, 0),
        "across": (d1 * d2 * d3, d2 * d3, 1, d2),
    }.get(mode, (d1 * d2 * rows, d2 * rows, rows, 1))
    size = 1 + sum((n - 1) * s for n, s in zip(dims, strides, strict=True))
    return rng.standard_normal(size).astype(np.float32), strides


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dims", [(2, 3, 5, 16), (1, 1, 700, 9), (3, 1, 2, 1), (1, 40, 1, 130)])
def test_operands_of_any_strides(rng, dims, threads):
    modes = ("dense", "apart", "row", "one", "pixel", "across")
    for first, second, result in itertools.product(modes, modes, ("dense", "apart")):
        (x0, s0), (x1, s1), (y, s) = (operand(rng, dims, mode) for mode in (first, second, result))
        words = {f"d{i}": n for i, n in enumerate(dims)}
        kinds = []
        for name, array, strides in (("y", y, s), ("x0", x0, s0), ("x1", x1, s1)):
            words |= {f"{name}p": array} | {f"{name}s{i}": n for i, n in enumerate(strides)}
            kinds.append(KINDS.get(strides[3], "f32g"))
        views = [
            as_strided(array, dims, [4 * n for n in strides])
            for array, strides in ((x0, s0), (x1, s1), (y, s))
        ]
        expected = views[0] * views[1] - views[0]
        untouched = y.copy()
        kernel = pointwise("sub(mul(x0,x1),x0)", " ".join(kinds))
        for part in range(threads):
            assert kernel(**words, part=part, until=part + 1, parts=threads) == 0
        np.testing.assert_allclose(views[2], expected, rtol=1e-5, atol=1e-6)
        as_strided(untouched, dims, [4 * n for n in s])[...] = expected
        np.testing.assert_allclose(y, untouched, rtol=1e-5, atol=1e-6)
