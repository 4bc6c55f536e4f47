"""Einsum of any equation: diagonals are views, operands join two at a time as matrix products.

Letters of two operands are of four kinds, as in ``optimizer.fusions.einsum``, which has made
plain products of most equations before: *batch* is in both and needed further on, *summed* in both
only, *rows* and *columns* are in one and needed further on. What is in one operand only and not
needed is summed up first. Axes of an ellipsis have numbers for letters, counted from the last.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor
from .convolution import KINDS
from .elementwise import broadcast
from .matmul import emit_product
from .pointwise import broadcast_strides, emit_expression
from .reduce import reduce_to
from .registry import Operator, register

_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


@dataclass
class _Equation:
    """Letters of the axes of operands and result."""

    operands: list[list[str]]
    result: list[str]


def _read(node: Node) -> _Equation:
    """Read the equation of a node, whose operands have known ranks."""
    text = node.attribute("equation", "").replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    ranks = [info.rank for info in node.inputs if info is not None]
    valid = all(_TERM.fullmatch(term) for term in (*terms, right)) and len(terms) == len(ranks)
    plain = [term.replace("...", "") for term in terms]
    for term, letters, rank in zip(terms, plain, ranks, strict=False):
        valid = valid and (len(letters) == rank or ("..." in term and len(letters) < rank))
    if not valid:
        refuse(node, "attribute 'equation'", text, f"terms for operands of {ranks} axes")
    hidden = [rank - len(letters) for letters, rank in zip(plain, ranks, strict=True)]
    most = max(hidden, default=0)
    operands = [_letters(term, count) for term, count in zip(terms, hidden, strict=True)]
    if arrow:
        result = _letters(right, most)
    else:
        letters = "".join(plain)
        single = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        result = [*_letters("...", most), *single]
    if len(set(result)) != len(result) or not set(result) <= set().union(*operands):
        refuse(node, "attribute 'equation'", text, "letters of the result once, and of operands")
    return _Equation(operands, result)


def _letters(term: str, count: int) -> list[str]:
    """Letters of a term whose ellipsis stands for so many axes."""
    before, dots, after = term.partition("...")
    return [*before, *(str(i) for i in range(count, 0, -1) if dots), *after]


def _sizes(node: Node, equation: _Equation) -> dict[str, Dim]:
    """Size of each letter's axis; numbers win over names, and those of an ellipsis over 1."""
    sizes: dict[str, Dim] = {}
    infos = [info for info in node.inputs if info is not None]
    for letters, info in zip(equation.operands, infos, strict=True):
        for letter, size in zip(letters, info.dims, strict=True):
            known = sizes.setdefault(letter, size)
            if letter.isdigit():
                (sizes[letter],) = broadcast([(known,), (size,)])
            elif isinstance(size, int):
                if isinstance(known, int) and known != size:
                    refuse(node, f"axis {letter!r} of {info.name!r}", size, f"{known}")
                sizes[letter] = size
    return sizes


def _infer(node: Node) -> list[Info]:
    first = node.required(0)
    if first.dtype == "float16":
        raise OnHost(f"Einsum of {first.dtype}")
    equation = _read(node)
    sizes = _sizes(node, equation)
    if 0 in sizes.values():
        raise OnHost("axes of size 0")
    return [node.result([sizes[letter] for letter in equation.result])]


@dataclass
class _Operand:
    """A tensor and the letters of its axes, each once."""

    tensor: Tensor
    letters: list[str]


