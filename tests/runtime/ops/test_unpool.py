"""MaxUnpool, Col2Im and CenterCropPad against onnxruntime, or the standard where that errs."""

import numpy as np
import pytest
from onnx.helper import make_node
from sardonyx.reference import evaluator

from .conftest import build


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


@pytest.fixture
def check_with_standard(check):
    def check_with_standard(node, feeds, weights=None, **more):
        wanted = evaluator(build([node], [feeds], weights)).run(None, feeds)
        check([node], feeds, weights, wanted=[wanted], **more)

    return check_with_standard


# --- MaxUnpool --------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_was_pooled_is_put_back(check, rank):
    window = dict(kernel_shape=[2] * rank, strides=[2] * rank)
    pool = make_node("MaxPool", ["x"], ["p", "i"], **window)
    back = make_node("MaxUnpool", ["p", "i"], ["y"], **window)
    feeds = [{"x": normal(n, 3, *(4, 6, 8)[:rank])} for n in (1, 2)]
    check([pool, back], feeds, threads=[1, 4])


def test_more_and_fewer_elements_than_the_window_implies(check_with_standard):
    node = make_node(
        "MaxUnpool", ["x", "i", "s"], ["y"], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 1, 0, 0]
    )
    feeds = {"x": normal(1, 2, 3, 3), "i": np.random.default_rng(0).permutation(60)[:18]}
    feeds["i"] = feeds["i"].reshape(1, 2, 3, 3)
    for shape in ([1, 2, 6, 5], [1, 2, 7, 6], [1, 2, 4, 5], [1, 3, 6, 3]):
        check_with_standard(node, feeds, {"s": np.array(shape)})


def test_any_type_is_put_back(check_with_standard):
    node = make_node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2], strides=[2])
    for dtype in ("float64", "float16"):
        x = np.arange(6).reshape(1, 2, 3).astype(dtype)
        feeds = {"x": x, "i": np.array([[[1, 2, 5], [6, 9, 11]]])}
        check_with_standard(node, feeds, precision="strict")


def test_indices_outside_are_refused(refused):
    node = make_node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2], strides=[2], name="back")
    for wrong in (12, -1, 2**62):
        feeds = {"x": normal(1, 2, 3), "i": np.array([[[1, 2, 5], [6, 9, wrong]]])}
        text = "" if wrong == 2**62 else f" {wrong}"  # no code holds it
        text = (
            f"'back' (MaxUnpool), computing 'y': index{text} out of range in 'i': expected 0 to 11"
        )
        assert text in refused([node], feeds)
    feeds = {"x": normal(1, 2, 3), "i": np.array([[[1, 2], [6, 9]]])}
    assert "back" in refused([node], feeds)
    feeds["x"] = normal(1, 2, 0)
    assert "back" in refused([node], feeds)


# --- Col2Im -----------------------------------------------------------------------------------

BLOCKS = [
    dict(block=[2, 2], image=[4, 6]),
    dict(block=[3, 3], image=[19, 40], pads=[1, 1, 1, 1]),
    dict(block=[2, 2], image=[4, 6], strides=[2, 2]),
    dict(block=[2, 3], image=[7, 8], strides=[3, 2], pads=[0, 1, 2, 0]),
    dict(block=[2, 2], image=[5, 7], dilations=[2, 3]),
    dict(block=[3], image=[9], strides=[2], pads=[1, 0]),
    dict(block=[2, 1, 3], image=[3, 4, 5], strides=[1, 2, 1], pads=[1, 0, 0, 0, 0, 2]),
    dict(block=[2, 2, 2], image=[4, 2, 6], strides=[2, 2, 2]),
]


@pytest.mark.parametrize("case", BLOCKS, ids=str)
def test_blocks_are_added_up(check_with_standard, case):
    case = dict(case)
    block, image = case.pop("block"), case.pop("image")
    node = make_node("Col2Im", ["x", "s", "k"], ["y"], **case)
    rank = len(block)
    pads = case.get("pads", [0] * 2 * rank)
    sizes = zip(image, block, case.get("strides", [1] * rank), case.get("dilations", [1] * rank),
                pads[:rank], pads[rank:], strict=True)  # fmt: skip
    places = np.prod([(n + a + b - (k - 1) * d - 1) // s + 1 for n, k, s, d, a, b in sizes])
    weights = {"s": np.array(image), "k": np.array(block)}
    for n, channels in ((1, 1), (2, 5)):
        x = {"x": normal(n, channels * int(np.prod(block)), int(places))}
        check_with_standard(node, x, weights, threads=[1, 4])
        check_with_standard(node, x, weights, dims={"x": ["N", "C", "L"]})


def test_blocks_that_do_not_fit_are_refused(refused):
    node = make_node("Col2Im", ["x", "s", "k"], ["y"], name="blocks")
    weights = {"s": np.array([4, 4]), "k": np.array([2, 2])}
    for shape in ((1, 6, 9), (1, 4, 8)):
        for dims in (None, {"x": [1, "C", "L"]}):
            assert "blocks" in refused([node], {"x": normal(*shape)}, weights, dims=dims)
    for wrong in ([0, 2], [2], [2, -1]):
        other = {"s": weights["s"], "k": np.array(wrong)}
        assert "blocks" in refused([node], {"x": normal(1, 4, 9)}, other)


# --- CenterCropPad ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "bool", "uint16"])
def test_centres_are_cropped_and_padded(check, dtype):
    x = np.random.default_rng(0).integers(0, 2, (3, 7, 8)).astype(dtype)
    for axes, sizes in (
        (None, [4, 4, 11]), ([1], [2]), ([-1, 0], [3, 8]), ([2], [0]), ([1, 2], [7, 8]),
    ):  # fmt: skip
        more = {} if axes is None else {"axes": axes}
        node = make_node("CenterCropPad", ["x", "s"], ["y"], **more)
        check([node], {"x": x}, {"s": np.array(sizes)}, opset=18)
        check([node], {"x": x}, {"s": np.array(sizes)}, opset=18, dims={"x": ["A", "B", "C"]})


def test_wrong_sizes_of_centres_are_refused(refused):
    for axes, sizes in (([1], [2, 3]), ([3], [2]), ([0, 0], [2, 2]), ([1], [-2])):
        node = make_node("CenterCropPad", ["x", "s"], ["y"], axes=axes, name="centre")
        assert "centre" in refused([node], {"x": normal(2, 3, 4)}, {"s": np.array(sizes)}, opset=18)
    feeds = {"x": normal(2, 3, 4), "s": np.array([3])}
    node = make_node("CenterCropPad", ["x", "s"], ["y"], name="centre")
    assert "centre" in refused([node], feeds, dims={"s": ["n"]}, opset=18)
