"""Affine forms: the sum of products that a chain of products, sums and cuts computes.

Exporters compute the gates of a recurrent layer in one product or in several, add biases before or
after they cut the gates apart, and cut with Split or Slice. In normal form all of these are alike:
a sum of products of values with constant matrices, a constant, and other terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..values import attribute, constant, integers


@dataclass(frozen=True)
class Affine:
    """``sum(value @ matrix) + bias + sum(terms)``, of rank 2."""

    products: dict[ir.Value, np.ndarray] = field(default_factory=dict)
    """Constant matrices (inputs, columns), by the values they are multiplied by."""
    bias: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))
    """Of shape (columns,) or (1,)."""
    terms: tuple[ir.Value, ...] = ()

    @property
    def columns(self) -> int | None:
        """Number of columns of all products, None where there is none."""
        return next((matrix.shape[1] for matrix in self.products.values()), None)


def affine(value: ir.Value) -> Affine:
    """Affine form of a value; if it has none, the value itself is the only term."""
    array = constant(value)
    if array is not None:
        row = array.dtype.kind == "f" and array.shape[:-1] in ((), (1,))
        return Affine(bias=array.reshape(-1)) if row else Affine(terms=(value,))
    node = value.producer()
    rule = None if node is None or node.domain else _RULES.get(node.op_type)
    form = None if rule is None or node is None else rule(node, value)
    return Affine(terms=(value,)) if form is None else form


def _sum(a: Affine, b: Affine) -> Affine | None:
    products = dict(a.products)
    for value, matrix in b.products.items():
        if value in products and products[value].shape != matrix.shape:
            return None
        products[value] = products[value] + matrix if value in products else matrix
    widths = {matrix.shape[1] for matrix in products.values()}
    widths |= {bias.size for bias in (a.bias, b.bias) if bias.size > 1}
    if len(widths) > 1:
        return None  # something is broadcast
    return Affine(products, a.bias + b.bias, a.terms + b.terms)


def _add(node: ir.Node, value: ir.Value) -> Affine | None:
    a, b = node.inputs
    return None if a is None or b is None else _sum(affine(a), affine(b))


def _mul(node: ir.Node, value: ir.Value) -> Affine | None:
    """Multiply all of a form by one number."""
    for x, factor in (node.inputs, node.inputs[::-1]):
        number = constant(factor)
        if x is None or number is None or number.size != 1 or number.dtype.kind != "f":
            continue
        form, k = affine(x), number.reshape(())
        if not form.terms:
            return Affine({v: matrix * k for v, matrix in form.products.items()}, form.bias * k)
    return None


def _matmul(node: ir.Node, value: ir.Value) -> Affine | None:
    x, matrix = node.inputs[0], constant(node.inputs[1])
    return None if x is None or matrix is None or matrix.ndim != 2 else Affine({x: matrix})


def _gemm(node: ir.Node, value: ir.Value) -> Affine | None:
    x, matrix = node.inputs[0], constant(node.inputs[1])
    scaled = any(
        name in node.attributes and node.attributes[name].as_float() != 1.0
        for name in ("alpha", "beta")
    )
    if x is None or matrix is None or scaled or attribute(node, "transA", 0):
        return None
    product = Affine({x: matrix.T if attribute(node, "transB", 0) else matrix})
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return product if bias is None else _sum(product, affine(bias))


def _columns(form: Affine, start: int, stop: int) -> Affine | None:
    width = form.columns
    if form.terms or width is None or form.bias.size not in (1, width):
        return None
    products = {value: matrix[:, start:stop] for value, matrix in form.products.items()}
    return Affine(products, np.broadcast_to(form.bias, (width,))[start:stop])


def _slice(node: ir.Node, value: ir.Value) -> Affine | None:
    x = node.inputs[0]
    limits = [integers(item) for item in node.inputs[1:]]
    form = None if x is None else affine(x)
    if form is None or form.columns is None or len(limits) < 3 or None in limits:
        return None
    steps = limits[3] if len(limits) > 3 else None
    cut = None
    for start, end, axis in zip(*limits[:3], strict=True):
        if axis in (1, -1):
            cut = slice(start, end).indices(form.columns)
        elif start != 0 or end < 2**31 - 1:
            return None  # other rows are other sequences
    if cut is None or any(step != 1 for step in steps or ()):
        return None
    return _columns(form, cut[0], cut[1])


def _split(node: ir.Node, value: ir.Value) -> Affine | None:
    x, index = node.inputs[0], value.index()
    form = None if x is None else affine(x)
    axis = attribute(node, "axis", 0)
    if form is None or form.columns is None or axis not in (1, -1) or index is None:
        return None
    sizes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    if sizes is None:
        if len(node.inputs) > 1 or form.columns % len(node.outputs):
            return None
        sizes = [form.columns // len(node.outputs)] * len(node.outputs)
    start = sum(sizes[:index])
    return _columns(form, start, start + sizes[index])


def _identity(node: ir.Node, value: ir.Value) -> Affine | None:
    return None if node.inputs[0] is None else affine(node.inputs[0])


_RULES: dict[str, Callable[[ir.Node, ir.Value], Affine | None]] = {
    "Add": _add,
    "Mul": _mul,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Slice": _slice,
    "Split": _split,
    "Identity": _identity,
}
