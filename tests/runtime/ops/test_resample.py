"""Resize and Pad."""

import numpy as np
import pytest
from onnx.helper import make_node


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


COORDINATES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(check, mode, coordinates):
    x = {"x": normal(2, 9, 5, 7)}
    common = dict(mode=mode, coordinate_transformation_mode=coordinates)
    for scales in ((2, 2), (1.5, 3), (0.6, 0.5), (1, 1), (3, 0.4)):
        node = make_node("Resize", ["x", "", "s"], ["y"], **common)
        check([node], x, {"s": np.array([1, 1, *scales], np.float32)}, threads=[1, 4])
    for sizes in ((10, 14), (3, 20), (1, 1), (5, 7)):
        node = make_node("Resize", ["x", "", "", "n"], ["y"], **common)
        check([node], x, {"n": np.array([2, 9, *sizes])})


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_rounding_to_the_nearest(check, rounding):
    for coordinates in COORDINATES[:3]:
        node = make_node("Resize", ["x", "", "s"], ["y"], mode="nearest", nearest_mode=rounding,
                         coordinate_transformation_mode=coordinates)  # fmt: skip
        for scale in (2, 1.5, 0.5):
            s = np.array([1, 1, scale, scale], np.float32)
            check([node], {"x": normal(1, 3, 6, 8)}, {"s": s})


def test_cubic_with_borders_left_out(check):
    for outside in (0, 1):
        node = make_node("Resize", ["x", "", "s"], ["y"], mode="cubic", cubic_coeff_a=-0.5,
                         exclude_outside=outside)  # fmt: skip
        check([node], {"x": normal(1, 3, 6, 8)}, {"s": np.array([1, 1, 1.5, 2], np.float32)})


def test_resize_of_images_and_named_sizes(check):
    conv = make_node("Conv", ["c", "w"], ["x"])
    weights = {"w": normal(17, 3, 1, 1), "s": np.array([1, 1, 2, 2], np.float32)}
    feeds = [{"c": normal(n, 3, h, w)} for n, h, w in ((1, 4, 5), (2, 1, 1), (1, 9, 1))]
    for mode in ("nearest", "linear"):
        node = make_node("Resize", ["x", "", "s"], ["y"], mode=mode)
        check([conv, node], feeds, weights, threads=[1, 4])
        relu = make_node("Relu", ["y"], ["z"])
        join = make_node("Concat", ["z", "y"], ["u"], axis=1)
        check([conv, node, relu, join], feeds, weights, outputs=["u", "y"])


# --- Pad --------------------------------------------------------------------------------------

TYPES = ["float32", "float64", "bool", "int8", "int32", "int64", "uint8"]
PADS = [
    [0, 1, 0, 2],
    [1, 0, 2, 0],
    [0, 0, 0, 0],
    [-1, 1, 2, -2],
    [3, 3, 3, 3],
]


@pytest.mark.parametrize("dtype", TYPES)
def test_pad(check, dtype):
    x = {"x": np.random.default_rng(0).integers(0, 2, (5, 6)).astype(dtype)}
    for pads in PADS:
        node = make_node("Pad", ["x", "p"], ["y"])
        check([node], x, {"p": np.array(pads)})
        node = make_node("Pad", ["x", "p", "v"], ["y"])
        check([node], x, {"p": np.array(pads), "v": np.array(1, dtype)})


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_pad_by_what_is_there(check, mode):
    for pads in PADS:
        node = make_node("Pad", ["x", "p"], ["y"], mode=mode)
        check([node], {"x": normal(5, 6)}, {"p": np.array(pads)})
    node = make_node("Pad", ["x", "p", "", "a"], ["y"], mode=mode)
    weights = {"p": np.array([2, 1, 1, 2]), "a": np.array([-1, 1])}
    check([node], {"x": normal(2, 4, 5, 6)}, weights, threads=[1, 4])
    turn = make_node("Transpose", ["v"], ["x"], perm=[3, 0, 2, 1])
    check([turn, node], {"v": normal(4, 5, 6, 3)}, weights)


def test_pad_of_images_and_named_sizes(check):
    conv = make_node("Conv", ["c", "w"], ["x"])
    weights = {"w": normal(9, 3, 1, 1), "p": np.array([0, 0, 1, 2, 0, 3, 2, 1])}
    feeds = [{"c": normal(n, 3, h, 5)} for n, h in ((1, 4), (2, 3), (1, 9))]
    for mode in ("constant", "reflect", "edge"):
        node = make_node("Pad", ["x", "p"], ["y"], mode=mode)
        if mode != "constant":
            weights["p"] = np.array([0, 0, 1, 2, 0, 0, 2, 1])
        check([conv, node], feeds, weights, threads=[1, 4])
        check([conv, node, make_node("Relu", ["y"], ["z"])], feeds, weights, outputs=["z", "x"])


def test_crops_larger_than_the_input_are_refused(refused):
    node = make_node("Pad", ["x", "p"], ["y"], name="crop")
    for dims in (None, {"x": ["M", "N"]}):
        message = refused([node], {"x": normal(2, 3)}, {"p": np.array([-3, 0, 0, 0])}, dims=dims)
        assert "crop" in message or dims is None


def test_more_cut_off_than_there_was_takes_padding(check):
    for pads in ([2, 0, -3, 0], [-3, 0, 4, 0], [0, 3, 0, -5]):
        node = make_node("Pad", ["x", "p"], ["y"])
        x = {"x": normal(2, 4)}
        check([node], x, {"p": np.array(pads)})


def test_pads_known_only_at_run_time(check):
    node = make_node("Pad", ["x", "p"], ["y"])
    pads = [1, 0, 0, 2], [-1, 2, 0, -1], [0, 0, 0, 0]
    check([node], [{"x": normal(2, 3), "p": np.array(p)} for p in pads])
