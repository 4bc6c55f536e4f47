"""Pooling, global pooling and LRN against onnxruntime."""

import numpy as np
import pytest
from onnx.helper import make_node
from sardonyx.runtime.ops import pool

CHANNELS = [1, 3, 8, 17, 33, 64, 130, 256]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


WINDOWS = [
    dict(kernel_shape=[2, 2]),
    dict(kernel_shape=[2, 2], strides=[2, 2]),
    dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    dict(kernel_shape=[3, 2], pads=[0, 1, 2, 0]),
    dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    dict(kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1),
    dict(kernel_shape=[3, 3], strides=[3, 2], pads=[0, 1, 1, 0], ceil_mode=1),
    dict(kernel_shape=[2, 3], dilations=[2, 1]),
    dict(kernel_shape=[2, 2], dilations=[2, 3], pads=[1, 1, 1, 1], strides=[2, 1]),
    dict(kernel_shape=[3, 3], dilations=[2, 2], ceil_mode=1, strides=[2, 2]),
    dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    dict(kernel_shape=[2, 4], strides=[1, 3], auto_pad="SAME_LOWER"),
    dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"),
    dict(kernel_shape=[1, 1], strides=[2, 2]),
    dict(kernel_shape=[1, 5], pads=[0, 2, 0, 2]),
    dict(kernel_shape=[5, 5]),
]


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_windows(check, op_type, attributes):
    counts = [{}] if op_type == "MaxPool" else [{"count_include_pad": i} for i in (0, 1)]
    for channels in (5, 18):
        shapes = [(n, channels, h, w) for n, h, w in ((1, 9, 11), (3, 8, 7), (1, 17, 30))]
        images = [{"x": normal(*shape)} for shape in shapes]
        for count in counts:
            check([make_node(op_type, ["x"], ["y"], **attributes, **count)], images)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8"])
def test_maxima_of_few_channels(check, dtype):
    for attributes in (
        dict(kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        dict(kernel_shape=[3, 3, 3], pads=[1] * 6),
        dict(kernel_shape=[1, 2, 4], strides=[1, 3, 3], pads=[0, 0, 3, 0, 1, 2]),
        dict(kernel_shape=[3, 1, 3], strides=[2, 1, 2], pads=[1, 0, 0, 2, 0, 1], ceil_mode=1),
    ):
        node = make_node("MaxPool", ["x"], ["y"], **attributes)
        for shape in ((2, 3, 5, 40, 37), (1, 1, 4, 4, 70)):
            check([node], {"x": (normal(*shape) * 50).astype(dtype)}, threads=[1, 3])


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_wide_planes(check, op_type, attributes):
    """Images of more than two vectors a row, that nothing wants channels last."""
    x = normal(2, 3, 21, 70)
    x[0, 1, 2, 7], x[1, 0, 0, 0] = -np.inf, np.inf
    if op_type == "AveragePool":  # onnxruntime passes by NaN in maxima
        x[1, 2, 5, 33] = np.nan
    counts = [{}] if op_type == "MaxPool" else [{"count_include_pad": i} for i in (0, 1)]
    for width in (70, 64, 37):
        image = np.ascontiguousarray(x[..., :width])
        for count in counts:
            node = make_node(op_type, ["x"], ["y"], **attributes, **count)
            check([node], {"x": image}, threads=[1, 3])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", [2, 3, 4])
def test_maxima_of_planes_keep_nan(check, stride, taps):
    x = normal(1, 3, 20, 61)
    x[0, 0, 3, 5], x[0, 1, 19, 60], x[0, 2, 0, 0] = np.nan, np.nan, np.nan
    node = make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[taps, taps], strides=[stride, stride]
    )  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(x, (taps, taps), (2, 3))
    wanted = windows[:, :, ::stride, ::stride].max((4, 5))
    check([node], {"x": x}, wanted=[[wanted]])


