"""Contents of inputs that operators of onnx's reference implementation take without a check.

Where the standard gives a range for indices, lengths or sizes, what lies outside is an error; the
reference would wrap it, cut it off, or compute with it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

Check = Callable[[OpRun, Sequence[Any]], None]


def _within(what: str, values: Any, least: int, most: int) -> None:
    """Raise ValueError for a number below ``least`` or above ``most``."""
    for value in np.asarray(values).reshape(-1).tolist():
        if not least <= value <= most:
            raise ValueError(f"{what} {value} is not from {least} to {most}")


def _given(inputs: Sequence[Any], index: int) -> Any:
    return inputs[index] if index < len(inputs) else None


_AXES = ("axis", "axes")
"""Names of inputs that are axes of the first."""


def _axes(node: OpRun, inputs: Sequence[Any]) -> None:
    """Check inputs that name axes of the first input, whatever the operator is."""
    formals = getattr(node, "schema", None)
    if formals is None or not inputs or not isinstance(inputs[0], np.ndarray):
        return
    for formal, value in zip(formals.inputs, inputs, strict=False):
        if formal.name in _AXES and value is not None:
            rank = inputs[0].ndim + (np.size(value) if formals.name == "Unsqueeze" else 0)
            _within("axis", value, -rank, rank - 1)


def _reverse_sequence(node: OpRun, inputs: Sequence[Any]) -> None:
    x, lengths = inputs
    axis = getattr(node, "time_axis", 0)
    _within("sequence length", lengths, 0, x.shape[axis])


def _attention(node: OpRun, inputs: Sequence[Any]) -> None:
    keys, counts = inputs[1], _given(inputs, 6)
    if counts is not None:
        _within("number of keys that are no padding", counts, 0, keys.shape[-2])


def _top_k(node: OpRun, inputs: Sequence[Any]) -> None:
    x, axis = inputs[0], getattr(node, "axis", -1)
    if len(inputs) > 1:
        _within("number of elements wanted", inputs[1], 0, x.shape[axis])


def _one_hot(node: OpRun, inputs: Sequence[Any]) -> None:
    _within("depth", inputs[1], 0, 2**31)
    if np.shape(inputs[2]) != (2,):
        raise ValueError(f"values of shape {np.shape(inputs[2])}, expected (2,)")


def _reshape(node: OpRun, inputs: Sequence[Any]) -> None:
    if len(inputs) > 1:
        _within("size", inputs[1], -1, 2**62)


def _split(node: OpRun, inputs: Sequence[Any]) -> None:
    x, sizes = inputs[0], _given(inputs, 1)
    if sizes is None:
        return
    size = x.shape[getattr(node, "axis", 0)]
    _within("size of a part", sizes, 0, size)
    if int(np.sum(sizes)) != size:
        raise ValueError(f"sizes of parts {np.asarray(sizes).tolist()}, expected a sum of {size}")


def _recurrent(node: OpRun, inputs: Sequence[Any]) -> None:
    x, _, r = inputs[:3]
    lengths, is_batch_first = _given(inputs, 4), bool(getattr(node, "layout", 0))
    batch, steps, features = x.shape if is_batch_first else (x.shape[1], x.shape[0], x.shape[2])
    directions, rows, size = r.shape
    state = (batch, directions, size) if is_batch_first else (directions, batch, size)
    matrix, bias, peepholes = (rows, features), (2 * rows,), (3 * size,)
    parameters = [(directions, *shape) for shape in (matrix, (rows, size), bias, peepholes)]
    shapes = [x.shape, *parameters[:3], (batch,), state, state, parameters[3]]
    formals = onnx.defs.get_schema(node.onnx_node.op_type).inputs
    for formal, value, shape in zip(formals, inputs, shapes, strict=False):
        if value is not None and np.shape(value) != shape:
            raise ValueError(f"{formal.name!r} of shape {np.shape(value)}, expected {shape}")
    if lengths is not None:
        _within("length of a sequence", lengths, 0, steps)


def _roi_align(node: OpRun, inputs: Sequence[Any]) -> None:
    _within("index of an image", inputs[2], 0, inputs[0].shape[0] - 1)


def _pool(node: OpRun, inputs: Sequence[Any]) -> None:
    """Refuse padding that makes far more of an image than there is: it would be written out."""
    x = inputs[0]
    pads = getattr(node, "pads", None) or [0] * 2 * (x.ndim - 2)
    rank = len(pads) // 2
    sizes = [size + pads[i] + pads[i + rank] for i, size in enumerate(x.shape[2:])]
    elements = math.prod([*x.shape[:2], *sizes])
    if elements > _MOST_PADDED and elements > 100 * x.size:
        raise ValueError(f"padded to {sizes}, {elements} elements; at most {_MOST_PADDED} are")


_MOST_PADDED = 2**26

_CHECKS: dict[str, Check] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LpPool": _pool,
    "MaxPool": _pool,
    "OneHot": _one_hot,
    "RNN": _recurrent,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "RoiAlign": _roi_align,
    "Split": _split,
    "TopK": _top_k,
}


def check_of(node: onnx.NodeProto) -> Check | None:
    """Return what refuses inputs of an operator of the standard whose contents are out of range.

    It raises ValueError, which says what was expected and what came.
    """
    if node.domain:
        return None
    check = _CHECKS.get(node.op_type)
    if not _has_axes(node.op_type):
        return check
    if check is None:
        return _axes
    return functools.partial(_both, check)


def _both(check: Check, node: OpRun, inputs: Sequence[Any]) -> None:
    _axes(node, inputs)
    check(node, inputs)


@functools.cache
def _has_axes(name: str) -> bool:
    """Tell whether inputs of an operator of the standard name axes."""
    if not onnx.defs.has(name):
        return False
    return any(formal.name in _AXES for formal in onnx.defs.get_schema(name).inputs)
