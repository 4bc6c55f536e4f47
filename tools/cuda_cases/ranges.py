"""Kernels of ranges, tables, norms over channels, and pooling with places or powers."""

import numpy as np
from onnx import helper

from .both import same_as_cpu
from .cases import parametrize, rng
from .runs import check, floats

node = helper.make_node


@parametrize("shape", [(3, 40), (5,), ()])
def case_bytes_by_the_range_of_numbers(shape):
    x = {"x": np.asarray(floats(*shape) * 3 + 1, np.float32)}
    check([node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], x)


def case_bytes_of_zeros_and_of_negative_numbers():
    for x in (np.zeros(7, np.float32), -np.abs(floats(7)), np.abs(floats(7))):
        same_as_cpu(node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"]), {"x": x})


def case_tables_of_bytes():
    x = {"x": rng().integers(0, 256, (3, 7)).astype(np.uint8)}
    table = {"t": rng().permutation(256).astype(np.uint8)}
    check([node("Cast", ["x"], ["i"], to=6), node("Gather", ["t", "i"], ["y"])], x, table)


@parametrize("dtype", ["float32", "float64"])
@parametrize("axes", [[0], [1], [0, 2]])
def case_logarithms_of_sums_of_exponentials(axes, dtype):
    x = (floats(3, 4, 40) * 50).astype(dtype)
    one = node("ReduceLogSumExp", ["x", "a"], ["y"], keepdims=0)
    session = check([one], {"x": x}, {"a": np.array(axes)})
    x[0], x[1, 2] = -np.inf, np.inf
    wanted = np.log(np.sum(np.exp(x.astype(np.float64)), axis=tuple(axes)))
    with np.errstate(all="ignore"):
        got = session.run(None, {"x": x})[0]
    np.testing.assert_array_equal(np.isinf(got), np.isinf(wanted))
    np.testing.assert_equal(np.isnan(got), False)


@parametrize("size", [1, 3, 4, 5])
def case_neighbouring_channels(size):
    one = node("LRN", ["x"], ["y"], size=size, alpha=0.5, beta=0.6, bias=1.5)
    same_as_cpu(one, {"x": floats(2, 6, 3, 2)})


@parametrize("order", [0, 1])
def case_places_of_maxima(order):
    for options in ({}, {"pads": [1, 0, 1, 1]}, {"strides": [2, 1], "dilations": [1, 2]}):
        options = options | {"kernel_shape": [2, 2], "storage_order": order}
        same_as_cpu(node("MaxPool", ["x"], ["y", "i"], **options), {"x": floats(2, 3, 5, 6)})


@parametrize("p", [1, 2, 3])
def case_norms_over_windows(p):
    one = node("LpPool", ["x"], ["y"], kernel_shape=[2, 3], p=p, strides=[2, 1])
    check([one], {"x": floats(2, 3, 5, 6)}, tolerance=1e-4)
