"""Pointwise steps: elementwise nodes written as an expression, and its one pass over memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ...errors import InvalidModel
from ...kernels import pointwise as language
from ...kernels.abi import WEIGHTS
from ..element_types import HALVES, NARROW
from ..emission import Emission
from ..graph import Node, OnHost
from ..groups import Group
from ..strides import channels_last_order, collapse, contiguous_strides
from ..symbolic import Dim, is_zero_or_one, not_one, product
from ..tensors import Tensor, short_name
from .long_rows import long_rows
from .registry import OPERATORS, Operator
from .terms import Placed, Source, Term, call, float32, function

# Rows of up to so many elements are too short for the inner loop, which goes across rows then.
_NARROW = 3

_MOVES = {"x0": 1, "where(x0,x1,x2)": 2}
"""Expressions that only move elements, and the first operand, counted from 1, that they move."""

_MOST_OPERANDS = 16  # each is an address and four strides of the kernel's record


@dataclass
class Expression:
    """A group as text of the pointwise language, and the sources of its operands."""

    text: str
    operands: list[Source]

    def tensors(self, emit: Emission, first: int = 0) -> list[Tensor]:
        """Return the tensors of the operands, from that of an index on."""
        return [_tensor(emit, each) for each in self.operands[first:]]


def _tensor(emit: Emission, source: Source) -> Tensor:
    if isinstance(source, float):
        return emit.number(source)
    return _placed(emit, source) if isinstance(source, Placed) else emit.tensor(source)


def _placed(emit: Emission, operand: Placed) -> Tensor:
    info = emit.infos[operand.value]
    if operand.dtype and info.is_constant:
        tensor = emit.constant(info.array().astype(operand.dtype), info.name)
    else:
        tensor = emit.tensor(operand.value)
    if operand.block and operand.axis is not None:
        message = f"blocks of {operand.block} along axis {operand.axis}, and of {tensor.name!r}"
        wanted = blocks_of(operand.size, operand.block)
        emit.check(tensor.shape[operand.axis], wanted, message)
        spread = _repeated(emit, tensor, operand.axis, operand.block)
        shape = list(spread.shape)
        shape[operand.axis] = operand.size
        return spread.view(shape, spread.strides)
    if operand.axis is None:
        return tensor
    after = operand.rank - operand.axis - 1
    return tensor.view((*tensor.shape, *[1] * after), (*tensor.strides, *[0] * after))


def blocks_of(size: Dim, block: int) -> Dim:
    """Return the number of blocks of so many elements, the last one perhaps shorter."""
    return (size + block - 1) // block


def _repeated(emit: Emission, tensor: Tensor, axis: int, count: int) -> Tensor:
    """Emit a tensor whose elements are repeated along an axis."""
    shape, strides = list(tensor.shape), list(tensor.strides)
    shape.insert(axis + 1, count)
    strides.insert(axis + 1, 0)
    spread = emit.new(shape, tensor.dtype, name=tensor.name)
    emit.copy(tensor.view(shape, strides), spread, "Repeat")
    merged = (*shape[:axis], shape[axis] * count, *shape[axis + 2 :])
    return spread.view(merged, contiguous_strides(merged))


def write_expression(nodes: Sequence[Node], first: ir.Value | None = None) -> Expression:
    """Write elementwise nodes as an expression; ``first`` becomes operand x0."""
    names: dict[Source, str] = {}
    operands: list[Source] = []
    if first is not None:
        names[first] = "x0"
        operands.append(first)
    statements: list[str] = []
    for node in nodes:
        operator = OPERATORS[node.key]
        assert operator.term is not None
        values = _sources(node, operator)
        # A constant exponent, or the type CastLike takes, is part of the term.
        taken = _arity(node, operator, len(values))
        for value in values[:taken]:
            if value not in names:
                names[value] = f"x{len(operands)}"
                operands.append(value)
        arguments = [Term(names.get(value, "?")) for value in values]
        for name, default in operator.parameters.items():
            number = float32(node.attribute(name, default))
            if number == float32(default):
                arguments.append(Term(repr(number)))
            else:
                arguments.append(Term(f"x{len(operands)}"))
                operands.append(number)
        target = f"t{len(statements)}"
        statements.append(f"{target}={_narrowed(node, operator.term(node, arguments)).text}")
        names[node.outputs[0]] = target
    statements[-1] = statements[-1].partition("=")[2]
    return Expression(";".join(statements), operands)


# Types that are computed with in a wider one, and operators whose results need no rounding to them.
_NARROW_TYPES = (*HALVES, "int8", "int16", "int32", "uint8", "uint16", "uint32")
_EXACT = {
    "Cast", "CastLike", "Clip", "Identity", "Max", "Min", "QuantizeLinear", "Relu", "Where",
}  # fmt: skip


def _narrowed(node: Node, term: Term) -> Term:
    """Round a result to its element type, as every operator does, also within a chain."""
    dtype = node.infos[0].dtype
    if dtype not in _NARROW_TYPES or node.op_type in _EXACT:
        return term
    return call(f"to_{short_name(dtype)}", term)


def _sources(node: Node, operator: Operator) -> Sequence[Source]:
    """Operands of a node that are given."""
    if operator.sources is not None:
        return operator.sources(node)
    return [value for value in node.values if value is not None]


def _arity(node: Node, operator: Operator, count: int) -> int:
    """Operands that a term really mentions."""
    assert operator.term is not None
    names = [f"?{i}?" for i in range(count)]
    text = operator.term(node, [Term(name) for name in (*names, *operator.parameters)]).text
    return max((i + 1 for i, name in enumerate(names) if name in text), default=0)


def emit_pointwise(emit: Emission, group: Group, target: Tensor | None = None) -> None:
    """Emit a group of elementwise nodes as one generated kernel, to its output or a ``target``."""
    expression = write_expression(group.nodes)
    result = group.last.infos[0]
    shape = result.dims
    tensors = expression.tensors(emit)
    order = preferred_order(shape, tensors)
    tensors = [_in_order(emit, tensor, shape, order) for tensor in tensors]
    text = expression.text
    if len(tensors) > _MOST_OPERANDS and OPERATORS[group.last.key].folds:
        text, tensors = _fold_first(emit, group.last, tensors, order)
    target = target or emit.output(group.last, order=order)
    emit_expression(emit, text, target, tensors, order, len(group.nodes))


def _fold_first(
    emit: Emission, node: Node, tensors: Sequence[Tensor], order: Sequence[int] | None
) -> tuple[str, list[Tensor]]:
    """Emit steps that combine the first operands of a node, until one step takes the others.

    Returns
    -------
    (str, list of Tensor)
        Expression and operands of the last step.
    """
    operator, info = OPERATORS[node.key], node.infos[0]
    assert operator.term is not None
    # Of a narrow type only the result is rounded.
    dtype = "float32" if info.dtype in HALVES else info.dtype
    tensors = list(tensors)
    names = [Term(f"x{i}") for i in range(_MOST_OPERANDS)]
    fold = functools.reduce(function(operator.folds), names).text
    while len(tensors) > _MOST_OPERANDS:
        partial = emit.new(info.dims, dtype, order)
        emit_expression(
            emit, fold, partial, tensors[:_MOST_OPERANDS], order, operations=_MOST_OPERANDS - 1
        )
        tensors[:_MOST_OPERANDS] = [partial]
    return _narrowed(node, operator.term(node, names[: len(tensors)])).text, tensors


def emit_expression(
    emit: Emission,
    text: str,
    target: Tensor,
    operands: Sequence[Tensor | float],
    order: Sequence[int] | None = None,
    operations: int = 1,
) -> None:
    """Emit ``target = text(operands)``, broadcasting the operands to the target's shape."""
    tensors = [emit.number(each) if isinstance(each, float) else each for each in operands]
    axes = list(order) if order is not None else list(range(len(target.shape)))
    strides = [broadcast_strides(emit, tensor, target) for tensor in tensors]
    try:
        dims, rows = collapse(target.shape, axes, [target.strides, *strides], rank=4)
    except OnHost:
        # More axes than the kernel has: repeated operands are written out.
        tensors = [
            _spread(emit, tensor, target, steps, axes)
            for tensor, steps in zip(tensors, strides, strict=True)
        ]
        table = [target.strides, *(tensor.strides for tensor in tensors)]
        dims, rows = collapse(target.shape, axes, table, rank=4)
    for part in long_rows(emit, [target, *tensors], dims, rows):
        _emit_rows(emit, text, *part, operations)


