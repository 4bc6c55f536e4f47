"""Elementwise operators: functions of one tensor, and of operands that broadcast."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from .. import intervals
from ..size_limits import greater_size, smaller_size
from ..size_products import multiply_sizes
from ..size_sums import add_sizes, subtract_sizes
from ..values import Size, attribute, constant, rank
from .record import Contents, ContentsRule, Operator, Read, UnchangedRule, all_inputs, table


def _neutral(number: float, *, either: bool = False) -> UnchangedRule:
    """Return the other operand where the second, or either, is a number that changes nothing."""

    def unchanged(node: ir.Node) -> ir.Value | None:
        if _is_neutral(node, 1, number):
            return node.inputs[0]
        return node.inputs[1] if either and _is_neutral(node, 0, number) else None

    return unchanged


def _is_neutral(node: ir.Node, index: int, number: float) -> bool:
    """Tell whether an operand is a number that changes nothing, not even the shape or a zero."""
    array, axes = constant(node.inputs[index]), rank(node.inputs[1 - index])
    if array is None or axes is None or array.dtype.kind not in "fiu":
        return False
    same = array.size == 1 and bool((array == number).all())
    if number == 0 and array.dtype.kind == "f":
        # Of -0, x + 0 and x - -0 make 0; x + -0 and x - 0 leave it alone.
        same = same and bool(np.signbit(array).all()) == (node.op_type == "Add")
    return same and array.ndim <= axes


def only_operand(node: ir.Node) -> ir.Value | None:
    """Return the operand of an operator that joins or combines any number of them."""
    return node.inputs[0] if len(node.inputs) == 1 else None


def _unlimited(node: ir.Node) -> ir.Value | None:
    """Return the input of a Clip without limits, of integers: those of floats are finite."""
    dtype = None if node.inputs[0] is None else node.inputs[0].dtype
    if dtype is None or dtype.is_floating_point():
        return None
    limits = [value for value in node.inputs[1:] if value is not None]
    return None if limits or {"min", "max"} & set(node.attributes) else node.inputs[0]


# --- Cast -------------------------------------------------------------------------------------

# Types that hold every size.
_HOLD_SIZES = (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.DOUBLE)


def _same_type(node: ir.Node) -> ir.Value | None:
    x = node.inputs[0]
    same = x is not None and x.dtype is not None and attribute(node, "to", 0) == int(x.dtype)
    return x if same else None


def _cast(node: ir.Node, read: Read) -> Contents | None:
    x, to = read(node.inputs[0]), attribute(node, "to", 0)
    if x is None or to in _HOLD_SIZES:
        return x
    return _of_numbers(lambda number: number != 0, x) if to == ir.DataType.BOOL else None


# --- contents ---------------------------------------------------------------------------------


def _numbers_only(operate: Callable[[int, int], int | None]) -> Callable[[Size, Size], Size]:
    """Make an operation whose result is not known where an operand is a name."""

    def operation(a: Size, b: Size) -> Size:
        return operate(a, b) if isinstance(a, int) and isinstance(b, int) else None

    return operation


def _arithmetic(operate: Callable[[int, int], int | None]) -> ContentsRule:
    """Arithmetic on integers; a size that has a name only makes the result unknown."""
    return _on_sizes(_numbers_only(operate))


def _on_sizes(operate: Callable[[Size, Size], Size]) -> ContentsRule:
    """Arithmetic on sizes, of two operands or, of operators that allow it, any number."""

    def of_two(a: Contents | None, b: Contents | None) -> Contents | None:
        if a is None or b is None:
            return None
        both = np.broadcast(a, b)
        return table([operate(x, y) for x, y in both], both.shape)

    def contents(node: ir.Node, read: Read) -> Contents | None:
        if any(value and value.dtype and value.dtype.is_floating_point() for value in node.inputs):
            return None
        return reduce(of_two, map(read, node.inputs))

    return contents


def _of_numbers(function: Callable[[int], int], x: Contents) -> Contents:
    """Apply a function to numbers; of a size that has a name only, nothing is known."""
    items = [function(item) if isinstance(item, int) else None for item in x.reshape(-1)]
    return table(items, x.shape)


def _not(node: ir.Node, read: Read) -> Contents | None:
    x = read(node.inputs[0])
    return None if x is None else _of_numbers(lambda number: not number, x)


def _modulo(node: ir.Node, read: Read) -> Contents | None:
    if attribute(node, "fmod", 0):
        return None
    return _arithmetic(lambda a, b: None if b == 0 else a % b)(node, read)


def _divide(a: int, b: int) -> int | None:
    return None if b == 0 else (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


def _is_same(a: Size, b: Size) -> bool | None:
    """Compare two sizes, of which none that has a name is negative."""
    if a is None or b is None:
        return None
    negative = any(isinstance(size, int) and size < 0 for size in (a, b))
    return a == b if a == b or negative or type(a) is type(b) is int else None


def _equal(node: ir.Node, read: Read) -> Contents | None:
    a, b = (read(value) for value in node.inputs)
    if a is None or b is None:
        return None
    both = np.broadcast(a, b)
    return table([_is_same(x, y) for x, y in both], both.shape)


def _where(node: ir.Node, read: Read) -> Contents | None:
    condition, a, b = (read(value) for value in node.inputs)
    if condition is None or a is None or b is None:
        return None
    all_three = np.broadcast(condition, a, b)
    items = [None if c is None else (x if c else y) for c, x, y in all_three]
    return table(items, all_three.shape)


# --- the table --------------------------------------------------------------------------------


_UNARY = Operator(elementwise=True)
_ACTIVATION = Operator(elementwise=True, activation=True)
_BROADCASTING = Operator(elementwise=True, broadcasts=True)

OPERATORS = {
    "Abs": _ACTIVATION,
    "Add": replace(
        _BROADCASTING,
        commutative=True,
        holds_sizes="all",
        contents=_on_sizes(add_sizes),
        interval=intervals.arithmetic("Add"),
        unchanged=_neutral(0.0, either=True),
    ),
    "And": replace(_BROADCASTING, commutative=True, contents=_arithmetic(operator.and_)),
    "Cast": replace(
        _UNARY,
        holds_sizes="first",
        contents=_cast,
        interval=intervals.of_first,
        unchanged=_same_type,
    ),
    "Ceil": _UNARY,
    "Celu": _ACTIVATION,
    "Clip": replace(_ACTIVATION, unchanged=_unlimited),
    "Cos": _UNARY,
    "Div": replace(_BROADCASTING, contents=_arithmetic(_divide), unchanged=_neutral(1.0)),
    "Elu": _ACTIVATION,
    "Equal": replace(_BROADCASTING, commutative=True, contents=_equal),
    "Erf": _ACTIVATION,
    "Exp": _ACTIVATION,
    "Floor": _UNARY,
    "Gelu": _ACTIVATION,
    "Greater": replace(_BROADCASTING, contents=_arithmetic(operator.gt)),
    "GreaterOrEqual": replace(_BROADCASTING, contents=_arithmetic(operator.ge)),
    "HardSigmoid": _ACTIVATION,
    "HardSwish": _ACTIVATION,
    "Identity": replace(
        _UNARY,
        holds_sizes="first",
        contents=lambda node, read: read(node.inputs[0]),
        interval=intervals.of_first,
        unchanged=lambda node: node.inputs[0],
    ),
    "IsInf": _UNARY,
    "IsNaN": _UNARY,
    "LeakyRelu": _ACTIVATION,
    "Less": replace(_BROADCASTING, contents=_arithmetic(operator.lt)),
    "LessOrEqual": replace(_BROADCASTING, contents=_arithmetic(operator.le)),
    "Log": _UNARY,
    "Max": replace(
        _BROADCASTING,
        contents=_on_sizes(greater_size),
        interval=intervals.maximum,
        unchanged=only_operand,
        carried=all_inputs,
    ),
    "Mean": replace(_BROADCASTING, unchanged=only_operand),
    "Min": replace(
        _BROADCASTING,
        contents=_on_sizes(smaller_size),
        unchanged=only_operand,
        carried=all_inputs,
    ),
    "Mish": _ACTIVATION,
    "Mod": replace(_BROADCASTING, contents=_modulo),
    "Mul": replace(
        _BROADCASTING,
        commutative=True,
        holds_sizes="all",
        contents=_on_sizes(multiply_sizes),
        interval=intervals.arithmetic("Mul"),
        unchanged=_neutral(1.0, either=True),
    ),
    "Neg": _ACTIVATION,
    "Not": replace(_UNARY, contents=_not),
    "Or": replace(_BROADCASTING, commutative=True, contents=_arithmetic(operator.or_)),
    "PRelu": _BROADCASTING,
    "Pow": _BROADCASTING,
    "Reciprocal": _UNARY,
    "Relu": _ACTIVATION,
    "Round": _UNARY,
    "Selu": _ACTIVATION,
    "Sigmoid": _ACTIVATION,
    "Sign": _UNARY,
    "Sin": _UNARY,
    "Softplus": _ACTIVATION,
    "Softsign": _ACTIVATION,
    "Sqrt": _UNARY,
    "Sub": replace(
        _BROADCASTING,
        contents=_on_sizes(subtract_sizes),
        interval=intervals.arithmetic("Sub"),
        unchanged=_neutral(0.0),
    ),
    "Sum": replace(_BROADCASTING, unchanged=only_operand),
    "Swish": _ACTIVATION,
    "Tan": _UNARY,
    "Tanh": _ACTIVATION,
    "ThresholdedRelu": _ACTIVATION,
    "Where": replace(
        _BROADCASTING,
        contents=_where,
        interval=lambda operands: intervals.union(operands[1:]),
        carried=lambda _: (1, 2),
    ),
    "Xor": replace(_BROADCASTING, commutative=True, contents=_arithmetic(operator.xor)),
}
