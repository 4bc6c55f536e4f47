"""Resize of any axes, by scales and sizes of every kind."""

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from sardonyx.reference import evaluator

from .conftest import build


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def resize(given="s", **attributes):
    """A node by scales ``s`` or sizes ``n``, of a region ``r`` if one is given."""
    names = ["x", "r" if "r" in given else "", "s" if "s" in given else ""]
    return make_node("Resize", [*names, "n"] if "n" in given else names, ["y"], **attributes)


def scales(*values):
    return np.array(values, np.float32)


@pytest.fixture
def check_with_standard(check):
    """Compare with our reference, where onnxruntime has no kernel or leaves the standard."""

    def check_with_standard(node, feeds, weights, **more):
        wanted = evaluator(build([node], [feeds], weights)).run(None, feeds)
        check([node], feeds, weights, wanted=[wanted], **more)

    return check_with_standard


SHAPES = [(7,), (2, 9), (3, 5, 8), (2, 17, 6, 7), (1, 3, 4, 5, 6), (2, 1, 2, 3, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_any_number_of_axes(check_with_standard, mode, shape):
    x = {"x": normal(*shape)}
    for factors in ((2.0, 1.5, 0.7), (0.4, 3.0, 1.0)):
        own = scales(*(factors[axis % 3] for axis in range(len(shape))))
        for threads in (1, 4):
            node = resize(mode=mode, coordinate_transformation_mode="asymmetric")
            check_with_standard(node, x, {"s": own}, threads=[threads])
    sizes = np.array([n + axis % 3 - 1 or 2 for axis, n in enumerate(shape)])
    for coordinates in ("half_pixel", "align_corners", "pytorch_half_pixel"):
        node = resize("n", mode=mode, coordinate_transformation_mode=coordinates)
        check_with_standard(node, x, {"n": sizes})


@pytest.mark.parametrize("dtype", ["float64", "int8", "int32", "int64", "float16"])
def test_nearest_of_any_type(check_with_standard, dtype):
    for shape in ((2, 3, 5, 4), (2, 3, 4, 3, 2), (5, 6)):
        x = (normal(*shape) * 9).astype(dtype)
        node = resize("n", mode="nearest")
        sizes = np.array([*shape[:-2], 7, 3])
        check_with_standard(node, {"x": x}, {"n": sizes}, precision="strict")


def numbers(shape, dtype):
    """Numbers of a type, the whole range of integers of up to 32 bits."""
    rng = np.random.default_rng(len(shape))
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(2**40)), min(info.max, 2**40), shape, dtype, endpoint=True)


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float64"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_sums_of_any_type_are_rounded_and_limited(check_with_standard, mode, dtype):
    tolerance = {"float16": 1e-3, "float64": 1e-12}.get(dtype, 0.0)
    node = resize(mode=mode, coordinate_transformation_mode="asymmetric")
    for shape, factors in (((2, 3, 7, 9), (1.7, 0.6)), ((1, 2, 5, 3, 4), (0.7, 2.3, 3.1))):
        x, weights = {"x": numbers(shape, dtype)}, {"s": scales(1, 1, *factors)}
        check_with_standard(node, x, weights, precision="strict", tolerance=tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_what_lies_outside_gets_the_value_in_any_type(check_with_standard, mode, dtype):
    x = (normal(1, 2, 6, 7) * 9).astype(dtype)
    node = resize(
        "rn", mode=mode, coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    )  # fmt: skip
    weights = {"r": scales(0, 0, 0.2713, -0.3171, 1, 1, 0.9137, 1.4), "n": np.array([1, 2, 5, 9])}
    check_with_standard(node, {"x": x}, weights, precision="strict", tolerance=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_bytes_whose_channels_lie_together(check, dtype):
    x = numbers((2, 17, 6, 9), dtype)
    turn = make_node("Transpose", ["t"], ["x"], perm=[0, 3, 1, 2])
    nodes = [turn, resize(mode="linear", coordinate_transformation_mode="asymmetric")]
    feeds, weights = {"t": x.transpose(0, 2, 3, 1).copy()}, {"s": scales(1, 1, 1.7, 0.6)}
    wanted = ReferenceEvaluator(build(nodes, [feeds], weights)).run(None, feeds)
    check(nodes, feeds, weights, wanted=[wanted])


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
def test_without_aliases(check, mode, outside):
    more = dict(mode=mode, antialias=1, exclude_outside=outside)
    for shape in ((1, 3, 12, 17), (2, 17, 9, 8)):
        for sizes in ((5, 6), (1, 30), (9, 1)):
            node = resize("n", **more)
            check([node], {"x": normal(*shape)}, {"n": np.array([*shape[:2], *sizes])})
    volumes = resize(mode="linear", antialias=1)
    check([volumes], {"x": normal(1, 2, 6, 7, 8)}, {"s": scales(1, 1, 0.5, 0.5, 0.25)})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_regions_and_what_lies_outside(check_with_standard, mode):
    region = scales(0, 0, 0.25, -0.3, 1, 1, 0.9, 1.4)
    node = resize(
        "rn", mode=mode, coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=2.5,
    )  # fmt: skip
    x = normal(2, 17, 6, 7)
    sizes = {"n": np.array([2, 17, 9, 8])}
    check_with_standard(node, {"x": x}, {"r": region, **sizes})
    # A region that is data, whatever it is.
    check_with_standard(node, {"x": x, "r": region}, sizes)


def test_regions_of_any_numbers_are_read_within_the_tensor(check):
    node = resize("rn", mode="linear", coordinate_transformation_mode="tf_crop_and_resize")
    x = np.ones((1, 1, 3, 4), np.float32)
    for number in (np.nan, np.inf, -np.inf, 1e30):
        region = scales(0, 0, number, 0, 1, 1, number, 1)
        wanted = np.zeros((1, 1, 5, 4), np.float32)
        check([node], {"x": x, "r": region}, {"n": np.array([1, 1, 5, 4])}, wanted=[[wanted]])


def test_listed_axes_and_one_ratio(check):
    x = {"x": normal(1, 3, 6, 8)}
    for policy in ("not_larger", "not_smaller"):
        node = resize("n", mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
        check([node], x, {"n": np.array([9, 10])})
    check([resize(mode="cubic", axes=[3, 2])], x, {"s": scales(2, 0.5)})
    check([resize(mode="linear", axes=[-1])], x, {"s": scales(1.5)})


def test_channels_that_lie_together(check):
    conv = make_node("Conv", ["c", "w"], ["x"])
    weights = {"w": normal(17, 3, 1, 1), "s": scales(1, 1, 0.4, 1.7)}
    feeds = [{"c": normal(n, 3, h, w)} for n, h, w in ((1, 5, 5), (2, 7, 3))]
    for more in ({}, dict(antialias=1)):
        node = resize(mode="linear", **more)
        join = make_node("Concat", ["y", "y"], ["u"], axis=1)
        check([conv, node, join], feeds, weights, outputs=["u", "y"], threads=[1, 4])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_scales_of_sizes_that_are_open(check, mode):
    node = resize(mode=mode, coordinate_transformation_mode="asymmetric")
    feeds = [{"x": normal(n, 3, h, w)} for n, h, w in ((1, 5, 10), (2, 45, 7), (1, 2, 101))]
    for factors in ((0.7, 1.4), (2, 0.35), (1.1, 3)):
        check([node], feeds, {"s": scales(1, 1, *factors)})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_scales_and_sizes_known_at_run_time(check_with_standard, mode):
    x = normal(2, 5, 6, 7)
    for coordinates in ("asymmetric", "align_corners", "half_pixel"):
        more = dict(mode=mode, coordinate_transformation_mode=coordinates, axes=[2, 3])
        for threads in (1, 4):
            feeds = {"x": x, "s": scales(1.5, 0.4)}
            check_with_standard(resize(**more), feeds, {}, threads=[threads])
            feeds = {"x": x, "n": np.array([9, 3])}
            check_with_standard(resize("n", **more), feeds, {}, threads=[threads])
    if mode != "nearest":
        check_with_standard(resize(mode=mode, antialias=1), {"x": x, "s": scales(1, 1, 0.3, 2)}, {})


def test_scales_at_run_time_that_are_no_scales_are_refused(refused):
    node = resize(name="first", axes=[0, 1])
    for wrong in ([0, 1], [-1, 2], [np.nan, 1], [np.inf, 1], [1e30, 1], [1, 2, 3]):
        feeds = {"x": normal(3, 4), "s": scales(*wrong)}
        assert "first" in refused([node], feeds, dims={"s": ["n"]})


def test_nothing_is_changed_and_nothing_is_there(check):
    for mode in ("nearest", "linear"):
        x = {"x": normal(2, 3, 4)}
        check([resize(mode=mode)], x, {"s": scales(1, 1, 1)})
        check([resize(mode=mode)], {"x": normal(2, 3, 0)}, {"s": scales(1, 1, 2)}, wanted=[
            [np.zeros((2, 3, 0), np.float32)]
        ])  # fmt: skip


def test_wrong_numbers_of_scales_and_axes_are_refused(refused):
    x = {"x": normal(1, 2, 4, 4)}
    crop = dict(coordinate_transformation_mode="tf_crop_and_resize")
    for node, weights in (
        (resize(axes=[1, 4]), {"s": scales(1, 2)}),
        (resize(axes=[1, 1]), {"s": scales(1, 2)}),
        (resize(), {"s": scales(1, 2)}),
        (resize("n"), {"n": np.array([1, 2, 3])}),
        (resize("rn", **crop), {"n": np.array([1, 2, 3, 4]), "r": scales(0, 1)}),
    ):
        node.name = "first"
        assert "first" in refused([node], x, weights)
    node = resize("n", mode="linear")
    message = refused([node], {"x": normal(1, 2, 0, 4)}, {"n": np.array([1, 2, 3, 4])})
    assert "zero elements" in message


@pytest.mark.parametrize(("mode", "reach"), [("linear", 3), ("cubic", 5)])
@pytest.mark.parametrize("height", [1, 2])
def test_nan_stays_in_its_neighbourhood_in_kernels_and_as_a_constant(mode, reach, height):
    x = normal(1, 2, 9, 9)
    x[..., -1] = np.nan
    given = {"s": scales(1, 1, height, 2)}
    for feeds, constants in (({"x": x}, given), ({}, given | {"x": x})):
        model = build([resize(mode=mode)], [feeds], constants)
        (y,) = sardonyx.Session(model, threads=1).run(None, feeds)
        assert not np.isnan(y[..., :-reach]).any()
        assert np.isnan(y[..., -reach:]).all()