def _emit_rows(
    emit: Emission, text: str, tensors: Sequence[Tensor], dims: Sequence[Dim],
    strides: Sequence[Sequence[Dim]], operations: int,
) -> None:  # fmt: skip
    """Emit a step for tensors, the result first, of four axes."""
    dims, rows = list(dims), [list(row) for row in strides]
    if isinstance(dims[3], int) and dims[3] <= _NARROW and dims[2] != 1:
        # Many rows of a few elements: along the rows there is more to do at a time.
        dims[2], dims[3] = dims[3], dims[2]
        for row in rows:
            row[2], row[3] = row[3], row[2]
    dtypes = _moved_as(text, [tensor.dtype for tensor in tensors])
    kinds = [_kind(dtype, row[3]) for dtype, row in zip(dtypes, rows, strict=True)]
    kinds[0] = kinds[0].replace("s", "v") if dims[3] == 1 else kinds[0]
    if product(dims) in (0, 1):
        # Strides do not matter, so it is the kernel of tensors, with numbers of the model's own.
        numbers = [False, *(tensor.buffer.kind == WEIGHTS for tensor in tensors[1:])]
        kinds = [
            kind if is_number and kind[-1] == "s" else f"{kind[:-1]}v"
            for kind, is_number in zip(kinds, numbers, strict=True)
        ]
    kernel = language.pointwise(text, " ".join(kinds))
    fields: dict[str, Any] = {f"d{i}": dim for i, dim in enumerate(dims)}
    names = ["y", *(f"x{i}" for i in range(len(tensors) - 1))]
    for name, tensor, row in zip(names, tensors, rows, strict=True):
        fields[f"{name}p"] = tensor
        fields |= {f"{name}s{i}": stride for i, stride in enumerate(row)}
    work = product(dims) * operations
    emit.step(kernel, outputs=[tensors[0]], flops=work, over=tensors[1:], **fields)


