"""Handlers of resized images, as products with a matrix of weights for each of the two axes.

ONNX's Resize has neither TensorFlow's mean over areas, nor its table of cubic weights, nor kernels
other than linear and cubic ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .builder import Builder
from .resize_kernels import KERNELS, keys

_TABLE = 1024
"""Steps of TensorFlow's table of cubic weights."""

_ONE = np.array(1, np.float32)


def resize_area(graph: Any, node: Any, name: str, args: Any) -> None:
    """Take the mean of the pixels that a new pixel covers, by the parts that it covers."""
    _resize(Builder(graph, node), _area_weights)


def resize_bicubic(graph: Any, node: Any, name: str, args: Any) -> None:
    """Interpolate by the cubic kernel of Keys; with half pixels the outside has no weight."""
    _resize(Builder(graph, node), _cubic_weights)


def scale_and_translate(graph: Any, node: Any, name: str, args: Any) -> None:
    """Resize by one of TensorFlow's kernels, wider than a pixel where an image shrinks."""
    build = Builder(graph, node)
    images, size, scales, offsets = build.inputs
    kind = node.get_attr_value("kernel_type", b"lanczos3").decode()
    if kind not in KERNELS:
        raise ValueError(f"its kernel {kind!r} is not known")
    is_wide = bool(node.get_attr_value("antialias", True))
    found = []
    for axis in (0, 1):
        new = build("Gather", build.cast(size, np.int64), np.array(axis, np.int64))
        inverse = build("Reciprocal", build("Gather", scales, np.array(axis, np.int64)))
        shift = build("Mul", build("Gather", offsets, np.array(axis, np.int64)), inverse)
        centre = build("Add", _range(build, new), np.array(0.5, np.float32))
        at = build("Sub", build("Mul", centre, inverse), shift)
        width = build("Max", inverse, np.array(1, np.float32)) if is_wide else _ONE
        found.append(_kernel_weights(build, build.size(images, axis + 1), at, width, kind))
    build.replace(_weighted(build, *found))


def _kernel_weights(build: Builder, old: str, at: str, width: Any, kind: str) -> str:
    """Weights of the old pixels by their distance, of sum 1; points outside have none."""
    column = build.unsqueeze(at, 1)
    pixels = build("Add", _range(build, old), np.array(0.5, np.float32))
    distance = build("Abs", build("Div", build("Sub", pixels, column), width))
    weights = KERNELS[kind](build, distance)
    total = build("ReduceSum", weights, np.array([1], np.int64), keepdims=1)
    none = build("Equal", total, np.array(0, np.float32))
    weights = build("Div", weights, build("Where", none, _ONE, total))
    beyond = build("Greater", column, build.cast(old, np.float32))
    outside = build("Or", build("Less", column, np.array(0, np.float32)), beyond)
    return build("Where", outside, np.array(0, np.float32), weights)


def _resize(build: Builder, weights: Callable[[Builder, str, str, str], str]) -> None:
    aligned = bool(build.node.get_attr_value("align_corners", False))
    images, size = build.inputs
    size = build.cast(size, np.int64)
    found = []
    for axis in (0, 1):
        old = build.size(images, axis + 1)
        new = build("Gather", size, np.array(axis, np.int64))
        found.append(weights(build, old, new, _scale(build, old, new, aligned)))
    build.replace(_weighted(build, *found))


def _scale(build: Builder, old: str, new: str, aligned: bool) -> str:
    """Old pixels for one new pixel, in float32 as in TensorFlow."""
    one = np.array(1, np.int64)
    ratio = build("Div", build.cast(old, np.float32), build.cast(new, np.float32))
    if not aligned:
        return ratio
    spans = [build.cast(build("Sub", each, one), np.float32) for each in (old, new)]
    return build("Where", build("Greater", new, one), build("Div", *spans), ratio)


def _weighted(build: Builder, rows: str, columns: str) -> str:
    """Multiply images [n, h, w, c] by weights of rows [h', h] and of columns [w', w]."""
    images = build.cast(build.inputs[0], np.float32)
    along = build("Transpose", build("MatMul", columns, images), perm=[0, 2, 1, 3])
    return build("Transpose", build("MatMul", rows, along), perm=[0, 2, 1, 3])


def _range(build: Builder, count: str) -> str:
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    return build.cast(build("Range", zero, count, one), np.float32)


def _area_weights(build: Builder, old: str, new: str, scale: str) -> str:
    """Parts of the interval of each new pixel that lie in each old one; the last has no end."""
    first = build.unsqueeze(_range(build, new), 1)
    begin = build("Mul", first, scale)
    end = build("Mul", build("Add", first, np.array(1, np.float32)), scale)
    pixel = _range(build, old)
    after = build("Add", pixel, np.array(1, np.float32))
    is_last = build("Equal", after, build.cast(old, np.float32))
    after = build("Where", is_last, np.array(np.finfo(np.float32).max), after)
    covered = build("Sub", build("Min", end, after), build("Max", begin, pixel))
    parts = build("Max", covered, np.array(0, np.float32))
    # Of one pixel alone, aligned by its corners, all new ones are copies.
    none = build("Equal", scale, np.array(0, np.float32))
    return build("Where", none, _ONE, build("Div", parts, scale))


def _cubic_weights(build: Builder, old: str, new: str, scale: str) -> str:
    """Weights of the four old pixels around each new one."""
    half = bool(build.node.get_attr_value("half_pixel_centers", False))
    at = _range(build, new)
    if half:
        centre = build("Mul", build("Add", at, np.array(0.5, np.float32)), scale)
        at = build("Sub", centre, np.array(0.5, np.float32))
    else:
        at = build("Mul", at, scale)
    whole = build("Floor", at)
    steps = build("Round", build("Mul", build("Sub", at, whole), np.array(_TABLE, np.float32)))
    part = build("Div", steps, np.array(_TABLE, np.float32))
    last = build.cast(build("Sub", old, np.array(1, np.int64)), np.float32)
    pixels = _range(build, old)
    taps = []
    for tap in (-1, 0, 1, 2):
        index = build("Add", whole, np.array(tap, np.float32))
        inside = build("Clip", index, np.array(0, np.float32), last)
        distance = build("Abs", build("Sub", np.array(tap, np.float32), part))
        weight = keys(build, distance, -0.5 if half else -0.75)
        if half:
            weight = build("Mul", weight, build.cast(build("Equal", index, inside), np.float32))
        chosen = build.cast(build("Equal", build.unsqueeze(inside, 1), pixels), np.float32)
        taps.append(build("Mul", chosen, build.unsqueeze(weight, 1)))
    weights = build("Sum", *taps)
    if not half:
        return weights
    return build("Div", weights, build("ReduceSum", weights, np.array([1], np.int64), keepdims=1))
