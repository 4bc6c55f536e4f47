"""Operators that tf2onnx lacks or converts wrongly, against TensorFlow."""

import numpy as np
import pytest
import sardonyx

tf = pytest.importorskip("tensorflow", reason="needs the extra tensorflow")
pytest.importorskip("tf2onnx", reason="needs the extra tensorflow")

rng = np.random.default_rng(0)
IMAGE = rng.random((2, 10, 9, 3)).astype(np.float32)


def check(function, *arrays, open_axes=True):
    """Convert a function of arrays, each axis of which is open, and compare."""
    shapes = [[None] * np.ndim(array) if open_axes else np.shape(array) for array in arrays]
    specs = [
        tf.TensorSpec(
            shape,
            np.asarray(array).dtype if np.asarray(array).dtype != object else tf.string,
            f"x{i}",
        )
        for i, (shape, array) in enumerate(zip(shapes, arrays, strict=True))
    ]
    feeds = {f"x{i}": np.asarray(array) for i, array in enumerate(arrays)}
    converted = sardonyx.convert(tf.function(function, input_signature=specs), feeds=feeds)
    assert converted.agrees, (converted.unchecked, converted.outputs)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "float64"]
)
def test_quotients_and_remainders_are_rounded_as_in_tensorflow(dtype):
    low = 0 if dtype == "uint8" else -20
    a = rng.integers(low, 20, 200).astype(dtype)
    b = rng.integers(low, 20, 200)
    b = np.where(b == 0, 3, b).astype(dtype)

    def quotients(a, b):
        results = [a // b, a % b, tf.truncatediv(a, b)]
        return [*results, tf.truncatemod(a, b)] if a.dtype.size >= 4 else results

    check(quotients, a, b)


def test_scattered_updates_of_equal_indices_add_up():
    indices, updates = np.array([[1], [1], [3]], np.int32), np.array([1, 2, 3], np.float32)
    check(lambda i, u: tf.scatter_nd(i, u, [5]), indices, updates)


@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 3)], ids=str)
def test_empty_segments(shape):
    x = rng.integers(-5, 5, shape).astype(np.float32)

    def segments(x, ids, unsorted):
        kinds = ("sum", "mean", "prod", "max", "min")
        found = [getattr(tf.math, f"segment_{kind}")(x, ids) for kind in kinds]
        found += [getattr(tf.math, f"unsorted_segment_{kind}")(x, unsorted, 7) for kind in kinds]
        return [*found, tf.math.unsorted_segment_sqrt_n(x, unsorted, 7)]

    check(
        segments, x, np.array([0, 0, 2, 2, 5, 5], np.int32), np.array([5, 0, 2, -1, 5, 3], np.int32)
    )


def test_sparse_segments():
    def segments(x, rows, ids):
        kinds = (tf.sparse.segment_sum, tf.sparse.segment_mean, tf.sparse.segment_sqrt_n)
        return [f(x, rows, ids, num_segments=n) for f in kinds for n in (None, 6)]

    rows, ids = np.array([0, 1, 4, 4], np.int32), np.array([0, 0, 3, 3], np.int32)
    check(segments, rng.random((5, 2)).astype(np.float32), rows, ids)


def test_counts_of_rows():
    x = rng.integers(0, 6, (4, 5))
    check(lambda x: [tf.math.bincount(x, minlength=6, maxlength=6, axis=axis, binary_output=one)
                     for axis in (0, -1) for one in (False, True)], x)  # fmt: skip


METHODS = [
    "area",
    "bicubic",
    "bilinear",
    "gaussian",
    "lanczos3",
    "lanczos5",
    "mitchellcubic",
    "nearest",
]


@pytest.mark.parametrize("size", [(5, 13), (21, 4)], ids=str)
def test_resized_images(size):
    plain = [lambda x, m=m: tf.image.resize(x, size, method=m) for m in METHODS]
    smooth = [lambda x, m=m: tf.image.resize(x, size, method=m, antialias=True) for m in METHODS]
    check(lambda x: [f(x) for f in (*plain, *smooth)], IMAGE)