def _spread(
    emit: Emission, tensor: Tensor, target: Tensor, strides: Sequence[Dim], order: Sequence[int]
) -> Tensor:
    """Return an operand dense and of the target's shape, or as it is when it is one number."""
    view = tensor.view(target.shape, strides)
    return view if all(stride == 0 for stride in strides) else emit.ordered(view, order)


def _moved_as(text: str, dtypes: Sequence[str]) -> Sequence[str]:
    """Return integers of the same size for types of narrow floats whose elements are only moved.

    Conversions to the type that is computed with would change the bits of what is no number.
    """
    result = dtypes[0]
    taken = dtypes[_MOVES.get(text, len(dtypes)) :]
    if result not in (*HALVES, *NARROW) or not taken or any(dtype != result for dtype in taken):
        return dtypes
    integer = f"uint{8 * np.dtype(result).itemsize}"
    return [integer if dtype == result else dtype for dtype in dtypes]


def _kind(dtype: str, stride: Dim) -> str:
    name = "b8" if dtype == "bool" else short_name(dtype)
    if is_zero_or_one(stride):
        return name + "e"
    return name + ("v" if stride == 1 else "s" if stride == 0 else "g")


def broadcast_strides(emit: Emission, tensor: Tensor, target: Tensor) -> list[Dim]:
    """Strides of a tensor over the axes of the target; 0 where it is repeated."""
    missing = len(target.shape) - len(tensor.shape)
    if missing < 0:
        # The target may be a matrix product's result without its leading axes of size 1.
        if any(dim != 1 for dim in tensor.shape[:-missing]):
            raise InvalidModel(
                f"{emit.where}: {tensor.name!r} of shape {tensor.shape} does not broadcast to "
                f"{target.name!r} of shape {target.shape}"
            )
        tensor = tensor.view(tensor.shape[-missing:], tensor.strides[-missing:])
        missing = 0
    strides: list[Dim] = [0] * missing
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        wanted = target.shape[axis + missing]
        if size == wanted:
            strides.append(0 if size == 1 else stride)
        elif size == 1:
            strides.append(0)
        else:
            message = f"{tensor.name!r} does not broadcast to {target.name!r}, axis {axis}"
            emit.check(size, wanted, message, broadcast=True)
            strides.append(not_one(size) * stride)
    return strides


def _is_full(tensor: Tensor, shape: Sequence[Dim]) -> bool:
    """Tell whether a tensor is as large as a result, as far as the names of sizes tell."""
    pairs = zip(tensor.shape, shape, strict=False)
    return len(tensor.shape) == len(shape) and all(a == b or a != 1 for a, b in pairs)


def preferred_order(shape: Sequence[Dim], tensors: Sequence[Tensor]) -> tuple[int, ...] | None:
    """Memory order of a result: that of a full-sized operand that is not in ONNX's order."""
    for tensor in tensors:
        if len(shape) < 3 or not _is_full(tensor, shape) or tensor.is_contiguous:
            continue
        if tensor.strides[1] == 1 and shape[1] != 1:
            return channels_last_order(len(shape))
    return None


def _in_order(
    emit: Emission, tensor: Tensor, shape: Sequence[Dim], order: Sequence[int] | None
) -> Tensor:
    """Convert a full-sized operand to the order of the result; small ones are read as they lie."""
    if not shape or not _is_full(tensor, shape):
        return tensor
    axes = list(order) if order is not None else list(range(len(shape)))
    if tensor.strides[axes[-1]] == 1 or shape[axes[-1]] == 1:
        return tensor
    if order is not None:
        return emit.channels_last(tensor)
    return emit.ordered(tensor)
