"""Elementwise operators: broadcasting, and each as a term of the pointwise language.

A fusion group of such nodes becomes one generated kernel (``fusion.Group``); the term of an
operator is what it contributes to that kernel's expression.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import KNOWN_LIMIT, Info, Node, OnHost, dtype_name, known_array
from ..symbolic import Dim, maximum
from .registry import register

Term = Callable[[Node, list[str]], str]


def broadcast(shapes: list[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """Shape of the result of numpy's broadcasting; named dims win over 1, numbers over names."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dims = [shape[axis] for shape in shapes if len(shape) >= -axis]
        others = [dim for dim in dims if dim != 1]
        fixed = [dim for dim in others if isinstance(dim, int)]
        if not others:
            result.append(1)
        elif fixed:
            if len(set(fixed)) > 1:
                raise ValueError(f"shapes {shapes} do not broadcast")
            result.append(fixed[0])
        else:
            dim = others[0]
            for other in others[1:]:
                dim = maximum(dim, other)
            result.append(dim)
    return tuple(result)


def _shape(node: Node, dtype: str | None = None, operands: int | None = None) -> Info:
    infos = [info for info in node.inputs[:operands] if info is not None]
    try:
        return node.result(broadcast([info.dims for info in infos]), dtype or infos[0].dtype)
    except ValueError as error:
        from ... import InvalidModel

        names = [info.name for info in infos]
        raise InvalidModel(f"node {node.name!r} ({node.op_type}): inputs {names}: {error}") from None


def _infer(node: Node) -> list[Info]:
    info = _shape(node)
    _track(node, info)
    return [info]


def _infer_bool(node: Node) -> list[Info]:
    return [_shape(node, "bool")]


def _infer_where(node: Node) -> list[Info]:
    return [_shape(node, node.required(1).dtype)]


def _infer_cast(node: Node) -> list[Info]:
    import onnx_ir as ir

    kind = node.attribute("to") if node.op_type == "Cast" else None
    if isinstance(kind, str):
        kind = ir.DataType[kind]
    dtype = dtype_name(ir.DataType(kind)) if kind is not None else node.required(1).dtype
    if dtype == "object":
        raise OnHost("cast to a type without kernels")
    source = node.required(0)
    known = source.known if dtype in ("int64", "int32") else None
    return [node.result(source.dims, dtype, known=known)]


_ON_SIZES: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
}


def _divide_sizes(a: Dim, b: Dim) -> Dim:
    """ONNX's integer division truncates; sizes are not negative, numbers may be."""
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            raise OnHost("division by zero")
        return int(np.trunc(a / b)) if abs(a) < 2**52 else a // b
    return a // b


def _track(node: Node, info: Info) -> None:
    """Follow arithmetic on sizes."""
    known = [None if operand is None else operand.known for operand in node.inputs]
    operate = _ON_SIZES.get(node.op_type)
    if node.op_type == "Div":
        operate = _divide_sizes
    if operate is None or len(known) != 2 or known[0] is None or known[1] is None:
        return
    a, b = np.broadcast_arrays(known[0], known[1])
    if a.size <= KNOWN_LIMIT:
        values = [operate(x, y) for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True)]
        info.known = known_array(values, a.shape)


def _call(name: str) -> Term:
    return lambda node, operands: f"{name}({','.join(operands)})"


def _fold(name: str) -> Term:
    """An n-ary operator as a chain of the binary one."""

    def term(node: Node, operands: list[str]) -> str:
        text = operands[0]
        for operand in operands[1:]:
            text = f"{name}({text},{operand})"
        return text

    return term


def _with_attributes(name: str, **defaults: float) -> Term:
    """An operator whose attributes become literals."""

    def term(node: Node, operands: list[str]) -> str:
        values = [node.attribute(key, default) for key, default in defaults.items()]
        return f"{name}({','.join([*operands, *(_literal(value) for value in values)])})"

    return term


def _literal(value: float) -> str:
    return repr(float(np.float32(value)))
