"""Operators of TensorFlow that tf2onnx does not know, written as operators of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """erfc(x) = 1 - erf(x); Keras' exact Gelu uses it."""
    shape, kind = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    one = context.make_const(f"{name}/one", np.array(1, dtype))
    context.remove_node(node.name)
    erf = context.make_node("Erf", list(node.input))
    context.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        name=node.name,
        outputs=list(node.output),
        shapes=[shape],
        dtypes=[kind],
    )


HANDLERS: dict[str, tuple[Any, list[Any]]] = {"Erfc": (_erfc, [])}
"""What tf2onnx takes for ``custom_op_handlers``."""
