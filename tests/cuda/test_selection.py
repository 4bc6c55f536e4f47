"""Results whose sizes the data decide: what is not zero, unique or not suppressed."""

import numpy as np
import pytest
import sardonyx
from onnx import helper
from sardonyx.tools.cuda_cases.both import same_as_cpu
from sardonyx.tools.cuda_cases.runs import check, floats, model_of, on_gpu

node = helper.make_node


@pytest.mark.parametrize("shape", [(7,), (5, 9), (2, 3, 41), (1, 200), (0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "bool", "int16", "int64"])
def test_positions_of_what_is_not_zero(shape, dtype, rng):
    x = (rng.integers(-1, 2, shape)).astype(dtype)
    check([node("NonZero", ["x"], ["y"])], {"x": x})


def test_zeros_have_signs_and_nan_is_none():
    x = np.array([0.0, -0.0, np.nan, np.inf, 1e-40, 0.0], np.float32)
    check([node("NonZero", ["x"], ["y"])], {"x": x})


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_compress(axis, rng):
    options = {} if axis is None else {"axis": axis}
    feeds = {"x": floats(4, 6), "c": rng.random(4) < 0.5}
    check([node("Compress", ["x", "c"], ["y"], **options)], feeds)


@pytest.mark.parametrize("is_sorted", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_unique(axis, is_sorted, dtype, rng):
    x = rng.integers(0, 3, (9, 4) if axis is not None else (5, 7)).astype(dtype)
    options = {} if axis is None else {"axis": axis}
    unique = node("Unique", ["x"], ["y", "i", "v", "c"], sorted=is_sorted, **options)
    # The reference has no results of unsorted rows, or those of sorted ones.
    if is_sorted:
        check([unique], {"x": x})
    else:
        same_as_cpu(unique, {"x": x})


def boxes_and_scores(rng, images, classes, count, is_centred=0):
    low = rng.random((images, count, 2))
    size = rng.random((images, count, 2)) * 0.6 + 0.05
    boxes = np.concatenate([low, size if is_centred else low + size], 2)
    return {
        "b": boxes.astype(np.float32),
        "s": rng.random((images, classes, count)).astype(np.float32),
    }


@pytest.mark.parametrize("is_centred", [0, 1])
@pytest.mark.parametrize("sizes", [(1, 1, 30), (2, 3, 17), (1, 2, 1)])
def test_boxes_that_overlap_are_suppressed(sizes, is_centred, rng):
    feeds = boxes_and_scores(rng, *sizes, is_centred)
    limits = {"m": np.array([5]), "o": np.float32([0.4]), "t": np.float32([0.2])}
    suppression = node("NonMaxSuppression", ["b", "s", "m", "o", "t"], ["y"],
                       center_point_box=is_centred)  # fmt: skip
    check([suppression], feeds, limits)


def test_scores_that_are_equal_or_no_numbers(rng):
    feeds = boxes_and_scores(rng, 1, 1, 12)
    feeds["s"][0, 0, 3:6], feeds["s"][0, 0, 8] = 0.5, np.nan
    model = model_of([node("NonMaxSuppression", ["b", "s", "m"], ["y"])], feeds,
                     {"m": np.array([20])})  # fmt: skip
    wanted = sardonyx.Session(model.SerializeToString()).run(None, feeds)[0]
    np.testing.assert_array_equal(on_gpu(model).run(None, feeds)[0], wanted)
