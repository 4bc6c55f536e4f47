"""Handlers of TensorFlow operators that tf2onnx lacks or converts wrongly.

Each handler gets tf2onnx's graph and the node, which it replaces; see tf2onnx's custom operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import images, integers, resizing
from .builder import Builder
from .segments import SEGMENTS


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    build = Builder(graph, node)
    x = build.inputs[0]
    build.replace(build("Sub", np.array(1, build.dtype(x)), build("Erf", x)))


def _bucketize(graph: Any, node: Any, name: str, args: Any) -> None:
    """Count the boundaries that are not above each element."""
    build = Builder(graph, node)
    x = build.inputs[0]
    bounds = np.array(node.get_attr("boundaries").floats, np.float32).astype(build.dtype(x))
    reached = build("GreaterOrEqual", build.unsqueeze(x, -1), bounds)
    counts = build.cast(reached, build.dtype(node.output[0]))
    build.replace(build("ReduceSum", counts, np.array([-1], np.int64), keepdims=0))


def _equal(graph: Any, node: Any, name: str, args: Any) -> None:
    """Compare by Equal of any type; tf2onnx makes numbers of texts first."""
    build = Builder(graph, node)
    result = build("Equal", *build.inputs)
    build.replace(build("Not", result) if node.type == "NotEqual" else result)


def _select(graph: Any, node: Any, name: str, args: Any) -> None:
    """Select floats by Where: tf2onnx's sums of products turn infinities into NaN."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.controlflow import Select

    if graph.get_dtype(node.output[0]) in (TensorProto.FLOAT, TensorProto.DOUBLE):
        build = Builder(graph, node)
        build.replace(build("Where", *build.inputs))
    else:
        Select.version_9(graph, node)


def _matrix_diagonal(graph: Any, node: Any, name: str, args: Any) -> None:
    """Put rows on a diagonal: tf2onnx loses an axis of rows of one element."""
    from tf2onnx.onnx_opset.tensor import MatrixDiag

    build = Builder(graph, node)
    x, *options = build.inputs
    others = [build.value(index).reshape(-1) for index in range(1, len(options) + 1)]
    number, rows, columns, padding = others or ([0], [-1], [-1], [0])
    if len(number) != 1 or rows[0] != -1 or columns[0] != -1:
        MatrixDiag.version_12(graph, node)
        return
    k, rank = int(number[0]), build.rank(0)
    fill = np.array(padding[0], build.dtype(x))
    pads = np.zeros(2 * rank, np.int64)
    pads[-1] = abs(k)
    row = build("Pad", x, pads, fill)
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    place = build("Range", zero, build.size(row, rank - 1), one)
    distance = build("Sub", place, build.unsqueeze(place, 1))
    on = build("Equal", distance, np.array(k, np.int64))
    build.replace(build("Where", on, build.unsqueeze(row, -1 if k > 0 else -2), fill))


def _gelu(graph: Any, node: Any, name: str, args: Any) -> None:
    """Write out Gelu, for which the opset that tf2onnx writes has no operator."""
    build = Builder(graph, node)
    x = build.inputs[0]
    one, half = np.array(1, np.float32), np.array(0.5, np.float32)
    if node.get_attr_value("approximate"):
        cube = build("Mul", build("Mul", x, x), build("Mul", x, np.array(0.044715, np.float32)))
        angle = build("Mul", build("Add", x, cube), np.array(np.sqrt(2 / np.pi), np.float32))
        gate = build("Tanh", angle)
    else:
        gate = build("Erf", build("Div", x, np.array(np.sqrt(2), np.float32)))
    build.replace(build("Mul", build("Mul", x, half), build("Add", gate, one)))


def _densify(graph: Any, node: Any, name: str, args: Any) -> None:
    """Take a weight as it is: sparse ones of the file are dense already."""
    Builder(graph, node).replace(node.input[0])


LITE_HANDLERS: dict[str, tuple[Callable[..., None], list[Any]]] = {
    "TFL_DENSIFY": (_densify, []),
    "TFL_GELU": (_gelu, []),
}
"""Handlers of operators of TensorFlow Lite alone."""

HANDLERS: dict[str, tuple[Callable[..., None], list[Any]]] = {
    kind: (handler, [])
    for kind, handler in {
        "AdjustSaturation": images.adjust_saturation,
        "Bucketize": _bucketize,
        "CropAndResize": images.crop_and_resize,
        "DenseBincount": integers.dense_bincount,
        "Equal": _equal,
        "Erfc": _erfc,
        "FloorDiv": integers.floor_division,
        "FloorMod": integers.floor_modulo,
        "HSVToRGB": images.hsv_to_rgb,
        "MatrixDiag": _matrix_diagonal,
        "MatrixDiagV2": _matrix_diagonal,
        "MatrixDiagV3": _matrix_diagonal,
        "NotEqual": _equal,
        "RGBToHSV": images.rgb_to_hsv,
        "ResizeArea": resizing.resize_area,
        "ResizeBicubic": resizing.resize_bicubic,
        "ScaleAndTranslate": resizing.scale_and_translate,
        "SelectV2": _select,
        "TruncateDiv": integers.truncated_division,
        "TruncateMod": integers.truncated_modulo,
        **SEGMENTS,
    }.items()
}
