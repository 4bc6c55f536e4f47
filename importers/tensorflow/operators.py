"""Handlers of TensorFlow operators that tf2onnx lacks or converts wrongly.

Each handler gets tf2onnx's graph and the node, which it replaces; see tf2onnx's custom operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import images, integers, resizing
from .segments import SEGMENTS


def _replace(graph: Any, node: Any, kind: str, inputs: list[str], **attributes: Any) -> None:
    """Put a node in the place of another: the same outputs, shapes and types."""
    outputs = list(node.output)
    shapes, types = [list(map(of, outputs)) for of in (graph.get_shape, graph.get_dtype)]
    graph.remove_node(node.name)
    graph.make_node(kind, inputs, outputs=outputs, shapes=shapes, dtypes=types, attr=attributes)


def _constant(graph: Any, node: Any, name: str, array: np.ndarray) -> str:
    output: str = graph.make_const(f"{node.name}/{name}", array).output[0]
    return output


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    from tf2onnx import utils

    x = node.input[0]
    kind = utils.map_onnx_to_numpy_type(graph.get_dtype(x))
    one = _constant(graph, node, "one", np.array(1, kind))
    _replace(graph, node, "Sub", [one, graph.make_node("Erf", [x]).output[0]])


def _bucketize(graph: Any, node: Any, name: str, args: Any) -> None:
    """Count the boundaries that are not above each element."""
    from tf2onnx import utils

    x = node.input[0]
    kind = utils.map_onnx_to_numpy_type(graph.get_dtype(x))
    bounds = np.array(node.get_attr("boundaries").floats, np.float32).astype(kind)
    axis = _constant(graph, node, "axis", np.array([-1], np.int64))
    column = graph.make_node("Unsqueeze", [x, axis]).output[0]
    limits = _constant(graph, node, "boundaries", bounds)
    reached = graph.make_node("GreaterOrEqual", [column, limits]).output[0]
    counts = graph.make_node("Cast", [reached], attr={"to": graph.get_dtype(node.output[0])})
    _replace(graph, node, "ReduceSum", [counts.output[0], axis], keepdims=0)


def _select(graph: Any, node: Any, name: str, args: Any) -> None:
    """Select floats by Where: tf2onnx's sums of products turn infinities into NaN."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.controlflow import Select

    if graph.get_dtype(node.output[0]) in (TensorProto.FLOAT, TensorProto.DOUBLE):
        _replace(graph, node, "Where", list(node.input))
    else:
        Select.version_9(graph, node)


HANDLERS: dict[str, tuple[Callable[..., None], list[Any]]] = {
    kind: (handler, [])
    for kind, handler in {
        "AdjustSaturation": images.adjust_saturation,
        "Bucketize": _bucketize,
        "CropAndResize": images.crop_and_resize,
        "DenseBincount": integers.dense_bincount,
        "Erfc": _erfc,
        "FloorDiv": integers.floor_division,
        "FloorMod": integers.floor_modulo,
        "HSVToRGB": images.hsv_to_rgb,
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
