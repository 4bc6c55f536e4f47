"""Convolutions and poolings of volumes, and convolutions whose weights a step computes."""

import numpy as np
import pytest
from onnx.helper import make_node


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def node(op_type, **attributes):
    return make_node(op_type, ["x", "w", "b"], ["y"], **attributes)


CONVOLUTIONS = [
    dict(kernel=(3, 3, 3), pads=[1] * 6),
    dict(kernel=(3, 3, 3), strides=[2, 2, 2], pads=[1, 0, 1, 0, 1, 1]),
    dict(kernel=(3, 3, 3), dilations=[2, 1, 1], pads=[2, 1, 1, 2, 1, 1]),
    dict(kernel=(2, 1, 3), dilations=[3, 1, 2], strides=[2, 1, 1]),
    dict(kernel=(1, 3, 3), pads=[0, 1, 1, 0, 1, 1], strides=[2, 1, 1]),
    dict(kernel=(3, 1, 1), pads=[2, 0, 0, 1, 0, 0]),
    dict(kernel=(1, 1, 1)),
    dict(kernel=(1, 1, 1), pads=[1, 0, 0, 2, 0, 0], strides=[1, 1, 2]),
    dict(kernel=(2, 3, 4), auto_pad="SAME_LOWER", strides=[2, 1, 1]),
    # More padding than taps: slices that are made of nothing but the bias.
    dict(kernel=(2, 3, 3), pads=[3, 1, 1, 4, 1, 1]),
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions_of_volumes(check, attributes, groups):
    attributes = dict(attributes)
    kernel = attributes.pop("kernel")
    volumes = [{"x": normal(*shape)} for shape in ((1, 6, 4, 7, 9), (2, 6, 5, 8, 6))]
    for out in (6, 24):
        weights = {"w": normal(out, 6 // groups, *kernel), "b": normal(out, seed=1)}
        check([node("Conv", group=groups, **attributes)], volumes, weights)


def test_what_follows_a_convolution_of_volumes(check):
    weights = {"w": normal(17, 3, 3, 3, 3), "b": normal(17), "s": normal(1, 17, 1, 1, 1)}
    conv = node("Conv", pads=[1] * 6)
    x = [{"x": normal(n, 3, 3, 6, 7)} for n in (1, 2)]
    check([conv, make_node("Relu", ["y"], ["z"])], x, weights, threads=[1, 4])
    bias = make_node("Add", ["y", "s"], ["z"])
    more = make_node("Add", ["z", "y"], ["u"])
    check([conv, bias, make_node("Sigmoid", ["z"], ["u"])], x, weights)
    check([conv, make_node("Softplus", ["y"], ["z"]), more], x, weights)
    pools = [dict(kernel_shape=[1, 2, 2], strides=[1, 2, 2]), dict(kernel_shape=[2] * 3)]
    for attributes in pools:
        check([conv, make_node("MaxPool", ["y"], ["z"], **attributes)], x, weights)
    rows = {"w": normal(17, 3, 3, 1, 1), "b": normal(17)}
    pool = make_node("MaxPool", ["y"], ["z"], **pools[0])
    check([node("Conv"), pool], x, rows)


def test_volumes_of_one_pixel_and_of_none(check):
    weights = {"w": normal(5, 4, 3, 3, 3), "b": normal(5)}
    for groups in (1, 4):
        if groups > 1:
            weights = {"w": normal(8, 1, 3, 3, 3), "b": normal(8)}
        volumes = [{"x": normal(n, 4, *size)} for n, size in ((1, (1, 1, 1)), (0, (2, 3, 4)))]
        check([node("Conv", group=groups, pads=[1] * 6)], volumes, weights, threads=[1, 4])


TRANSPOSED = [
    dict(kernel=(2, 2, 2), strides=[2, 2, 2]),
    dict(kernel=(3, 3, 3), strides=[2, 1, 2], pads=[1] * 6, output_padding=[1, 0, 1]),
    dict(kernel=(2, 3, 2), dilations=[2, 1, 3], pads=[0, 1, 1, 1, 2, 0]),
    dict(kernel=(1, 2, 1), strides=[2, 3, 2]),
    dict(kernel=(4, 3, 3), strides=[3, 2, 1], auto_pad="SAME_UPPER"),
    dict(kernel=(2, 2, 2), strides=[2, 2, 2], output_shape=[8, 5, 9]),
]


@pytest.mark.parametrize("attributes", TRANSPOSED, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_of_volumes(check, attributes, groups):
    attributes = dict(attributes)
    kernel = attributes.pop("kernel")
    weights = {"w": normal(6, 9, *kernel), "b": normal(9 * groups, seed=1)}
    volumes = {"x": normal(2, 6, 4, 3, 5)}
    transposed = node("ConvTranspose", group=groups, **attributes)
    check([transposed], volumes, weights)
    check([transposed, make_node("Relu", ["y"], ["z"])], volumes, weights)


def test_what_no_input_reaches_is_the_bias(check):
    weights = {"w": np.ones((1, 1, 2, 2), np.float32), "b": np.full(1, 0.5, np.float32)}
    made = node("ConvTranspose", strides=[2, 2], output_shape=[5, 7])
    wanted = np.full((1, 1, 5, 7), 0.5, np.float32)
    wanted[:, :, :4, :6] = 1.5
    check([made], {"x": np.ones((1, 1, 2, 3), np.float32)}, weights, wanted=[[wanted]])


# --- weights that a step computes -------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_weights_known_at_run_time(check, op_type, groups, rank):
    sizes = (5, 7, 6)[-rank:]
    for attributes in ({}, dict(pads=[1] * 2 * rank, strides=[2] * rank, dilations=[2] * rank)):
        kernel = (3, 2, 3)[-rank:]
        shape = (12, 6 // groups, *kernel) if op_type == "Conv" else (6, 4, *kernel)
        out = 12 if op_type == "Conv" else 4 * groups
        feeds = {"x": normal(2, 6, *sizes), "w": normal(*shape), "b": normal(out)}
        made = node(op_type, group=groups, **attributes)
        check([made, make_node("Relu", ["y"], ["z"])], feeds, threads=[1, 4])
        del made.input[2]
        weights = {"x": feeds.pop("x")}
        del feeds["b"]
        check([made], feeds, weights)


def test_weights_that_are_views_of_what_is_computed(check):
    turn = make_node("Transpose", ["v"], ["w"], perm=[3, 2, 0, 1])
    made = make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    feeds = [{"x": normal(1, 5, 6, 7), "v": normal(3, 3, 5, out)} for out in (4, 40)]
    check([turn, made], feeds, dims={"x": ["N", "C", 6, 7], "v": [3, 3, "C", "M"]})


def test_weights_that_do_not_fit_are_refused(refused):
    x = {"x": normal(1, 4, 6, 6)}
    made = make_node("Conv", ["x", "w"], ["y"], name="first", kernel_shape=[3, 3], group=2)
    for shape in ((5, 2, 3, 3), (4, 3, 3, 3), (4, 2, 2, 3)):
        feeds = x | {"w": normal(*shape)}
        assert "first" in refused([made], feeds, dims={"w": ["a", "b", "c", "d"]})


# --- pooling ----------------------------------------------------------------------------------

POOLINGS = [
    dict(kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    dict(kernel_shape=[3, 3, 3], strides=[2, 1, 2], pads=[1] * 6),
    dict(kernel_shape=[3, 2, 2], ceil_mode=1, strides=[2, 3, 2]),
    dict(kernel_shape=[2, 3, 2], dilations=[2, 1, 3], pads=[1, 1, 0, 0, 1, 1]),
    dict(kernel_shape=[2, 3, 3], strides=[2, 2, 2], auto_pad="SAME_LOWER"),
    dict(kernel_shape=[5, 6, 7]),
    dict(kernel_shape=[4, 7, 1]),
]


@pytest.mark.parametrize("attributes", POOLINGS, ids=str)
def test_poolings_of_volumes(check, attributes):
    volumes = [{"x": normal(*shape)} for shape in ((1, 3, 5, 7, 8), (2, 3, 6, 8, 9))]
    volumes[1]["x"] = normal(2, 17, 6, 8, 9)
    for x in volumes:
        check([make_node("MaxPool", ["x"], ["y"], **attributes)], x)
        for count in (0, 1):
            average = make_node("AveragePool", ["x"], ["y"], count_include_pad=count, **attributes)
            check([average], x)


@pytest.mark.parametrize("attributes", POOLINGS, ids=str)
def test_indices_of_maxima_of_volumes(check, attributes):
    if "auto_pad" in attributes:
        attributes = dict(kernel_shape=[1, 1, 1])
    for order in (0, 1):
        maxima = make_node("MaxPool", ["x"], ["y", "i"], storage_order=order, **attributes)
        check([maxima], {"x": normal(2, 3, 5, 7, 8)}, threads=[1, 4])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_over_windows(check, p):
    for rank in (1, 2, 3):
        x = [{"x": normal(n, 9, *(6, 5, 7)[-rank:])} for n in (1, 2)]
        for attributes in (
            dict(kernel_shape=[2] * rank, strides=[2] * rank),
            dict(kernel_shape=[3] * rank, pads=[1] * 2 * rank, ceil_mode=1, strides=[2] * rank),
            dict(kernel_shape=[2] * rank, dilations=[3] * rank),
            dict(kernel_shape=[3] * rank, auto_pad="SAME_UPPER"),
        ):
            norms = make_node("LpPool", ["x"], ["y"], p=p, **attributes)
            check([norms], x, opset=18, threads=[1, 4])
        check([make_node("GlobalLpPool", ["x"], ["y"], p=p)], x, opset=18)


# --- other element types ----------------------------------------------------------------------


def as_doubles(arrays):
    return {name: array.astype(np.float64) for name, array in arrays.items()}


@pytest.mark.parametrize("attributes", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 6])
def test_convolutions_of_volumes_of_float64(check, attributes, groups):
    """As exact as those of onnx's reference, also with weights that a step packs."""
    attributes = dict(attributes)
    kernel = attributes.pop("kernel")
    given = {"w": normal(18, 6 // groups, *kernel), "b": normal(18, seed=1)}
    volume, weights = as_doubles({"x": normal(2, 6, 5, 8, 6)}), as_doubles(given)
    nodes = [node("Conv", group=groups, **attributes), make_node("Relu", ["y"], ["z"])]
    check(nodes, volume, weights, threads=[1, 4], tolerance=1e-12)
    volume["w"] = weights.pop("w")
    check(nodes, volume, weights, threads=[1, 4], tolerance=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_weights_of_float64_known_at_run_time(check, groups, rank):
    """Channels enough for whole blocks, which are transposed when they are packed."""
    # onnx's reference has no ConvTranspose of groups.
    for op_type in ("Conv", "ConvTranspose")[: 3 - groups]:
        feeds = {"x": normal(1, 22 * groups, *[5] * rank)}
        feeds["w"] = normal(22 * groups, 22, *[3] * rank)
        feeds, weights = as_doubles(feeds), as_doubles({"b": normal(22 * groups)})
        check([node(op_type, group=groups)], feeds, weights, tolerance=1e-12)


@pytest.mark.parametrize("attributes", POOLINGS, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "int8", "uint8"])
def test_poolings_of_other_types(check, attributes, dtype):
    for channels in (3, 17):
        numbers = np.clip(50 * normal(2, channels, 5, 7, 8), -128 if dtype[0] != "u" else 0, 127)
        x = {"x": numbers.astype(dtype)}
        check([make_node("MaxPool", ["x"], ["y"], **attributes)], x, threads=[1, 4])
        if "auto_pad" not in attributes:
            check([make_node("MaxPool", ["x"], ["y", "i"], **attributes)], x)
        for count in (0, 1) if dtype == "float64" else ():
            average = make_node("AveragePool", ["x"], ["y"], count_include_pad=count, **attributes)
            check([average], x, threads=[1, 4], tolerance=1e-12)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_float64(check, p):
    x = normal(2, 9, 6, 7, 5).astype(np.float64)
    norms = make_node("LpPool", ["x"], ["y"], p=p, kernel_shape=[2, 3, 2], pads=[1] * 6)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.abs(x) ** p, ((0, 0), (0, 0), *[(1, 1)] * 3)), (2, 3, 2), (2, 3, 4)
    )
    wanted = windows.sum((5, 6, 7)) ** (1 / p)
    check([norms], {"x": x}, wanted=[[wanted]], tolerance=1e-14)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions_of_volumes_of_bytes(check, groups):
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (2, 6, 4, 7, 5)).astype(np.uint8)
    for kernel in ((3, 3, 3), (3, 1, 1), (1, 1, 1)):
        pads = [size // 2 for size in kernel] * 2
        w = rng.integers(-128, 128, (12, 6 // groups, *kernel)).astype(np.int8)
        wanted = whole_sums(x, w, pads, groups)
        made = make_node("ConvInteger", ["x", "w"], ["y"], pads=pads, group=groups)
        check([made], {"x": x}, {"w": w}, wanted=[[wanted]], threads=[1, 4])


def whole_sums(x, w, pads, groups):
    """Exact convolution of int32 without strides."""
    padded = np.pad(x.astype(np.int32), ((0, 0), (0, 0), *zip(pads[:3], pads[3:], strict=True)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3, 4))
    own = np.split(windows, groups, 1), np.split(w.astype(np.int32), groups, 0)
    parts = [np.einsum("ncdhwijk,mcijk->nmdhw", *pair) for pair in zip(*own, strict=True)]
    return np.concatenate(parts, 1)
