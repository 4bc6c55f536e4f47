"""Kernels of ranges, tables, norms over channels, and pooling with places or powers."""

import numpy as np
import pytest
from onnx import helper

from .both import same_as_cpu
from .runs import check, floats

node = helper.make_node


@pytest.mark.parametrize("shape", [(3, 40), (5,), ()])
def test_bytes_by_the_range_of_numbers(shape):
    x = {"x": np.asarray(floats(*shape) * 3 + 1, np.float32)}
    check([node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], x)


def test_bytes_of_zeros_and_of_negative_numbers():
    for x in (np.zeros(7, np.float32), -np.abs(floats(7)), np.abs(floats(7))):
        same_as_cpu(node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"]), {"x": x})


def test_tables_of_bytes(rng):
    x = {"x": rng.integers(0, 256, (3, 7)).astype(np.uint8)}
    table = {"t": rng.permutation(256).astype(np.uint8)}
    check([node("Cast", ["x"], ["i"], to=6), node("Gather", ["t", "i"], ["y"])], x, table)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [[0], [1], [0, 2]])
def test_logarithms_of_sums_of_exponentials(axes, dtype):
    x = (floats(3, 4, 40) * 50).astype(dtype)
    one = node("ReduceLogSumExp", ["x", "a"], ["y"], keepdims=0)
    session = check([one], {"x": x}, {"a": np.array(axes)})
    x[0], x[1, 2] = -np.inf, np.inf
    wanted = np.log(np.sum(np.exp(x.astype(np.float64)), axis=tuple(axes)))
    with np.errstate(all="ignore"):
        got = session.run(None, {"x": x})[0]
    np.testing.assert_array_equal(np.isinf(got), np.isinf(wanted))
    assert not np.isnan(got).any()


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_neighbouring_channels(size):
    one = node("LRN", ["x"], ["y"], size=size, alpha=0.5, beta=0.6, bias=1.5)
    same_as_cpu(one, {"x": floats(2, 6, 3, 2)})


@pytest.mark.parametrize("order", [0, 1])
def test_places_of_maxima(order):
    for options in ({}, {"pads": [1, 0, 1, 1]}, {"strides": [2, 1], "dilations": [1, 2]}):
        options = options | {"kernel_shape": [2, 2], "storage_order": order}
        same_as_cpu(node("MaxPool", ["x"], ["y", "i"], **options), {"x": floats(2, 3, 5, 6)})


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_over_windows(p):
    one = node("LpPool", ["x"], ["y"], kernel_shape=[2, 3], p=p, strides=[2, 1])
    check([one], {"x": floats(2, 3, 5, 6)}, tolerance=1e-4)
