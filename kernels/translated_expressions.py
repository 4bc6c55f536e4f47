"""Expressions of a function, translated from its syntax tree to LLVM's assembly.

Operators and intrinsics are typed and emitted by numba's own definitions. What follows from
constants is computed at once, and branches that are not taken are left out.
"""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.dispatcher import Dispatcher

from .translated_constants import BINARY, COMPARED, UNARY, Constants
from .translated_values import Slot, Static, Value, is_tuple, machine
from .untranslated import Untranslated


class Needed(Exception):
    """A variable needs a place in the frame, or one of another type: all starts anew."""

    def __init__(self, name: str, loop: int = 0, kind: Any = None) -> None:
        super().__init__(name)
        self.name, self.loop, self.kind = name, loop, kind


class Expressions(Constants):
    """Translation of expressions at the end of a builder's block."""

    builder: ir.IRBuilder
    _entry: ir.IRBuilder
    call_function: Callable[..., Value]

    def __init__(self, function: FunctionType) -> None:
        super().__init__(function)
        self.slots: dict[tuple[str, Any], Slot] = {}
        self.slotted: set[str] = set()
        self.machine = machine()

    @property
    def frame(self) -> ir.IRBuilder:
        """Builder at the end of the block that has the frame's variables, which others add to."""
        self._entry.position_at_end(self._entry.block)
        return self._entry

    # --- values -------------------------------------------------------------------------------

    def eval(self, node: ast.expr) -> Static | Value:
        """Translate an expression."""
        return getattr(self, f"_{type(node).__name__.lower()}", self._refused)(node)

    def value(self, node: ast.expr) -> Value:
        """Translate an expression whose value is wanted in code."""
        return self.as_value(self.eval(node))

    def as_value(self, item: Static | Value) -> Value:
        """Return what is known as a value."""
        return (
            self.machine.constant(self.builder, item.object) if isinstance(item, Static) else item
        )

    def _refused(self, node: ast.AST) -> Any:
        raise Untranslated(f"{type(node).__name__} at line {getattr(node, 'lineno', 0)}")

    def _constant(self, node: ast.Constant) -> Static:
        return Static(node.value)

    def _name(self, node: ast.Name) -> Static | Value:
        if node.id not in self._locals:
            known = self.known(node.id)
            assert known is not None
            return known
        bound = self.env.get(node.id)
        if bound is None:
            bound = self._perhaps_assigned(node.id)
        if isinstance(bound, Slot):
            return Value(bound.kind, self.builder.load(bound.llvm))
        return bound

    def _perhaps_assigned(self, name: str) -> Slot:
        """Place of a variable that is assigned on some ways to here only; else it is zero."""
        if name not in self.slotted:
            raise Needed(name)
        places = [slot for (own, _), slot in self.slots.items() if own == name]
        if len(places) != 1:
            raise Untranslated(f"the variable {name}, which may have no value")
        zero = ir.Constant(places[0].llvm.type.pointee, None)
        self.frame.store(zero, places[0].llvm)
        return places[0]

    def slot(self, name: str, kind: Any) -> Slot:
        """Place of a variable in the frame, for values of a type."""
        key = name, kind
        if key not in self.slots:
            place = self.frame.alloca(self.machine.llvm_type(kind), name=name)
            self.slots[key] = Slot(kind, place)
        return self.slots[key]

    def _attribute(self, node: ast.Attribute) -> Static | Value:
        owner = self.eval(node.value)
        if isinstance(owner, Static):
            return Static(getattr(owner.object, node.attr))
        fields = getattr(owner.kind, "fields", ())
        if node.attr not in fields:
            raise Untranslated(f"the attribute {node.attr} of {owner.kind}")
        return self.element(owner, fields.index(node.attr))

    def element(self, owner: Value, index: int) -> Value:
        """Take an element out of a tuple."""
        kinds = owner.kind.types
        return Value(kinds[index], self.builder.extract_value(owner.llvm, index % len(kinds)))

    def _subscript(self, node: ast.Subscript) -> Static | Value:
        known = self.static(node)
        if known is not None:
            return known
        owner, index = self.value(node.value), self.eval(node.slice)
        if not is_tuple(owner.kind):
            raise Untranslated(f"an element of {owner.kind}")
        if isinstance(index, Static):
            return self.element(owner, index.object)
        if not hasattr(owner.kind, "dtype"):
            raise Untranslated("an element of a tuple of several types")
        return self._chosen_element(owner, index)

    def _chosen_element(self, owner: Value, index: Value) -> Value:
        builder, count = self.builder, len(owner.kind.types)
        place = cgutils.alloca_once_value(builder, owner.llvm)
        number = self.machine.cast(builder, index, types.int64).llvm
        wrapped = builder.add(number, ir.Constant(number.type, count))
        is_below = builder.icmp_signed("<", number, ir.Constant(number.type, 0))
        number = builder.select(is_below, wrapped, number)
        zero = ir.IntType(32)(0)
        return Value(owner.kind.dtype, builder.load(builder.gep(place, [zero, number])))

    def _tuple(self, node: ast.Tuple) -> Static | Value:
        items = [self.eval(each) for each in node.elts]
        if all(isinstance(item, Static) for item in items):
            return Static(tuple(item.object for item in items))  # type: ignore[union-attr]
        return self.machine.made_tuple(self.builder, [self.as_value(item) for item in items])

    def _binop(self, node: ast.BinOp) -> Static | Value:
        return self.operate(BINARY[type(node.op)], self.eval(node.left), self.eval(node.right))

    def operate(self, op: Callable[..., Any], *operands: Static | Value) -> Static | Value:
        """Translate an operator; of constants it is computed at once."""
        if all(isinstance(each, Static) for each in operands):
            known = self.computed(op, *operands)  # type: ignore[arg-type]
            if known is not None:
                return known
        if op is operator.pow:
            raise Untranslated("a power")
        values = [self.as_value(each) for each in operands]
        return self.machine.call(self.builder, op, values)

    def _unaryop(self, node: ast.UnaryOp) -> Static | Value:
        if isinstance(node.op, ast.Not):
            operand = self.eval(node.operand)
            if isinstance(operand, Static):
                return Static(not operand.object)
            return Value(types.boolean, self.builder.not_(self.truth(operand)))
        return self.operate(UNARY[type(node.op)], self.eval(node.operand))

    def truth(self, value: Value) -> Any:
        """Return whether a value is true, as a bit."""
        return self.machine.cast(self.builder, value, types.boolean).llvm

    def _compare(self, node: ast.Compare) -> Static | Value:
        known = self.static(node)
        if known is not None:
            return known
        if len(node.ops) > 1:
            return self._by_branches(node)
        left, right, op = node.left, node.comparators[0], type(node.ops[0])
        if op is ast.In and (choices := self.static(right)):
            value, found = self.eval(left), None
            for each in choices.object:
                same = self.as_value(self.operate(operator.eq, value, Static(each)))
                found = same.llvm if found is None else self.builder.or_(found, same.llvm)
            return Value(types.boolean, found)
        if op not in COMPARED:
            self._refused(node)
        return self.operate(COMPARED[op], self.eval(left), self.eval(right))

    def _boolop(self, node: ast.BoolOp) -> Static | Value:
        return self.static(node) or self._by_branches(node)

    def _by_branches(self, node: ast.expr) -> Value:
        """Translate a condition whose operands are not all needed."""
        builder = self.builder
        yes, no, join = (builder.append_basic_block(name) for name in ("true", "false", "truth"))
        self.condition(node, yes, no)
        for block in (yes, no):
            builder.position_at_end(block)
            builder.branch(join)
        builder.position_at_end(join)
        phi = builder.phi(ir.IntType(1))
        phi.add_incoming(ir.IntType(1)(1), yes)
        phi.add_incoming(ir.IntType(1)(0), no)
        return Value(types.boolean, phi)

    def condition(self, node: ast.expr, yes: Any, no: Any) -> None:
        """Emit branches to one of two blocks by the truth of an expression."""
        builder, known = self.builder, self.static(node)
        if known is not None:
            builder.branch(yes if known.object else no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
        elif isinstance(node, ast.BoolOp):
            for operand in node.values[:-1]:
                following = builder.append_basic_block("operand")
                is_and = isinstance(node.op, ast.And)
                self.condition(operand, *((following, no) if is_and else (yes, following)))
                builder.position_at_end(following)
            self.condition(node.values[-1], yes, no)
        elif isinstance(node, ast.Compare) and len(node.ops) > 1:
            self._compare_in_turn(node, yes, no)
        else:
            builder.cbranch(self.truth(self.value(node)), yes, no)

    def _compare_in_turn(self, node: ast.Compare, yes: Any, no: Any) -> None:
        builder, left = self.builder, self.eval(node.left)
        for i, (op, operand) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = self.eval(operand)
            result = self.as_value(self.operate(COMPARED[type(op)], left, right))
            last = i == len(node.ops) - 1
            following = yes if last else builder.append_basic_block("compared")
            builder.cbranch(self.truth(result), following, no)
            if not last:
                builder.position_at_end(following)
            left = right

    def _ifexp(self, node: ast.IfExp) -> Static | Value:
        known = self.static(node.test)
        if known is not None:
            return self.eval(node.body if known.object else node.orelse)
        builder = self.builder
        yes, no, join = (builder.append_basic_block(name) for name in ("if", "else", "chosen"))
        self.condition(node.test, yes, no)
        ends = []
        for block, branch in ((yes, node.body), (no, node.orelse)):
            builder.position_at_end(block)
            ends.append((self.value(branch), builder.block))
        kind = self.machine.unified([value.kind for value, _ in ends])
        incoming = []
        for value, block in ends:
            builder.position_at_end(block)
            incoming.append((self.machine.cast(builder, value, kind).llvm, builder.block))
            builder.branch(join)
        builder.position_at_end(join)
        phi = builder.phi(self.machine.llvm_type(kind))
        for each in incoming:
            phi.add_incoming(*each)
        return Value(kind, phi)

    # --- calls --------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Static | Value:
        callee = self.eval(node.func)
        if not isinstance(callee, Static):
            raise Untranslated("a call of a value")
        function = callee.object
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            raise Untranslated("a call with *")
        arguments = [self.eval(argument) for argument in node.args]
        named = {str(each.arg): self.eval(each.value) for each in node.keywords}
        if isinstance(function, Dispatcher):
            return self.call_function(function, _bound(function.py_func, arguments, named))
        if isinstance(function, type) and hasattr(function, "_fields"):
            values = [self.as_value(each) for each in _bound(function, arguments, named)]
            return self.machine.made_tuple(self.builder, values, function)
        if named:
            raise Untranslated(f"names of arguments of {function}")
        if function is len:
            return Static(len(self._length_of(arguments[0])))
        if function in (min, max):
            return self._extreme(function, arguments)
        values = [self.as_value(each) for each in arguments]
        return self.machine.call(self.builder, function, values)

    def _extreme(self, function: Any, arguments: Sequence[Static | Value]) -> Static | Value:
        """Translate ``min`` or ``max`` as numba does: the first stays unless one is beyond it."""
        if all(isinstance(each, Static) for each in arguments):
            known = self.computed(function, *arguments)  # type: ignore[arg-type]
            if known is not None:
                return known
        values = [self.as_value(each) for each in arguments]
        if len(values) == 1 and is_tuple(values[0].kind):
            values = [self.element(values[0], i) for i in range(len(values[0].kind.types))]
        result, beyond = values[0], operator.lt if function is min else operator.gt
        for value in values:
            if not isinstance(types.unliteral(value.kind), types.Number):
                raise Untranslated(f"an extreme of {value.kind}")
        for value in values[1:]:
            kind = self.machine.unified([result.kind, value.kind])
            both = [self.machine.cast(self.builder, each, kind) for each in (value, result)]
            test = self.machine.call(self.builder, beyond, both)
            result = Value(kind, self.builder.select(test.llvm, *[each.llvm for each in both]))
        return result

    def _length_of(self, item: Static | Value) -> Any:
        if isinstance(item, Static):
            return item.object
        if not is_tuple(item.kind):
            raise Untranslated(f"the length of {item.kind}")
        return item.kind.types


def _bound(
    function: Any, arguments: Sequence[Static | Value], named: dict[str, Any]
) -> list[Static | Value]:
    """Return arguments in the order of a function's parameters, with its defaults."""
    if not named and isinstance(function, FunctionType) and not function.__defaults__:
        return list(arguments)
    given = inspect.signature(function).bind(*arguments, **named)
    given.apply_defaults()
    return [each if isinstance(each, (Static, Value)) else Static(each) for each in given.args]
