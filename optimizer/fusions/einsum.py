"""Einsum of two operands as a matrix product, with transposes and reshapes around it.

Letters are of four kinds: *batch* is in both operands and the result, *summed* in both operands
only, *rows* and *columns* are in one operand and the result. Where there are several of a kind,
their axes become one, for which their sizes must be known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, fixed, op, rewrite
from ..values import Size, static_shape


@dataclass
class _Equation:
    """Letters of the operands and the result, and of each kind."""

    left: str
    right: str
    result: str

    def __post_init__(self) -> None:
        self.batch = "".join(x for x in self.result if x in self.left and x in self.right)
        self.rows = "".join(x for x in self.result if x not in self.right)
        self.columns = "".join(x for x in self.result if x not in self.left)
        self.summed = "".join(x for x in self.left if x in self.right and x not in self.result)

    @property
    def product(self) -> str:
        """Letters of the matrix product."""
        return self.batch + self.rows + self.columns


@rewrite(
    lambda a, b, bias: op.Einsum(a, b).named("einsum") + fixed(bias),
    lambda a, b: op.Einsum(a, b),
)
def _einsum(m: Match) -> ir.Value:
    a, b, equation = m.a, m.b, _read(m)
    swapped = _Equation(equation.right, equation.left, equation.result)
    if equation.product != equation.result == swapped.product:
        a, b, equation = b, a, swapped
    sizes = _sizes(m, a, b, equation)
    batch, rows = list(equation.batch), list(equation.rows)
    if batch or not rows:  # else the product takes them for its own batch
        rows = [equation.rows]
    left = _grouped(m, a, equation.left, [*batch, *rows, equation.summed], sizes)
    right = _grouped(m, b, equation.right, [*batch, equation.summed, equation.columns], sizes)
    product = m.op.MatMul(left, right)
    if "bias" in m:
        product = m.op.Add(product, _flat_bias(m, equation, sizes))
    product = _ungrouped(m, product, [*batch, *rows, equation.columns], sizes)
    return _transposed(m, product, equation.product, equation.result)


def _read(m: Match) -> _Equation:
    node = m.einsum.producer() if "einsum" in m else m.root
    assert node is not None
    text = node.attributes["equation"].as_string().replace(" ", "")
    terms, arrow, result = text.partition("->")
    operands = terms.split(",")
    plain = all(len(set(term)) == len(term) for term in (*operands, result))
    plain = plain and bool(arrow) and "." not in text and len(operands) == 2
    m.require(plain, f"{text} is not of two operands, a result and plain letters")
    equation = _Equation(operands[0], operands[1], result)
    left, right = (set(term) - set(result) for term in operands)
    m.require(left == right, f"{text} sums over a letter of one operand only")
    m.require(bool(equation.summed), f"{text} sums over no letter")
    return equation


_Sizes = dict[str, Size]


def _sizes(m: Match, a: ir.Value, b: ir.Value, equation: _Equation) -> _Sizes:
    sizes: _Sizes = {}
    for letters, operand in ((equation.left, a), (equation.right, b)):
        own = m.sizes(operand)
        m.require(len(own) == len(letters), "an operand has another number of axes")
        for letter, size in zip(letters, own, strict=True):
            known = sizes.setdefault(letter, size)
            both = isinstance(known, int) and isinstance(size, int)
            m.require(not both or known == size, f"{letter!r} has two sizes")
            sizes[letter] = size if isinstance(size, int) else known
    return sizes


def _transposed(m: Match, x: ir.Value, letters: str, result: str) -> ir.Value:
    if letters == result:
        return x
    value: ir.Value = m.op.Transpose(x, perm=[letters.index(letter) for letter in result])
    return value


def _grouped(m: Match, x: ir.Value, letters: str, groups: Sequence[str], sizes: _Sizes) -> ir.Value:
    """Bring axes into an order, and make those of each group one (of size 1 for none)."""
    order = "".join(groups)
    x = _transposed(m, x, letters, order)
    target: list[int | None] = []
    for index, group in enumerate(groups):
        known = _product(group, sizes)
        stays = len(group) == 1 and order.index(group) == index
        if known is None and len(group) != 1:
            raise NearMiss(f"sizes of {group!r}, which become one axis, are not known")
        target.append(0 if known is None and stays else known)
    return x if list(order) == list(groups) else _reshape(m, x, target)


def _ungrouped(m: Match, x: ir.Value, groups: Sequence[str], sizes: _Sizes) -> ir.Value:
    """Give every letter its axis again."""
    order = "".join(groups)
    if list(order) == list(groups):
        return x
    target: list[int | None] = []
    for index, letter in enumerate(order):
        stays = index < len(groups) and groups[index] == letter
        known = _product(letter, sizes)
        target.append(0 if known is None and stays else known)
    return _reshape(m, x, target)


def _product(letters: str, sizes: _Sizes) -> int | None:
    numbers = [size for letter in letters if isinstance(size := sizes[letter], int)]
    return math.prod(numbers) if len(numbers) == len(letters) and 0 not in numbers else None


def _reshape(m: Match, x: ir.Value, target: Sequence[int | None]) -> ir.Value:
    m.require(target.count(None) <= 1, "two sizes are not known")
    sizes = [-1 if size is None else size for size in target]
    value: ir.Value = m.op.Reshape(x, np.array(sizes, np.int64))
    return value


def _flat_bias(m: Match, equation: _Equation, sizes: _Sizes) -> np.ndarray:
    """Bias of several axes of columns, as a vector for the one axis of the product."""
    own = tuple(sizes[letter] for letter in equation.columns)
    several = len(own) > 1 and equation.product == equation.result
    m.require(several and static_shape(m.bias) == own, "the addend is not one value per column")
    return m.constant("bias").reshape(-1)


@rewrite(lambda x: op.Einsum(x))
def _einsum_of_one(m: Match) -> ir.Value:
    """Einsum that only brings axes into another order."""
    text = m.root.attributes["equation"].as_string().replace(" ", "")
    term, arrow, result = text.partition("->")
    plain = bool(arrow) and "." not in text and len(set(term)) == len(term)
    m.require(plain and sorted(term) == sorted(result), f"{text} does more than to order axes")
    return _transposed(m, m.x, term, result)


fuse_einsum = apply_rules([_einsum, _einsum_of_one])
