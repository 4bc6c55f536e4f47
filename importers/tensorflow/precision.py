"""Precision of graphs: which floating-point types they compute in, and bfloat16 as float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def _attributes(definition: Any) -> Iterator[Any]:
    functions = definition.library.function
    for node in [*definition.node, *(node for each in functions for node in each.node_def)]:
        yield from node.attr.values()
    for function in functions:
        yield from function.attr.values()
        for arguments in function.arg_attr.values():
            yield from arguments.attr.values()


def precision_of(definition: Any) -> float:
    """Return the unit roundoff of the narrowest floating-point type that a GraphDef computes in."""
    from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_HALF

    found = {each.type for each in _attributes(definition)}
    return 2.0**-8 if DT_BFLOAT16 in found else 2.0**-11 if DT_HALF in found else 2.0**-24


def without_bfloat16(definition: Any) -> Any:
    """Return a GraphDef that computes in float32 where another computes in bfloat16.

    Few operators of ONNX take bfloat16, and none of TensorFlow's results depends on its rounding
    by intention.
    """
    from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_FLOAT
    from tensorflow.python.framework.tensor_util import MakeNdarray, make_tensor_proto

    if precision_of(definition) < 2.0**-8:
        return definition
    copy = type(definition)()
    copy.CopyFrom(definition)
    for attribute in _attributes(copy):
        if attribute.type == DT_BFLOAT16:
            attribute.type = DT_FLOAT
        if attribute.HasField("tensor") and attribute.tensor.dtype == DT_BFLOAT16:
            array = MakeNdarray(attribute.tensor).astype(np.float32)
            attribute.tensor.CopyFrom(make_tensor_proto(array))
        for index, kind in enumerate(attribute.list.type):
            if kind == DT_BFLOAT16:
                attribute.list.type[index] = DT_FLOAT
    for function in copy.library.function:
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            if argument.type == DT_BFLOAT16:
                argument.type = DT_FLOAT
    return copy
