"""Tensors filled by rule: ConstantOfShape, Range, EyeLike, OneHot, Trilu; Dropout's mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.fill import arange, eye, fill, one_hot, range_size, trilu
from ..emission import Emission
from ..graph import KNOWN_LIMIT, Info, Node, OnHost, dtype_name, known_array, refuse
from ..symbolic import Dim, maximum, minimum, not_one, product
from ..tensors import Tensor, short_name
from . import checks
from .registry import Operator, register

_BEYOND = 2**46  # no matrix has so many rows or columns


def emit_fill(emit: Emission, y: Tensor, value: np.ndarray) -> None:
    """Emit a step that sets all elements of a dense tensor to one."""
    emit.step(
        fill(y.itemsize), outputs=[y], y=y, value=emit.constant(value.reshape(1)), count=y.size
    )


# --- ConstantOfShape --------------------------------------------------------------------------


def _fill_value(node: Node) -> np.ndarray:
    value = node.attribute("value")
    return np.zeros(1, np.float32) if value is None else np.asarray(value.numpy()).reshape(1)


def _infer_constant(node: Node) -> list[Info]:
    shape, value = node.required(0).sizes(), _fill_value(node)
    dtype = dtype_name(ir.DataType.from_numpy(value.dtype))
    if dtype == "object":
        raise OnHost("a type without kernels")
    known = None
    count = product(shape)
    if dtype in ("int64", "int32") and isinstance(count, int) and count <= KNOWN_LIMIT:
        known = known_array([int(value[0])] * count, tuple(int(n) for n in shape))  # type: ignore
    return [node.result(shape, dtype, known=known)]


def _lower_constant(emit: Emission, node: Node) -> None:
    emit_fill(emit, emit.output(node), _fill_value(node))


# --- Range ------------------------------------------------------------------------------------


def _infer_range(node: Node) -> list[Info]:
    """Integers are sizes, of which the number of elements follows; others are counted."""
    dtype = node.required(0).dtype
    if dtype in ("int32", "int64"):
        return _infer_integer_range(node)
    if dtype not in ("float32", "float64", "int16"):
        raise OnHost(f"Range of {dtype}")
    infos = [node.required(i) for i in range(3)]
    if not all(info.is_constant for info in infos):
        return [node.result((node.count(),))]
    start, limit, delta = (float(info.array().reshape(-1)[0]) for info in infos)
    _refuse_standing(node, delta)
    return [node.result((max(0, int(np.ceil((limit - start) / delta))),))]


def _check_range(node: Node) -> None:
    for index in range(3):
        checks.one_number(node, index)
        info = node.input(index)
        if info is not None and info.shape is not None and info.rank > 1:
            refuse(node, f"rank of {info.name!r}", info.rank, "0")


def _refuse_standing(node: Node, delta: Any) -> None:
    if delta == 0:
        refuse(node, "the step", delta, "another number than 0")


def _infer_integer_range(node: Node) -> list[Info]:
    start, limit, delta = (node.required(i).sizes()[0] for i in range(3))
    _refuse_standing(node, delta)
    count = maximum(0, -1 * ((start - limit) // delta))
    known = None
    if isinstance(count, int) and isinstance(delta, int) and count <= KNOWN_LIMIT:
        known = known_array([start + i * delta for i in range(count)], (count,))
    return [node.result((count,), known=known)]


def _lower_range(emit: Emission, node: Node) -> None:
    start, limit, delta = (emit.tensor(value) for value in node.values[:3])
    if node.counted:
        counted = emit.new((1,), "int64")
        emit.step(
            range_size(short_name(start.dtype)), outputs=[counted], counted=counted, start=start,
            limit=limit, delta=delta,
        )  # fmt: skip
        emit.read(counted, node.counted, node)
    elif start.dtype in ("int32", "int64"):
        step = node.required(2).sizes()[0]
        emit.check(1, not_one(step + 1), "1 and 0 for a step of 0")
    y = emit.output(node)
    emit.step(arange(short_name(y.dtype)), outputs=[y], y=y, start=start, delta=delta, count=y.size)


# --- the rest ---------------------------------------------------------------------------------


def _check_diagonal(node: Node) -> None:
    checks.one_number(node, 1)


def _infer_trilu(node: Node) -> list[Info]:
    x = node.required(0)
    if x.rank < 2:
        raise OnHost("not a matrix")
    if node.input(1) is not None:
        node.required(1).sizes()
    return [node.result(x.dims)]


def _lower_trilu(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    y = emit.output(node)
    k: Dim = 0 if node.input(1) is None else node.required(1).sizes()[0]
    k = maximum(minimum(k, _BEYOND), -_BEYOND)  # the kernel adds it to positions
    emit.step(
        trilu(x.itemsize), outputs=[y], x=x, y=y, planes=product(x.shape[:-2]), rows=x.shape[-2],
        columns=x.shape[-1], k=k, upper=node.attribute("upper", 1),
    )  # fmt: skip


def _infer_eye(node: Node) -> list[Info]:
    x = node.required(0)
    kind = node.attribute("dtype")
    dtype = x.dtype if kind is None else dtype_name(ir.DataType(kind))
    if dtype == "object":
        raise OnHost("a type without kernels")
    return [node.result(x.dims, dtype)]


def _lower_eye(emit: Emission, node: Node) -> None:
    y = emit.output(node)
    k = max(min(node.attribute("k", 0), _BEYOND), -_BEYOND)  # the kernel adds it to positions
    emit.step(
        eye(y.itemsize), outputs=[y], y=y, one=emit.constant(np.ones(1, y.dtype)),
        rows=y.shape[0], columns=y.shape[1], k=k,
    )  # fmt: skip


def _check_one_hot(node: Node) -> None:
    checks.one_number(node, 1)
    values = node.input(2)
    if values is None or values.shape is None:
        return
    if values.rank != 1 or (isinstance(values.dims[0], int) and values.dims[0] != 2):
        refuse(node, f"shape of {values.name!r}", list(values.dims), "[2]")


def _infer_one_hot(node: Node) -> list[Info]:
    indices, depth, values = (node.required(i) for i in range(3))
    if indices.dtype not in ("int32", "int64", "float32"):
        raise OnHost(f"indices of {indices.dtype}")
    axis = node.attribute("axis", -1) % (indices.rank + 1)
    size = int(depth.array().reshape(-1)[0]) if depth.is_constant else depth.sizes()[0]
    shape = (*indices.dims[:axis], size, *indices.dims[axis:])
    return [node.result(shape, values.dtype)]


def _lower_one_hot(emit: Emission, node: Node) -> None:
    indices = emit.ordered(emit.tensor(node.values[0]))
    values = emit.ordered(emit.tensor(node.values[2]))
    emit.check(values.shape[0], 2, f"size of {values.name!r}")
    y = emit.output(node)
    axis = node.attribute("axis", -1) % len(y.shape)
    emit.step(
        one_hot(y.itemsize, short_name(indices.dtype)), outputs=[y], indices=indices,
        values=values, y=y, outer=product(y.shape[:axis]), depth=y.shape[axis],
        inner=product(y.shape[axis + 1 :]),
    )  # fmt: skip


def _infer_dropout(node: Node) -> list[Info]:
    x, training = node.required(0), node.input(2)
    if training is not None and (not training.is_constant or training.array().any()):
        raise OnHost("training mode")
    infos = [node.result(x.dims, known=x.known), node.result(x.dims, "bool", len(node.outputs) - 1)]
    return infos[: len(node.outputs)]


def _lower_dropout(emit: Emission, node: Node) -> None:
    """Nothing is dropped when a model runs."""
    x = emit.tensor(node.values[0])
    emit.set(node.outputs[0], x.view(x.shape, x.strides))
    if len(node.outputs) > 1 and node.outputs[1].name:
        emit_fill(emit, emit.output(node, 1), np.ones(1, np.bool_))


register(
    "ConstantOfShape",
    Operator(
        rules=(checks.size_list(0, per_axis=0, least=0),),
        infer=_infer_constant,
        lower=_lower_constant,
        moves=True,
    ),
)
register("Range", Operator(rules=(_check_range,), infer=_infer_range, lower=_lower_range))
register(
    "Trilu", Operator(rules=(_check_diagonal,), infer=_infer_trilu, lower=_lower_trilu, moves=True)
)
register(
    "EyeLike",
    Operator(
        rules=(checks.element_type("dtype"), checks.least_rank(2, exact=True)),
        infer=_infer_eye,
        lower=_lower_eye,
        moves=True,
    ),
)
register(
    "OneHot",
    Operator(
        rules=(checks.axis(-1, more=1), _check_one_hot), infer=_infer_one_hot, lower=_lower_one_hot
    ),
)
register("Dropout", Operator(infer=_infer_dropout, lower=_lower_dropout, moves=True))
