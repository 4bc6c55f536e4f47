"""Constants of a function that is translated: expressions whose value is known at once."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any

from .translated_values import Static
from .untranslated import Untranslated

BINARY: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Pow: operator.pow,
}  # fmt: skip
UNARY: dict[type, Callable[..., Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
    ast.Not: operator.not_,
}  # fmt: skip
COMPARED: dict[type, Callable[..., Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_PLAIN = (int, float, bool, str, type(None))
_LARGEST = 1 << 62


class Constants:
    """What the names of a function stand for, and expressions of these.

    ``env`` has what is known of variables at the place that is translated.
    """

    def __init__(self, function: FunctionType) -> None:
        code = function.__code__
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        self._known = {**dict(zip(code.co_freevars, cells, strict=True))}
        self._globals = function.__globals__
        self._locals = {*code.co_varnames, *code.co_cellvars}
        self.env: dict[str, Any] = {}

    def known(self, name: str) -> Static | None:
        """Return what a name that is not assigned here stands for."""
        if name in self._locals:
            bound = self.env.get(name)
            return bound if isinstance(bound, Static) else None
        for scope in (self._known, self._globals, vars(builtins)):
            if name in scope:
                return Static(scope[name])
        raise Untranslated(f"the name {name}")

    def static(self, node: ast.expr) -> Static | None:
        """Return the value of an expression of constants, None where it has others."""
        match node:
            case ast.Constant():
                return Static(node.value)
            case ast.Name():
                return self.known(node.id)
            case ast.Attribute() | ast.Subscript():
                owner = self.static(node.value)
                if isinstance(node, ast.Attribute):
                    return owner and Static(getattr(owner.object, node.attr))
                place = owner and self.static(node.slice)
                return place and owner and Static(owner.object[place.object])
            case ast.UnaryOp():
                return self.computed(UNARY[type(node.op)], self.static(node.operand))
            case ast.BinOp():
                both = self.static(node.left), self.static(node.right)
                return self.computed(BINARY[type(node.op)], *both)
            case ast.BoolOp():
                return self._static_choice(node)
            case ast.Compare():
                return self._static_comparison(node)
            case ast.IfExp():
                test = self.static(node.test)
                return test and self.static(node.body if test.object else node.orelse)
            case ast.Call(func=ast.Name(id="len"), args=[argument]):
                owner = self.static(argument)
                return Static(len(owner.object)) if owner else None
            case ast.Tuple():
                items = [self.static(each) for each in node.elts]
                if all(isinstance(item, Static) for item in items):
                    return Static(tuple(item.object for item in items if item))
        return None

    def _static_choice(self, node: ast.BoolOp) -> Static | None:
        decides = isinstance(node.op, ast.Or)
        values = [self.static(each) for each in node.values]
        for value in values:
            if value is not None and bool(value.object) == decides:
                return value if values.index(value) == 0 or None not in values else None
        return values[-1] if None not in values else None

    def _static_comparison(self, node: ast.Compare) -> Static | None:
        items = [self.static(each) for each in (node.left, *node.comparators)]
        result = True
        for op, left, right in zip(node.ops, items, items[1:], strict=False):
            if left is None or right is None:
                return None
            if isinstance(op, (ast.In, ast.NotIn)):
                result = result and (left.object in right.object) == isinstance(op, ast.In)
            elif type(op) in COMPARED:
                result = result and COMPARED[type(op)](left.object, right.object)
            else:
                return None
        return Static(result)

    def computed(self, op: Callable[..., Any], *operands: Static | None) -> Static | None:
        """Apply an operator to what is known; None if that is not all, or has no plain result."""
        objects = [each.object for each in operands if each is not None]
        if len(objects) < len(operands) or not all(type(each) in _PLAIN for each in objects):
            return None
        try:
            result = op(*objects)
        except (ArithmeticError, TypeError, ValueError):
            return None
        is_number = type(result) is not int or -_LARGEST < result < _LARGEST
        return Static(result) if is_number and type(result) in _PLAIN else None