@pytest.mark.parametrize("width", [5, 7, 16, 19, 37])
@pytest.mark.parametrize(
    ("taps", "strides"),
    [
        ((2, 2), (1, 1)),
        ((2, 2), (2, 2)),
        ((3, 3), (1, 1)),
        ((3, 3), (2, 2)),
        ((5, 5), (1, 1)),
        ((1, 3), (1, 2)),
        ((3, 1), (3, 1)),
    ],
    ids=str,
)
def test_many_planes(check, monkeypatch, taps, strides, width):
    """Vectors that reach beyond rows, with NaN and infinities in some planes, at borders, too."""
    monkeypatch.setattr(pool, "are_planes", lambda *_: True)
    x = normal(2, 9, 13, width)
    x[0, 2, 4, 3], x[0, 4, 0, 0], x[1, 3, 12, width - 1], x[1, 8, 12, width - 1] = [np.nan] * 4
    x[0, 6, 1, 1], x[0, 6, 2, 2], x[1, 1] = np.inf, -np.inf, -np.inf
    x[0, 0, 5, 2] = np.nan
    for pads in ((0, 0), tuple(tap // 2 for tap in taps), tuple(tap - 1 for tap in taps)):
        attributes = dict(kernel_shape=taps, strides=strides, pads=[*pads, 0, pads[1]])
        around = ((0, 0), (0, 0), (pads[0], 0), (pads[1], pads[1]))
        padded = np.pad(x, around, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, taps, (2, 3))
        wanted = windows[:, :, :: strides[0], :: strides[1]].max((4, 5))
        node = make_node("MaxPool", ["x"], ["y"], **attributes)
        check([node], {"x": x}, wanted=[[wanted]], threads=[1, 3])
        for count in (0, 1):
            node = make_node("AveragePool", ["x"], ["y"], **attributes, count_include_pad=count)
            check([node], {"x": x}, threads=[1, 3])


def test_means_over_slices(check):
    node = make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 3, 3], strides=[1, 2, 2],
        pads=[1, 1, 0, 0, 1, 1],
    )  # fmt: skip
    check([node], {"x": normal(2, 3, 4, 9, 50)}, threads=[1, 3])


@pytest.mark.parametrize("channels", CHANNELS)
def test_any_number_of_channels(check, channels):
    for op_type in ("MaxPool", "AveragePool"):
        node = make_node(op_type, ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4)
        images = [{"x": normal(n, channels, h, w)} for n, h, w in ((1, 9, 8), (3, 1, 1), (1, 1, 6))]
        check([node], images, threads=[1, 4])


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_one_axis(check, op_type):
    signals = [{"x": normal(n, 4, w)} for n, w in ((1, 20), (3, 7))]
    for attributes in (
        dict(kernel_shape=[3]),
        dict(kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=1),
        dict(kernel_shape=[2], strides=[2], auto_pad="SAME_UPPER"),
        dict(kernel_shape=[3], dilations=[2]),
    ):
        check([make_node(op_type, ["x"], ["y"], **attributes)], signals)


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
def test_indices_of_maxima(check, attributes):
    images = [{"x": normal(n, 3, h, w)} for n, h, w in ((1, 9, 11), (3, 8, 7))]
    for order in (0, 1):
        node = make_node("MaxPool", ["x"], ["y", "i"], storage_order=order, **attributes)
        check([node], images, threads=[1, 4])


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "indices"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_windows_are_clipped_to_the_image(check, op_type, axes):
    """Of windows as wide as attributes allow, only what lies in the image takes time."""
    x = normal(1, 2, 4, 5)
    kernel, pads, dilations = [1, 1], [0, 0, 0, 0], [1, 1]
    for axis in axes:
        kernel[axis], size = 2**31 - 1, x.shape[2 + axis]
        pads[axis], pads[axis + 2] = 2**30, 2**31 - 1 - 2**30 - size
    attributes = {"kernel_shape": kernel, "pads": pads, "dilations": dilations}
    along = tuple(2 + axis for axis in axes)
    if op_type == "indices":
        node = make_node("MaxPool", ["x"], ["y", "i"], **attributes)
        flat = np.arange(40).reshape(x.shape)
        best = x == x.max(along, keepdims=True)
        wanted = [x.max(along, keepdims=True), (flat * best).max(along, keepdims=True)]
    else:
        node = make_node(op_type, ["x"], ["y"], **attributes)
        reduce = np.max if op_type == "MaxPool" else np.mean
        wanted = [reduce(x, axis=along, keepdims=True)]
    check([node], {"x": x}, wanted=[wanted])


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 2.5, 3.0])
def test_norms_of_the_first_version_have_any_power(check, rng, p):
    x = rng.standard_normal((2, 3, 4, 6)).astype(np.float32)
    powers = np.abs(x.astype(np.float64)) ** p
    node = make_node("LpPool", ["x"], ["y"], kernel_shape=[4, 2], strides=[1, 2], p=p)
    pairs = powers.reshape(2, 3, 4, 3, 2).sum((2, 4))[:, :, None]
    check([node], {"x": x}, wanted=[[(pairs ** (1 / p)).astype(np.float32)]], opset=1)
    node = make_node("GlobalLpPool", ["x"], ["y"], p=p)
    total = powers.sum((2, 3), keepdims=True)
    check([node], {"x": x}, wanted=[[(total ** (1 / p)).astype(np.float32)]], opset=1)


