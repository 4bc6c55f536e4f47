"""Generated kernels walk operands of any strides: rows end to end, apart, repeated, narrow."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from sardonyx.kernels.pointwise import is_vector, pointwise

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
@pytest.mark.parametrize("known", [True, False])
def test_operands_of_any_strides(rng, dims, threads, known):
    """Those of a row may be known to be 0 or 1 only when it runs."""
    modes = ("dense", "apart", "row", "one", "pixel", "across")
    for first, second, result in itertools.product(modes, modes, ("dense", "apart")):
        (x0, s0), (x1, s1), (y, s) = (operand(rng, dims, mode) for mode in (first, second, result))
        words = {f"d{i}": n for i, n in enumerate(dims)}
        kinds = []
        for name, array, strides in (("y", y, s), ("x0", x0, s0), ("x1", x1, s1)):
            words |= {f"{name}p": array} | {f"{name}s{i}": n for i, n in enumerate(strides)}
            kinds.append(KINDS.get(strides[3], "f32g"))
        if not known:
            kinds[1:] = ["f32e" if kind in ("f32v", "f32s") else kind for kind in kinds[1:]]
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


def run(expression, kinds, y, *operands):
    """Run a kernel over dense vectors; operands of one element are numbers."""
    words = {f"d{i}": 1 for i in range(3)} | {"d3": y.size}
    for name, array in (("y", y), *((f"x{i}", x) for i, x in enumerate(operands))):
        words |= {f"{name}p": array, f"{name}s3": int(array.size > 1)}
        words |= {f"{name}s{i}": 0 for i in range(3)}
    assert is_vector(expression, kinds)
    assert pointwise(expression, kinds)(**words) == 0


@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 40, 133])
@pytest.mark.parametrize("kind", ["i8", "u8", "i16", "u16"])
def test_integers_among_vectors(rng, kind, size):
    info = np.iinfo({"i": "int", "u": "uint"}[kind[0]] + kind[1:])
    x = rng.integers(info.min, info.max + 1, size).astype(info.dtype)
    x[0] = info.min
    scale, y = np.array([1.5], np.float32), np.full(size + 1, 7, info.dtype)
    limits = f"{float(info.min)},{float(info.max)}"
    text = f"saturate(round(mul(x0,x1)),{limits})"
    run(text, f"{kind}v {kind}{'v' if size > 1 else 's'} f32s", y[:size], x, scale)
    np.testing.assert_array_equal(y[:size], np.clip(np.rint(x * 1.5), info.min, info.max))
    assert y[size] == 7


@pytest.mark.parametrize("size", [2, 16, 45])
def test_int32_becomes_float32(rng, size):
    a, b = (rng.integers(-(2**31), 2**31, size).astype(np.int32) for _ in range(2))
    scale, y = np.array([0.5], np.float32), np.empty(size, np.float32)
    run("mul(to_f32(to_i32(add(x0,x1))),x2)", "f32v i32v i32v f32s", y, a, b, scale)
    np.testing.assert_array_equal(y, (a + b).astype(np.float32) / 2)
    assert not is_vector("mul(to_f32(add(x0,1)),x1)", "f32v i32v f32s")
    assert not is_vector("to_i32(add(x0,x1))", "i32v i32v i32v")
    assert not is_vector("max(x0,x1)", "f32v i32v f32s")