class _Contraction:
    """Emits the steps of a node."""

    def __init__(self, emit: Emission, node: Node) -> None:
        self.emit, self.node = emit, node
        self.equation = _read(node)
        self.sizes = _sizes(node, self.equation)

    def operand(self, index: int) -> _Operand:
        """Return an operand as a view with each letter once: repeated ones are a diagonal."""
        tensor, letters = self.emit.tensor(self.node.values[index]), self.equation.operands[index]
        order = list(dict.fromkeys(letters))
        strides: list[Dim] = []
        for letter in order:
            axes = [axis for axis, other in enumerate(letters) if other == letter]
            for axis in axes:
                self._check(letter, tensor, axis)
            strides.append(functools.reduce(lambda a, b: a + b, (tensor.strides[a] for a in axes)))
        shape = [tensor.shape[letters.index(letter)] for letter in order]
        return _Operand(tensor.view(shape, strides), order)

    def _check(self, letter: str, tensor: Tensor, axis: int) -> None:
        if not letter.isdigit():
            message = f"axis {letter!r} of {tensor.name!r}"
            self.emit.check(tensor.shape[axis], self.sizes[letter], message)

    def summed(self, x: _Operand, needed: set[str]) -> _Operand:
        """Sum over the axes that nothing needs."""
        axes = [axis for axis, letter in enumerate(x.letters) if letter not in needed]
        if not axes:
            return x
        letters = [letter for letter in x.letters if letter in needed]
        shape = [x.tensor.shape[x.letters.index(letter)] for letter in letters]
        total = self.emit.new(shape, x.tensor.dtype, name=x.tensor.name)
        reduce_to(self.emit, "sum", x.tensor, total, axes)
        return _Operand(total, letters)

    def dense(self, x: _Operand, letters: Sequence[str]) -> Tensor:
        """Return an operand with axes in an order, repeated along those that it lacks."""
        shape = [self.sizes[letter] for letter in letters]
        target = Tensor(x.tensor.buffer, 0, x.tensor.dtype, tuple(shape), (0,) * len(shape))
        view = self.placed(x, letters)
        return self.emit.ordered(view.view(shape, broadcast_strides(self.emit, view, target)))

    def placed(self, x: _Operand, letters: Sequence[str]) -> Tensor:
        """Return a view that has axes of size 1 for letters that an operand lacks."""
        at = {letter: axis for axis, letter in enumerate(x.letters)}
        shape = [x.tensor.shape[at[each]] if each in at else 1 for each in letters]
        strides = [x.tensor.strides[at[each]] if each in at else 0 for each in letters]
        return x.tensor.view(shape, strides)

    def joined(self, a: _Operand, b: _Operand, needed: set[str]) -> _Operand:
        """Multiply two operands, and sum over what is needed no more."""
        letters = list(dict.fromkeys([*a.letters, *b.letters]))
        summed = [x for x in letters if x not in needed]
        batch = [x for x in letters if x in needed and x in a.letters and x in b.letters]
        rows = [x for x in a.letters if x not in b.letters]
        columns = [x for x in b.letters if x not in a.letters]
        kept = [*batch, *rows, *columns]
        dtype = a.tensor.dtype
        if not summed or dtype not in KINDS:
            whole = self.new([*kept, *summed], dtype)
            views = [self.placed(x, whole.letters) for x in (a, b)]
            emit_expression(self.emit, "mul(x0,x1)", whole.tensor, views)
            return self.summed(whole, needed)
        result = self.new(kept, dtype)
        left = self.matrix(self.dense(a, [*batch, *rows, *summed]), batch, rows, summed)
        right = self.matrix(self.dense(b, [*batch, *summed, *columns]), batch, summed, columns)
        target = self.matrix(result.tensor, batch, rows, columns)
        emit_product(self.emit, self.node, left, right, target)
        return result

    def new(self, letters: Sequence[str], dtype: str) -> _Operand:
        """Create a tensor for letters."""
        shape = [self.sizes[letter] for letter in letters]
        return _Operand(self.emit.new(shape, dtype, name=self.node.infos[0].name), list(letters))

    def matrix(self, x: Tensor, *groups: Sequence[str]) -> Tensor:
        """See a dense tensor as one with an axis for each group; no batch is no axis."""
        groups = groups if groups[0] else groups[1:]
        shape = tuple(product([self.sizes[x] for x in group]) for group in groups)
        return x.view(shape, contiguous_strides(shape))

    def run(self) -> _Operand:
        """Emit all steps."""
        operands = [self.operand(i) for i in range(len(self.equation.operands))]
        needs = [set(self.equation.result)]
        for x in reversed(operands[1:]):
            needs.insert(0, needs[0].union(x.letters))
        total = self.summed(operands[0], needs[0])
        for x, needed in zip(operands[1:], needs[1:], strict=True):
            own = self.summed(x, needed.union(total.letters))
            total = self.joined(total, own, needed)
        return total


def _lower(emit: Emission, node: Node) -> None:
    work = _Contraction(emit, node)
    total, letters = work.run(), work.equation.result
    axes = [total.letters.index(letter) for letter in letters]
    shape, strides = ([row[a] for a in axes] for row in (total.tensor.shape, total.tensor.strides))
    emit.set(node.outputs[0], total.tensor.view(shape, strides))


register("Einsum", Operator(infer=_infer, lower=_lower))
