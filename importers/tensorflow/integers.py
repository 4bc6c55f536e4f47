"""Handlers of integer arithmetic and of counts, which tf2onnx rounds wrongly or lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Builder


def floor_division(graph: Any, node: Any, name: str, args: Any) -> None:
    """Divide and round down; ONNX's division of integers rounds towards zero."""
    build = Builder(graph, node)
    x, y = build.inputs
    dtype = build.dtype(x)
    if dtype.kind == "f":
        build.replace(build("Floor", build("Div", x, y)))
        return
    quotient = build("Div", x, y)
    if dtype.kind == "i":
        zero = np.array(0, dtype)
        remainder = build("Sub", x, build("Mul", quotient, y))
        inexact = build("Not", build("Equal", remainder, zero))
        opposite = build("Xor", build("Less", remainder, zero), build("Less", y, zero))
        down = build.cast(build("And", inexact, opposite), dtype)
        quotient = build("Sub", quotient, down)
    build.replace(quotient)


def floor_modulo(graph: Any, node: Any, name: str, args: Any) -> None:
    """Take the remainder with the sign of the divisor."""
    build = Builder(graph, node)
    x, y = build.inputs
    if build.dtype(x).kind != "f":
        build.replace(build("Mod", x, y))
        return
    rest = build("Mod", x, y, fmod=1)
    zero = np.array(0, build.dtype(x))
    opposite = build("Less", build("Mul", build("Sign", rest), build("Sign", y)), zero)
    build.replace(build("Where", opposite, build("Add", rest, y), rest))


def truncated_division(graph: Any, node: Any, name: str, args: Any) -> None:
    """Divide and round towards zero."""
    build = Builder(graph, node)
    quotient = build("Div", *build.inputs)
    if build.dtype(build.inputs[0]).kind == "f":
        size = build("Floor", build("Abs", quotient))
        quotient = build("Mul", build("Sign", quotient), size)
    build.replace(quotient)


def truncated_modulo(graph: Any, node: Any, name: str, args: Any) -> None:
    """Take the remainder with the sign of the dividend."""
    build = Builder(graph, node)
    build.replace(build("Mod", *build.inputs, fmod=1))


def dense_bincount(graph: Any, node: Any, name: str, args: Any) -> None:
    """Count the integers from 0 on, or add up their weights: of a matrix for each row."""
    build = Builder(graph, node)
    x, size, weights = build.inputs
    axis = build.rank(0) - 1
    dtype = build.dtype(node.output[0])
    count = build.cast(build("Reshape", size, np.array([], np.int64)), np.int64)
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    bins = build("Range", zero, count, one)
    is_in = build("Equal", build.unsqueeze(build.cast(x, np.int64), axis + 1), bins)
    counted = build.cast(is_in, dtype)
    weighted = graph.get_shape(weights)
    if weighted is None:
        raise ValueError("whether it has weights is not known")
    if node.get_attr_value("binary_output", False):
        build.replace(build("ReduceMax", counted, np.array([axis], np.int64), keepdims=0))
        return
    if weighted != [0]:
        counted = build("Mul", counted, build.unsqueeze(weights, axis + 1))
    build.replace(build("ReduceSum", counted, np.array([axis], np.int64), keepdims=0))
