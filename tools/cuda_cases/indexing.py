"""Kernels that write or read at indices: scatters, caches, the largest elements, rotations."""

import numpy as np
from onnx import helper

from ...errors import SardonyxError
from .both import same_as_cpu
from .cases import parametrize, raises, rng
from .runs import check, floats, model_of, on_gpu

node = helper.make_node


@parametrize("reduction", ["none", "add", "mul", "max", "min"])
@parametrize("dtype", ["float32", "int64"])
def case_scatter_of_elements(reduction, dtype):
    x, u = ((floats(3, 4, seed=s) * 9).astype(dtype) for s in (0, 1))
    i = rng().permuted(np.tile([0, 1, -1], (4, 1)), axis=1).T
    if reduction != "none":
        i[:2] = i[0]  # of one place, several
    scatter = node("ScatterElements", ["x", "i", "u"], ["y"], axis=0, reduction=reduction)
    check([scatter], {"x": x, "i": i, "u": u})


@parametrize("reduction", ["none", "add", "mul", "max", "min"])
@parametrize("dtype", ["float32", "float64", "int32"])
def case_scatter_of_places(reduction, dtype):
    x, u = ((floats(*shape) * 9).astype(dtype) for shape in ((3, 4, 5), (3, 5)))
    i = np.array([[0, -1], [2, 1], [0, 3] if reduction != "none" else [1, 1]])
    scatter = node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)
    check([scatter], {"x": x, "i": i, "u": u})


def case_bytes_are_scattered_and_combined():
    x, i, u = np.arange(6, dtype=np.uint8), np.array([[4], [-6]]), np.array([9, 8], np.uint8)
    for reduction in ("none", "add", "max"):
        one = node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)
        check([one], {"x": x, "i": i, "u": u})


@parametrize("operator", ["ScatterElements", "ScatterND"])
def case_indices_out_of_range_are_refused(operator):
    i = np.array([[0], [7]]) if operator == "ScatterND" else np.array([0, -5])
    feeds = {"x": floats(4), "i": i, "u": floats(2)}
    session = on_gpu(model_of([node(operator, ["x", "i", "u"], ["y"])], feeds))
    with raises(SardonyxError, match="out of range"):
        session.run(None, feeds)
    feeds["i"] = i * 0 + np.arange(2).reshape(i.shape)
    np.testing.assert_equal(session.run(None, feeds)[0][:2].tolist(), feeds["u"].tolist())


def case_nothing_is_scattered():
    feeds = {"x": floats(4, 3), "i": np.zeros((0, 1), np.int64), "u": floats(0, 3)}
    check([node("ScatterND", ["x", "i", "u"], ["y"], reduction="add")], feeds)


@parametrize("axis", [0, 1, -1])
@parametrize("largest", [0, 1])
def case_the_largest(axis, largest):
    x = rng().integers(0, 4, (4, 5, 6)).astype(np.float32)  # many are equal
    count = {"k": np.array([3])}
    check([node("TopK", ["x", "k"], ["v", "i"], axis=axis, largest=largest)], {"x": x}, count)


def case_the_largest_of_nan_and_of_any_order():
    count = {"k": np.array([4])}
    for x in (np.arange(19), -np.arange(19), np.zeros(19), np.array([1, np.nan, 3, 2, np.nan])):
        feeds = {"x": x.astype(np.float32)}
        session = on_gpu(model_of([node("TopK", ["x", "k"], ["v", "i"])], feeds, count))
        order = np.argsort(-feeds["x"], kind="stable")
        first = [i for i in range(len(x)) if np.isnan(x[i])]
        order = np.array([*first, *(i for i in order if not np.isnan(x[i]))])[:4]
        values, places = session.run(None, feeds)
        np.testing.assert_equal(places.tolist(), order.tolist())
        np.testing.assert_array_equal(values, feeds["x"][order])


def case_too_few_elements_are_refused():
    feeds = {"x": floats(2, 3), "k": np.array([4])}
    session = on_gpu(model_of([node("TopK", ["x", "k"], ["v", "i"])], feeds))
    with raises(SardonyxError, match="k if that is more"):
        session.run(None, feeds)
    np.testing.assert_equal(session.run(None, {**feeds, "k": np.array([3])})[0].shape, (2, 3))


@parametrize("interleaved", [0, 1])
@parametrize("width", [0, 4])
def case_rotary_embedding(interleaved, width):
    half = (width or 6) // 2
    feeds = {"x": floats(2, 3, 4, 6), "p": np.array([[3, 0, 1, 4], [2, 2, 0, 1]])}
    weights = {"c": floats(5, half, seed=1), "s": floats(5, half, seed=2)}
    turned = node("RotaryEmbedding", ["x", "c", "s", "p"], ["y"], interleaved=interleaved,
                  rotary_embedding_dim=width)  # fmt: skip
    session = check([turned], feeds, weights)
    with raises(SardonyxError, match="out of range"):
        session.run(None, {**feeds, "p": feeds["p"] + 1})


@parametrize("mode", ["linear", "circular"])
def case_rows_are_written_into_a_cache(mode):
    begins = np.array([1, 4 if mode == "circular" else 2])
    feeds = {"c": floats(2, 3, 5, 4), "u": floats(2, 3, 3, 4, seed=1), "i": begins}
    check([node("TensorScatter", ["c", "u", "i"], ["y"], mode=mode, axis=2)], feeds, opset=24)


@parametrize("axes", [(0, 1), (1, 0)])
def case_sequences_are_reversed(axes):
    feeds = {"x": floats(4, 4, 3), "l": np.array([2, 4, 1, 3])}
    reverse = node("ReverseSequence", ["x", "l"], ["y"], batch_axis=axes[0], time_axis=axes[1])
    session = check([reverse], feeds)
    with raises(SardonyxError, match="does not allow"):
        session.run(None, {**feeds, "l": feeds["l"] + 1})


@parametrize("dtype", ["float32", "int64", "uint8", "float64"])
@parametrize("largest", [0, 1])
def case_the_largest_of_long_lines(largest, dtype):
    numbers = rng()
    x = numbers.integers(0, 200, (2, 150, 2)).astype(dtype)
    if dtype[0] == "f":
        x = x - 100.5
        x[0, 3:5], x[0, 9], x[1, 7] = np.nan, -np.inf, np.inf
    for k in (1, 7, 150):
        top = node("TopK", ["x", "k"], ["v", "i"], axis=1, largest=largest)
        if dtype[0] == "f":  # NaN counts as the largest, as in numpy's sorting
            same_as_cpu(top, {"x": x}, {"k": np.array([k])})
        else:
            check([top], {"x": x}, {"k": np.array([k])})