@pytest.mark.parametrize("op_type", ["LpPool"])
def test_padding_beyond_all_measure_is_refused_on_the_host(refused, op_type):
    """Of four spatial axes, which no kernel takes."""
    pads = [0, 2**30, 0, 0, 0, 2**30 - 6, 0, 0]
    for attributes in (
        dict(kernel_shape=[1, 2**31 - 1, 1, 1], pads=pads),
        dict(kernel_shape=[1, 2, 1, 1], dilations=[1, 2**31 - 2, 1, 1], pads=pads),
    ):
        node = make_node(op_type, ["x"], ["y"], **attributes)
        assert "padded to" in refused([node], {"x": np.ones((1, 1, 4, 5, 1, 1), np.float32)})


def test_taps_far_apart(check):
    node = make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[2**20, 1], dilations=[2**10, 1],
        pads=[2**29, 0, 2**30 - 2**10 - 2**29, 0],
    )  # fmt: skip
    x = normal(1, 3, 4, 5)
    check([node], {"x": x}, wanted=[[x]])


def test_images_of_a_convolution(check):
    conv = make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
    weights = {"w": normal(9, 3, 3, 3)}
    x = {"x": normal(2, 3, 8, 8)}
    for op_type, attributes in (
        ("MaxPool", dict(kernel_shape=[2, 2], strides=[2, 2])),
        ("AveragePool", dict(kernel_shape=[3, 3], pads=[1] * 4)),
        ("GlobalAveragePool", {}),
        ("GlobalMaxPool", {}),
        ("LRN", dict(size=3)),
    ):
        check([conv, make_node(op_type, ["c"], ["y"], **attributes)], x, weights)
    both = make_node("MaxPool", ["c"], ["y", "i"], kernel_shape=[2, 2])
    check([conv, both], x, weights)


def test_lowest_values_and_nan(check):
    node = make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])
    for channels in (2, 17):
        x = np.full((1, channels, 6, 6), -np.inf, np.float32)
        x[0, 1, 2, 3] = np.nan
        found = -np.inf * np.ones((1, channels, 5, 5), np.float32)
        found[0, 1, 1:3, 2:4] = np.nan
        check([node], {"x": x}, wanted=[[found]])
    x = -np.abs(normal(1, 3, 4, 4)) - 1e30
    check([make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4)], {"x": x})


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global(check, op_type):
    node = make_node(op_type, ["x"], ["y"])
    for shape in [(2, 5, 7), (2, 5, 7, 6), (2, 5, 3, 4, 3), (1, 1, 1, 1)]:
        check([node], {"x": normal(*shape)})
    doubles = normal(2, 5, 7, 6).astype(np.float64)
    check([node], {"x": doubles})
    images = [
        {"x": normal(n, c, h, w)} for n, c, h, w in ((1, 3, 9, 8), (3, 64, 1, 1), (1, 2, 40, 50))
    ]
    check([node], images, threads=[1, 2, 4])


def test_response_normalization(check):
    for size in (1, 3, 5):
        node = make_node("LRN", ["x"], ["y"], size=size, alpha=0.2, beta=0.6, bias=1.5)
        images = [{"x": normal(n, c, h, 5)} for n, c, h in ((1, 3, 4), (2, 1, 1), (3, 40, 6))]
        images.append({"x": normal(3, 20, 1, 1)})
        check([node], images, threads=[1, 4])


def numbers(dtype, *shape):
    x = 50 * normal(*shape)
    return np.clip(x, 0, 255).astype(dtype) if dtype == "uint8" else x.astype(dtype)


@pytest.mark.parametrize("attributes", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "int8", "uint8"])
def test_other_types(check, dtype, attributes):
    for channels in (1, 33):
        images = [{"x": numbers(dtype, n, channels, h, 11)} for n, h in ((1, 9), (3, 8))]
        check([make_node("MaxPool", ["x"], ["y"], **attributes)], images, threads=[1, 4])
        check([make_node("MaxPool", ["x"], ["y", "i"], **attributes)], images)
        for counted in (0, 1) if dtype == "float64" else ():
            node = make_node("AveragePool", ["x"], ["y"], count_include_pad=counted, **attributes)
            check([node], images, threads=[1, 4], tolerance=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_maxima_of_words_of_bytes(check, dtype):
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    # A kernel is for a window; the types differ by a comparison.
    for attributes in WINDOWS if dtype == "int8" else WINDOWS[:4]:
        node = make_node("MaxPool", ["x"], ["y"], **attributes)
        shapes = [(1, 24, 9, 11), (3, 132, 8, 7)]
        images = [{"x": rng.integers(limits.min, limits.max + 1, s).astype(dtype)} for s in shapes]
        for image in images:
            check([node], image, threads=[1, 3])


def test_halves_in_strict_precision(check):
    x = normal(1, 2, 4, 4).astype(np.float16)
    for op_type in ("GlobalAveragePool", "GlobalMaxPool"):
        node = make_node(op_type, ["x"], ["y"])
        check([node], {"x": x}, tolerance=1e-2, precision="strict")
