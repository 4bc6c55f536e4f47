"""Kernels of images: resizing, depthwise and transposed convolutions."""

import numpy as np
from onnx import helper

from .both import same_as_cpu
from .cases import parametrize
from .runs import check, floats

node = helper.make_node


def resize(**attributes):
    return node("Resize", ["x", "", "s"], ["y"], **attributes)


def scales(*numbers):
    return {"s": np.array(numbers, np.float32)}


@parametrize("coordinates", [
    "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
])  # fmt: skip
@parametrize("mode", ["nearest", "linear", "cubic"])
def case_images_are_resized(mode, coordinates):
    x = {"x": floats(1, 3, 4, 6)}
    for factors in ((1, 1, 1.75, 1.5), (1, 1, 0.75, 1)):
        one = resize(mode=mode, coordinate_transformation_mode=coordinates)
        check([one], x, scales(*factors), tolerance=1e-4)


@parametrize("rounding", ["round_prefer_ceil", "floor", "ceil"])
def case_the_nearest_pixel(rounding):
    one = resize(mode="nearest", nearest_mode=rounding)
    for dtype in ("float32", "uint8"):
        check([one], {"x": (floats(2, 1, 4, 5) * 9).astype(dtype)}, scales(1, 1, 1.5, 2))


def case_pixels_outside():
    one = resize(mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    check([one], {"x": floats(1, 2, 4, 5)}, scales(1, 1, 2, 1.5), tolerance=1e-4)
    crop = node("Resize", ["x", "r", "", "n"], ["y"], mode="linear", extrapolation_value=7.0,
                coordinate_transformation_mode="tf_crop_and_resize")  # fmt: skip
    weights = {"r": np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.2], np.float32)}
    check([crop], {"x": floats(1, 2, 4, 5)}, weights | {"n": np.array([1, 2, 5, 4])})


@parametrize("mode", ["nearest", "linear", "cubic"])
def case_any_axes_are_resized(mode):
    check([resize(mode=mode)], {"x": floats(3, 4, 5)}, scales(1.5, 1, 0.75), tolerance=1e-4)


def case_shrinking_without_aliases():
    for mode in ("linear", "cubic"):
        one = resize(mode=mode, antialias=1)
        check([one], {"x": floats(1, 1, 7, 6)}, scales(1, 1, 0.5, 0.75), tolerance=1e-4)


@parametrize("options", [
    {}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}, {"dilations": [1, 2]}, {"pads": [2, 0, 1, 3]},
])  # fmt: skip
@parametrize("filters", [1, 2])
def case_depthwise_convolutions(filters, options):
    weights = {"w": floats(4 * filters, 1, 3, 2), "b": floats(4 * filters, seed=1)}
    check([node("Conv", ["x", "w", "b"], ["y"], group=4, **options)], {"x": floats(2, 4, 7, 6)},
          weights)  # fmt: skip


def case_depthwise_convolutions_of_signals_and_volumes():
    signal = {"x": floats(2, 3, 9)}
    check([node("Conv", ["x", "w"], ["y"], group=3)], signal, {"w": floats(3, 1, 4)})
    weights = {"w": floats(2, 1, 2, 2, 3)}
    check([node("Conv", ["x", "w"], ["y"], group=2)], {"x": floats(1, 2, 4, 4, 5)}, weights)


@parametrize("options", [
    {}, {"strides": [2, 2]}, {"strides": [3, 2], "pads": [1, 0, 2, 1]}, {"dilations": [2, 1]},
    {"strides": [3, 3], "output_padding": [1, 1]}, {"strides": [4, 3]},
])  # fmt: skip
def case_transposed_convolutions(options):
    x = {"x": floats(2, 4, 3, 4)}
    weights = {"w": floats(4, 3, 3, 2), "b": floats(3, seed=1)}
    check([node("ConvTranspose", ["x", "w", "b"], ["y"], **options)], x, weights, tolerance=1e-4)
    for groups, filters in ((2, 3), (4, 1), (4, 2)):
        weights = {"w": floats(4, filters, 3, 2), "b": floats(filters * groups, seed=1)}
        one = node("ConvTranspose", ["x", "w", "b"], ["y"], group=groups, **options)
        same_as_cpu(one, x, weights)


def case_transposed_convolutions_of_signals_volumes_and_given_weights():
    for sizes, kernel in (((2, 3, 5), (3, 2, 4)), ((1, 2, 2, 3, 3), (2, 3, 2, 2, 3))):
        one = node("ConvTranspose", ["x", "w"], ["y"], strides=[2] * (len(sizes) - 2))
        same_as_cpu(one, {"x": floats(*sizes)}, {"w": floats(*kernel)})
    one = node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], group=2)
    same_as_cpu(one, {"x": floats(1, 4, 3, 3), "w": floats(4, 3, 2, 2, seed=1)})
