"""Convolutions of every form against onnxruntime."""

import itertools

import numpy as np
import pytest
from onnx.helper import make_node

# Around the widths of vectors and of tiles; pixels of 256 and 512 channels are a page apart.
CHANNELS = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 130, 256]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def conv(**attributes):
    return make_node("Conv", ["x", "w", "b"], ["y"], **attributes)


def parameters(out, channels, *kernel):
    return {"w": normal(out, channels, *kernel), "b": normal(out, seed=1)}


@pytest.mark.parametrize("out", CHANNELS)
def test_any_number_of_channels(check, out):
    for channels in (1, 2, 3, 4, 17, 256):
        images = [{"x": normal(n, channels, 6, w)} for n, w in ((1, 7), (3, 5))]
        check([conv(pads=[1, 1, 1, 1])], images, parameters(out, channels, 3, 3))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise(check, threads, bias):
    for channels, out in [(1, 1), (3, 9), (64, 31), (256, 8), (33, 130)]:
        weights = parameters(out, channels, 1, 1)
        node = conv()
        if not bias:
            del node.input[2]
            del weights["b"]
        images = [{"x": normal(n, channels, h, w)} for n, h, w in ((1, 13, 11), (3, 1, 1))]
        check([node], images, weights, threads=[threads])


WINDOWS = [
    dict(kernel=(3, 3)),
    dict(kernel=(2, 2), strides=[2, 2]),
    dict(kernel=(5, 3), pads=[2, 1, 2, 1]),
    dict(kernel=(3, 3), pads=[0, 1, 2, 3]),
    dict(kernel=(3, 3), pads=[3, 0, 0, 2], strides=[2, 1]),
    dict(kernel=(3, 2), dilations=[2, 3]),
    dict(kernel=(3, 3), dilations=[1, 2], pads=[1, 2, 1, 2], strides=[1, 2]),
    dict(kernel=(1, 1), strides=[2, 3]),
    dict(kernel=(1, 1), pads=[1, 0, 0, 2]),
    dict(kernel=(1, 7), pads=[0, 3, 0, 3]),
    dict(kernel=(7, 1), pads=[3, 0, 3, 0]),
    dict(kernel=(7, 7), strides=[2, 2], pads=[3, 3, 3, 3]),
    dict(kernel=(3, 3), strides=[4, 5]),
    *(
        dict(kernel=kernel, strides=strides, auto_pad=mode)
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for kernel, strides in [((3, 3), [1, 1]), ((2, 4), [1, 2]), ((3, 3), [2, 3])]
    ),
]


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_windows(check, attributes, groups):
    attributes = dict(attributes)
    kernel = attributes.pop("kernel")
    images = [{"x": normal(n, 6, h, w)} for n, h, w in ((1, 9, 11), (3, 8, 7), (1, 20, 33))]
    for multiplier in (1, 2):
        weights = parameters(6 * multiplier, 6 // groups, *kernel)
        check([conv(group=groups, **attributes)], images, weights)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_groups_of_many_widths(check, threads):
    for groups, channels, out in [(2, 1, 3), (3, 8, 8), (4, 17, 9), (2, 64, 130), (8, 4, 1)]:
        images = [{"x": normal(n, groups * channels, 5, 6)} for n in (1, 3)]
        weights = parameters(groups * out, channels, 3, 3)
        check([conv(group=groups, pads=[1] * 4)], images, weights, threads=[threads])


@pytest.mark.parametrize("channels", CHANNELS)
def test_depthwise_of_any_number_of_channels(check, channels):
    images = [{"x": normal(n, channels, h, w)} for n, h, w in ((1, 9, 13), (3, 3, 4), (1, 1, 1))]
    for multiplier in (1, 2):
        weights = parameters(channels * multiplier, 1, 3, 3)
        check([conv(group=channels, pads=[1] * 4)], images, weights, threads=[1, 4])


SMALL = [(1, 17), (17, 1), (1, 1), (2, 1), (1, 2)]


@pytest.mark.parametrize("size", SMALL, ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (3, 1), (1, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("groups", [1, 9])
def test_thin_images(check, size, kernel, groups):
    pads = [kernel[0] // 2, kernel[1] // 2] * 2
    weights = parameters(9, 9 // groups, *kernel)
    for n in (1, 3):
        # Sizes that are known, and one that is not.
        for dims in ({"x": [n, 9, *size]}, {"x": ["N", 9, "H", "W"]}, {"x": [n, 9, "H", size[1]]}):
            check([conv(pads=pads, group=groups)], {"x": normal(n, 9, *size)}, weights, dims=dims)


@pytest.mark.parametrize("strides", [[1, 1], [2, 2], [3, 1]], ids=str)
def test_columns_with_strides(check, strides):
    images = [{"x": normal(n, 5, h, 1)} for n, h in ((1, 12), (3, 25))]
    weights = parameters(12, 5, 4, 1)
    check([conv(strides=strides, pads=[1, 0, 2, 0])], images, weights)
    check([conv(strides=strides, dilations=[3, 1])], images, weights)


def test_kernel_as_large_as_the_image(check):
    for h, w in ((5, 7), (1, 6), (4, 1)):
        for channels, out in ((3, 10), (17, 65)):
            x = normal(3, channels, h, w)
            check([conv()], {"x": x}, parameters(out, channels, h, w))
            check([conv(pads=[1] * 4)], {"x": x}, parameters(out, channels, h + 2, w + 2))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_one_axis(check, groups):
    signals = [{"x": normal(n, 4, w)} for n, w in ((1, 40), (3, 9), (2, 65))]
    for kernel, attributes in [
        (1, {}),
        (3, dict(pads=[1, 1])),
        (5, dict(pads=[4, 0])),
        (4, dict(strides=[3], pads=[0, 2])),
        (3, dict(dilations=[3])),
        (4, dict(auto_pad="SAME_LOWER", strides=[2])),
        (4, dict(auto_pad="SAME_UPPER")),
    ]:
        weights = parameters(8, 4 // groups, kernel)
        check([conv(group=groups, **attributes)], signals, weights)


def test_large_enough_for_blocks_and_threads(check):
    x = {"x": normal(1, 130, 40, 37)}
    check([conv(pads=[1] * 4)], x, parameters(70, 130, 3, 3), threads=[1, 2, 4])
    check([conv(strides=[2, 2])], x, parameters(300, 130, 1, 1), threads=[1, 2, 4])
    x = {"x": normal(1, 2600, 3, 3)}
    check([conv()], x, parameters(40, 2600, 3, 3), threads=[1, 2, 4])
    check([conv()], x, parameters(40, 2600, 1, 1), threads=[1, 2, 4])


def test_empty_batches(check):
    for groups in (1, 8):
        weights = parameters(8, 8 // groups, 3, 3)
        images = [{"x": normal(n, 8, 6, 6)} for n in (0, 2)]
        check([conv(group=groups, pads=[1] * 4)], images, weights)


def test_nan_and_infinity_stay_where_they_belong(check):
    x = normal(1, 9, 8, 8)
    x[0, 1, 2, 3], x[0, 4, 6, 6] = np.nan, np.inf
    for groups in (1, 9):
        check([conv(group=groups, pads=[1] * 4)], {"x": x}, parameters(9, 9 // groups, 3, 3))


@pytest.mark.parametrize("group", [1, 3, 12])
def test_float64(check, group):
    """onnxruntime has no such kernel: results are as exact as those of onnx's reference."""
    relu = make_node("Relu", ["y"], ["z"])
    for size, attributes in (
        ((3, 3), dict(pads=[1] * 4)),
        ((1, 1), {}),
        ((3, 2), dict(strides=[2, 1], pads=[1, 0, 2, 1])),
        ((3, 3), dict(dilations=[2, 2], pads=[2] * 4)),
    ):
        given = parameters(24, 12 // group, *size)
        doubles = {name: array.astype(np.float64) for name, array in given.items()}
        x = {"x": normal(2, 12, 9, 11).astype(np.float64)}
        nodes = [conv(group=group, **attributes), relu]
        check(nodes, x, doubles, threads=[1, 4], tolerance=1e-12)


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("dims", [None, {"x": [1, "C", 8, 8]}], ids=str)
def test_wrong_channels_are_refused(refused, op_type, dims):
    node = make_node(op_type, ["x", "w"], ["y"], name="first")
    message = refused([node], {"x": normal(1, 5, 8, 8)}, {"w": normal(4, 4, 3, 3)}, dims=dims)
    assert "5" in message and "4" in message


@pytest.mark.parametrize("op_type", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("dims", [None, {"x": [1, 4, "H", "W"]}], ids=str)
def test_windows_larger_than_the_image_are_refused(refused, op_type, dims):
    x = {"x": normal(1, 4, 1, 9)}
    weights = {"w": normal(4, 4, 3, 3)} if op_type == "Conv" else {}
    more = {} if weights else {"kernel_shape": [3, 3]}
    node = make_node(op_type, ["x", *weights], ["c"], name="first", **more)
    # The result that cannot be is not the model's own.
    last = make_node("GlobalMaxPool", ["c"], ["y"])
    assert "first" in refused([node, last], x, weights, dims=dims)


# --- ConvTranspose ----------------------------------------------------------------------------


def transposed(**attributes):
    return make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)


TRANSPOSED = [
    dict(kernel=(3, 3)),
    dict(kernel=(2, 2), strides=[2, 2]),
    dict(kernel=(4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    dict(kernel=(3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    dict(kernel=(3, 3), strides=[3, 2], output_padding=[2, 0]),
    dict(kernel=(3, 2), strides=[2, 3], pads=[0, 1, 2, 0]),
    dict(kernel=(3, 3), dilations=[2, 2]),
    dict(kernel=(3, 3), dilations=[2, 3], strides=[3, 2], pads=[1, 2, 0, 1]),
    dict(kernel=(2, 2), dilations=[2, 2], strides=[2, 2]),
    dict(kernel=(1, 1), strides=[2, 2]),
    dict(kernel=(1, 1)),
    dict(kernel=(1, 5), strides=[1, 4]),
    dict(kernel=(5, 5), strides=[1, 1], pads=[3, 2, 1, 3]),
    dict(kernel=(5, 5), strides=[2, 2], pads=[3, 3, 4, 2]),
    dict(kernel=(3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    dict(kernel=(3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    dict(kernel=(4, 3), strides=[3, 2], auto_pad="SAME_UPPER"),
    dict(kernel=(4, 3), strides=[3, 2], auto_pad="SAME_LOWER"),
    dict(kernel=(3, 3), strides=[2, 2], auto_pad="VALID"),
]


@pytest.mark.parametrize("attributes", TRANSPOSED, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_transposed_windows(check, attributes, groups):
    attributes = dict(attributes)
    kernel = attributes.pop("kernel")
    images = [{"x": normal(n, 6, h, w)} for n, h, w in ((1, 5, 7), (3, 3, 3), (1, 12, 8))]
    weights = {"w": normal(6, 2, *kernel), "b": normal(2 * groups, seed=1)}
    check([transposed(group=groups, **attributes)], images, weights)


@pytest.mark.parametrize("shape", [[9, 13], [10, 14], [11, 15]], ids=str)
def test_transposed_to_a_wanted_size(check, shape):
    weights = {"w": normal(4, 3, 3, 3), "b": normal(3)}
    for mode in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        node = transposed(strides=[2, 2], output_shape=shape, auto_pad=mode)
        check([node], {"x": normal(2, 4, 5, 7)}, weights)


def test_transposed_along_one_axis(check):
    signals = [{"x": normal(n, 6, w)} for n, w in ((1, 20), (3, 5))]
    for groups, kernel, attributes in [
        (1, 4, dict(strides=[2], pads=[1, 1])),
        (2, 3, dict(strides=[3], output_padding=[1])),
        (3, 5, dict(dilations=[2])),
    ]:
        weights = {"w": normal(6, 4, kernel), "b": normal(4 * groups)}
        check([transposed(group=groups, **attributes)], signals, weights, threads=[1, 4])


@pytest.mark.parametrize("out", [1, 9, 16, 33, 130])
def test_transposed_with_any_number_of_channels(check, out):
    for channels in (1, 3, 17, 64):
        weights = {"w": normal(channels, out, 2, 2), "b": normal(out)}
        images = [{"x": normal(n, channels, h, w)} for n, h, w in ((1, 6, 5), (3, 1, 1))]
        check([transposed(strides=[2, 2])], images, weights)


def test_transposed_tails(check):
    weights = {"w": normal(5, 8, 3, 3), "b": normal(8), "s": normal(1, 8, 1, 1)}
    x = {"x": normal(2, 5, 6, 6)}
    first = make_node("ConvTranspose", ["x", "w", "b"], ["c"], strides=[2, 2])
    relu = make_node("Relu", ["d"], ["y"])
    for other, op_type in itertools.product(("s", "c", "r"), ("Add", "Mul")):
        feeds = {**x, "r": normal(2, 8, 13, 13)} if other == "r" else x
        tail = make_node(op_type, ["c", other], ["d"])
        check([first, tail, relu], feeds, weights)


def test_transposed_float64(check):
    for kernel, attributes in (
        ((2, 2), dict(strides=[2, 2])),
        ((3, 3), dict(strides=[2, 2], pads=[1] * 4)),
        ((3, 3), {}),
    ):
        weights = {"w": normal(6, 5, *kernel), "b": normal(5)}
        doubles = {name: array.astype(np.float64) for name, array in weights.items()}
        x = {"x": normal(2, 6, 5, 7).astype(np.float64)}
        check([transposed(**attributes)], x, doubles, threads=[1, 4], tolerance=1e-12)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1)])
def test_offsets_within_the_stride_that_have_no_pixel(check, kernel, size):
    """An image of one pixel under a kernel smaller than its stride fills some offsets only."""
    weights = {"w": normal(3, 2, *kernel), "b": normal(2)}
    for stride in (2, 4):
        check([transposed(strides=[stride, stride])], {"x": normal(1, 3, *size)}, weights)
