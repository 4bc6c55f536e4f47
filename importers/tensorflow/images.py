"""Handlers of operators on images: colours, and boxes cut out of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Builder


def _f(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def rgb_to_hsv(graph: Any, node: Any, name: str, args: Any) -> None:
    """Convert colours on the last axis; hue, saturation and value lie in [0, 1]."""
    build = Builder(graph, node)
    build.replace(build("Concat", *_hsv(build, build.inputs[0]), axis=-1))


def hsv_to_rgb(graph: Any, node: Any, name: str, args: Any) -> None:
    """Convert colours on the last axis back."""
    build = Builder(graph, node)
    build.replace(_rgb(build, *_channels(build, build.inputs[0])))


def adjust_saturation(graph: Any, node: Any, name: str, args: Any) -> None:
    """Multiply the saturation of RGB colours, and keep it within [0, 1]."""
    build = Builder(graph, node)
    hue, saturation, value = _hsv(build, build.inputs[0])
    scaled = build("Clip", build("Mul", saturation, build.inputs[1]), _f(0), _f(1))
    build.replace(_rgb(build, hue, scaled, value))


def crop_and_resize(graph: Any, node: Any, name: str, args: Any) -> None:
    """Cut boxes out of images, and sample each at a grid of points.

    Between pixels by the nearest one, halves away from zero, or bilinearly; points outside have
    the extrapolation value.
    """
    build = Builder(graph, node)
    images, boxes, numbers = build.inputs[:3]
    images = build.cast(images, np.float32)
    rows, columns = build.value(3).tolist()
    limits = [
        build.cast(build("Sub", build.size(images, axis), np.array(1, np.int64)), np.float32)
        for axis in (1, 2)
    ]
    y = _grid(build, boxes, 0, rows, limits[0])
    x = _grid(build, boxes, 1, columns, limits[1])
    outside = build(
        "Or",
        build.unsqueeze(_outside(build, y, limits[0]), 2, 3),
        build.unsqueeze(_outside(build, x, limits[1]), 1, 3),
    )
    y, x = (build("Clip", at, _f(0), limit) for at, limit in zip((y, x), limits, strict=True))

    def pick(y: str, x: str) -> str:
        shape = build(
            "Concat", build("Shape", numbers), np.array([rows, columns, 1], np.int64), axis=0
        )
        indices = (
            build.unsqueeze(numbers, 1, 2, 3),
            build.unsqueeze(y, 2, 3),
            build.unsqueeze(x, 1, 3),
        )
        wide = [build("Expand", build.cast(each, np.int64), shape) for each in indices]
        return build("GatherND", images, build("Concat", *wide, axis=-1))

    if node.get_attr_value("method", b"bilinear") == b"nearest":
        result = pick(*(build("Floor", build("Add", at, _f(0.5))) for at in (y, x)))
    else:
        (top, below), (left, right) = ((build("Floor", at), build("Ceil", at)) for at in (y, x))
        down = build.unsqueeze(build("Sub", y, top), 2, 3)
        along = build.unsqueeze(build("Sub", x, left), 1, 3)
        upper = _between(build, pick(top, left), pick(top, right), along)
        lower = _between(build, pick(below, left), pick(below, right), along)
        result = _between(build, upper, lower, down)
    value = _f(node.get_attr_value("extrapolation_value", 0.0))
    build.replace(build("Where", outside, value, result))


def _grid(build: Builder, boxes: str, axis: int, count: int, limit: str) -> str:
    """Positions of the points of each box along an axis, [boxes, count], in pixels."""
    begin, end = (
        build("Mul", build("Gather", boxes, np.array([at], np.int64), axis=1), limit)
        for at in (axis, axis + 2)
    )
    if count == 1:
        return build("Mul", build("Add", begin, end), _f(0.5))
    step = build("Div", build("Sub", end, begin), _f(count - 1))
    return build("Add", begin, build("Mul", step, np.arange(count, dtype=np.float32)[None]))


def _outside(build: Builder, at: str, limit: str) -> str:
    return build("Or", build("Less", at, _f(0)), build("Greater", at, limit))


def _between(build: Builder, first: str, second: str, part: str) -> str:
    return build("Add", first, build("Mul", build("Sub", second, first), part))


def _channels(build: Builder, image: str) -> list[str]:
    return [build("Gather", image, np.array([each], np.int64), axis=-1) for each in range(3)]


def _hsv(build: Builder, image: str) -> tuple[str, str, str]:
    red, green, blue = _channels(build, image)
    value = build("Max", red, green, blue)
    span = build("Sub", value, build("Min", red, green, blue))
    gray = build("Equal", span, _f(0))
    unit = build("Mul", build("Where", gray, _f(1), span), _f(6))

    def sector(first: str, second: str, start: float) -> str:
        return build("Add", build("Div", build("Sub", first, second), unit), _f(start))

    hue = build(
        "Where", build("Equal", green, value), sector(blue, red, 2 / 6), sector(red, green, 4 / 6)
    )
    hue = build("Where", build("Equal", red, value), sector(green, blue, 0), hue)
    hue = build("Where", build("Less", hue, _f(0)), build("Add", hue, _f(1)), hue)
    bright = build("Greater", value, _f(0))
    saturation = build("Div", span, build("Where", bright, value, _f(1)))
    saturation = build("Where", bright, saturation, _f(0))
    return build("Where", gray, _f(0), hue), saturation, value


def _rgb(build: Builder, hue: str, saturation: str, value: str) -> str:
    sector = build("Mul", hue, _f(6))

    def channel(centre: float, sign: float) -> str:
        distance = build("Abs", build("Sub", sector, _f(centre)))
        ramp = build("Add", build("Mul", distance, _f(sign)), _f(-1 if sign > 0 else 2))
        colour = build("Clip", ramp, _f(0), _f(1))
        white = build("Sub", _f(1), saturation)
        return build("Mul", build("Add", white, build("Mul", saturation, colour)), value)

    return build("Concat", channel(3, 1), channel(2, -1), channel(4, -1), axis=-1)