@pytest.mark.parametrize("aligned", [False, True])
def test_images_resized_as_in_version_1(aligned):
    kinds = ("bilinear", "nearest_neighbor", "bicubic", "area")
    v1 = tf.compat.v1.image
    check(
        lambda x: [
            getattr(v1, f"resize_{kind}")(x, [5, 13], align_corners=aligned) for kind in kinds
        ],
        IMAGE,
    )


def test_colours():
    def colours(x):
        saturated = [tf.image.adjust_saturation(x, factor) for factor in (0.0, 0.4, 2.5)]
        return [
            *saturated,
            tf.image.rgb_to_hsv(x),
            tf.image.hsv_to_rgb(x),
            tf.image.adjust_hue(x, 0.3),
        ]

    gray = np.repeat(IMAGE[..., :1], 3, -1)
    check(colours, np.concatenate([IMAGE, gray, np.zeros_like(IMAGE), IMAGE[..., ::-1]]))


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_boxes_cut_out(method):
    boxes = np.array(
        [[0, 0, 1, 1], [0.2, 0.1, 0.7, 0.9], [-0.2, 0, 1.3, 1], [1, 1, 0, 0]], np.float32
    )
    numbers = np.array([0, 1, 1, 0], np.int32)

    def crops(x, boxes, numbers):
        sizes = ([5, 4], [1, 7], [3, 1])
        return [tf.image.crop_and_resize(x, boxes, numbers, size, method, 2.0) for size in sizes]

    check(crops, IMAGE, boxes, numbers)


def test_texts_are_compared():
    check(lambda x: [x == "a", x != "a", tf.strings.lower(x)], np.array(["a", "B", ""], object))


def test_diagonals_by_standard_operators():
    check(
        lambda x, d: [tf.linalg.diag(x), tf.linalg.set_diag(x, d)],
        rng.random((3, 3)).astype(np.float32),
        np.arange(3, dtype=np.float32),
    )


def test_bfloat16_is_computed_in_float32():
    def product(x):
        narrow = tf.cast(x, tf.bfloat16)
        return tf.cast(tf.matmul(narrow, narrow), tf.float32), narrow * 2

    check(product, rng.random((4, 4)).astype(np.float32))


def test_writes_are_refused_by_the_name_of_their_node():
    count = tf.Variable(0.0)

    def counting(x):
        count.assign_add(1.0, name="counting")
        return x * count

    with pytest.raises(sardonyx.UnsupportedModel, match=r"writes variables.*AssignAddVariableOp"):
        check(counting, np.ones(3, np.float32))


def test_optional_arguments_are_constants():
    check(tf.math.segment_sum, np.ones((3, 2), np.float32), np.array([0, 1, 1], np.int32))


@pytest.mark.parametrize("function, operator", [
    (lambda x: tf.strings.regex_replace(x, "a", "b"), "RegexReplace"),
    (lambda x: tf.strings.to_hash_bucket_fast(x, 7), "StringToHashBucketFast"),
    (lambda x: tf.strings.join([x, x]), "StringJoin"),
])  # fmt: skip
def test_operators_that_onnx_lacks_are_named(function, operator):
    with pytest.raises(sardonyx.UnsupportedModel, match=operator):
        check(function, np.array(["a"], object))


def test_slices_that_end_with_their_axis_have_its_size():
    """tf2onnx writes 1e9 where a slice with steps has no end."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8], tf.float32)])
    def seconds(x):
        return x[..., ::2] + x[:, :, 1::2] * x[:, tf.newaxis][:, 0, :, :4]

    model = sardonyx.optimize(sardonyx.load(seconds))
    assert [str(size) for size in model.graph.outputs[0].shape] == ["batch", "x_1", "4"]
    x = rng.random((2, 3, 8)).astype(np.float32)
    (result,) = sardonyx.Session(model).run(None, {"x": x})
    np.testing.assert_allclose(result, seconds(x).numpy(), rtol=1e-6)
