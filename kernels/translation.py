"""Functions of kernels, translated from their syntax trees to LLVM's assembly.

numba reads a function's bytecode, finds its variables' values, types and lowers them in fourteen
passes, and writes, reads and links a module for each function. Kernels use little of Python:
integers, floats, vectors and tuples, in loops over ranges. Here one walk over the syntax tree finds
types and emits code, with numba's definitions of operators and intrinsics. What it does not know
(`untranslated.Untranslated`) numba compiles.

A variable that is assigned once is a value of LLVM's; others have a place in the frame for each
type they have. Where ways meet, or a loop begins anew, values of several types become one, as numba
unifies them; a function is translated anew when a loop's end shows that a variable needs another
type.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from .function_sources import tree_of
from .translated_constants import BINARY
from .translated_expressions import Expressions, Needed
from .translated_values import Slot, Static, Value, is_tuple
from .untranslated import Untranslated

Edge = tuple[Any, dict[str, Any]]
"""End of a block, and the variables there."""
_ATTEMPTS = 20


class Function(NamedTuple):
    """A function that has been translated."""

    llvm: ir.Function
    kind: Any


class _Loop(NamedTuple):
    continues: list[Edge]
    breaks: list[Edge]


class Translation(Expressions):
    """Translation of one function for arguments of some types."""

    def __init__(
        self, function: FunctionType, kinds: Sequence[Any], llvm: ir.Function, call: Any,
        slotted: set[str], loops: dict[tuple[int, str], Any],
    ) -> None:  # fmt: skip
        super().__init__(function)
        self.call_function = call
        self.slotted, self._loop_kinds = slotted, loops
        self._llvm = llvm
        self._tree = tree_of(function)
        entry, start = llvm.append_basic_block("entry"), llvm.append_basic_block("start")
        self._entry, self.builder = ir.IRBuilder(entry), ir.IRBuilder(start)
        self._start = start
        self._loops: list[_Loop] = []
        self._returns: list[tuple[Any, Static | Value]] = []
        names = [argument.arg for argument in self._tree.args.args]
        assigned = Counter(_assigned([self._tree]))
        self.slotted |= {name for name, n in assigned.items() if n + (name in names) > 1}
        for name, argument, kind in zip(names, llvm.args, kinds, strict=True):
            self._assign(name, Value(kind, argument))

    def translate(self) -> Any:
        """Emit the function; returns the type of its result."""
        if isinstance(self._tree, ast.Lambda):
            item = self.eval(self._tree.body)
            self._returns.append((self.builder.block, item))
        elif self._run(self._tree.body):
            self._returns.append((self.builder.block, Static(None)))
        self.frame.branch(self._start)
        return self._return()

    def _return(self) -> Any:
        values = []
        for block, item in self._returns:
            self.builder.position_at_end(block)
            values.append(self.as_value(item))
        kind = self.machine.unified([value.kind for value in values])
        result = ir.VoidType() if kind is types.none else self.machine.llvm_type(kind)
        _give_type(self._llvm, result)
        for (block, _), value in zip(self._returns, values, strict=True):
            self.builder.position_at_end(block)
            if kind is types.none:
                self.builder.ret_void()
            else:
                self.builder.ret(self.machine.cast(self.builder, value, kind).llvm)
        return kind

    # --- statements ---------------------------------------------------------------------------

    def _run(self, statements: Iterable[ast.stmt]) -> bool:
        """Translate statements; tells whether what follows them is reached."""
        for statement in statements:
            method = getattr(self, f"_do_{type(statement).__name__.lower()}", self._refused)
            if method(statement) is False:
                return False
        return True

    def _do_pass(self, node: ast.Pass) -> None:
        pass

    def _do_expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.eval(node.value)

    def _do_assign(self, node: ast.Assign) -> None:
        value = self.eval_items(node.value, node.targets[0])
        for target in node.targets:
            self._store(target, value)

    def eval_items(self, node: ast.expr, target: ast.expr) -> Any:
        """Translate what is assigned: elements by themselves, where they are assigned so."""
        if isinstance(node, ast.Tuple) and isinstance(target, ast.Tuple):
            if len(node.elts) != len(target.elts):
                raise Untranslated("an assignment of another number of elements")
            pairs = zip(node.elts, target.elts, strict=True)
            return [self.eval_items(each, own) for each, own in pairs]
        return self.eval(node)

    def _do_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._store(node.target, self.eval(node.value))

    def _do_augassign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.target, ast.Name):
            raise Untranslated("an assignment to an element")
        target = ast.Name(node.target.id, ast.Load())
        value = self.operate(BINARY[type(node.op)], self.eval(target), self.eval(node.value))
        self._assign(node.target.id, value)

    def _store(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            if isinstance(value, list):
                value = self.machine.made_tuple(self.builder, [self.as_value(v) for v in value])
            self._assign(target.id, value)
            return
        if not isinstance(target, ast.Tuple):
            raise Untranslated("an assignment to an element")
        for each, item in zip(target.elts, self._items(value, len(target.elts)), strict=True):
            self._store(each, item)

    def _items(self, value: Any, count: int) -> Sequence[Any]:
        if isinstance(value, list):
            return value
        if isinstance(value, Static) and isinstance(value.object, tuple):
            return [Static(each) for each in value.object]
        if not isinstance(value, Value) or not is_tuple(value.kind):
            raise Untranslated("an assignment of elements")
        if len(value.kind.types) != count:
            raise Untranslated("an assignment of another number of elements")
        return [self.element(value, i) for i in range(count)]

    def _assign(self, name: str, item: Static | Value) -> None:
        if name not in self.slotted:
            self.env[name] = item
            return
        value = self.as_value(item)
        slot = self.slot(name, types.unliteral(value.kind))
        self.builder.store(self.machine.cast(self.builder, value, slot.kind).llvm, slot.llvm)
        self.env[name] = slot

    def _do_return(self, node: ast.Return) -> bool:
        item = Static(None) if node.value is None else self.eval(node.value)
        self._returns.append((self.builder.block, item))
        return False

    def _do_if(self, node: ast.If) -> bool:
        known = self.static(node.test)
        if known is not None:
            return self._run(node.body if known.object else node.orelse)
        builder = self.builder
        yes, no = (builder.append_basic_block(name) for name in ("then", "otherwise"))
        self.condition(node.test, yes, no)
        before, edges = self.env, []
        for block, branch in ((yes, node.body), (no, node.orelse)):
            builder.position_at_end(block)
            self.env = dict(before)
            if self._run(branch):
                edges.append((builder.block, self.env))
        return self._join(edges)

    def _join(self, edges: Sequence[Edge]) -> bool:
        """Go on where several ways meet, with what all know of variables."""
        if not edges:
            return False
        builder = self.builder
        after = builder.append_basic_block("joined")
        names = set(edges[0][1]).intersection(*(env for _, env in edges))
        merged = {name: self._merged(name, edges) for name in edges[0][1] if name in names}
        for block, _ in edges:
            builder.position_at_end(block)
            builder.branch(after)
        builder.position_at_end(after)
        self.env = merged
        return True

    def _merged(self, name: str, edges: Sequence[Edge]) -> Any:
        own = [env[name] for _, env in edges]
        if all(each is own[0] for each in own):
            return own[0]
        if not all(isinstance(each, Slot) for each in own):
            raise Needed(name)
        slot = self.slot(name, self.machine.unified([each.kind for each in own]))
        for block, env in edges:
            self.builder.position_at_end(block)
            self._move(env[name], slot)
        return slot

    def _move(self, source: Slot, target: Slot) -> None:
        """Store a variable's value in its place for another type."""
        if source is not target:
            value = Value(source.kind, self.builder.load(source.llvm))
            value = self.machine.cast(self.builder, value, target.kind)
            self.builder.store(value.llvm, target.llvm)

    # --- loops --------------------------------------------------------------------------------

    def _do_while(self, node: ast.While) -> bool:
        if node.orelse:
            self._refused(node)
        builder = self.builder
        carried = self._carried(node)
        head, body = (builder.append_basic_block(name) for name in ("while", "repeated"))
        builder.branch(head)
        builder.position_at_end(head)
        known, loop = self.static(node.test), _Loop([], [])
        if known is not None and not known.object:
            raise Untranslated("a loop that never runs")
        before = dict(self.env)
        edges: list[Edge] = []
        if known is None:
            done = builder.append_basic_block("done")
            self.condition(node.test, body, done)
            edges.append((done, before))
        else:
            builder.branch(body)
        self._repeat(node, body, loop, head, carried, dict(before))
        return self._join(edges + loop.breaks)

    def _repeat(
        self, node: ast.While | ast.For, body: Any, loop: _Loop, again: Any,
        carried: dict[str, Slot], env: dict[str, Any],
    ) -> None:  # fmt: skip
        """Translate a loop's body, which goes on at the block ``again``."""
        builder = self.builder
        builder.position_at_end(body)
        self.env = env
        self._loops.append(loop)
        if self._run(node.body):
            loop.continues.append((builder.block, self.env))
        self._loops.pop()
        for block, own in loop.continues:
            builder.position_at_end(block)
            for name, slot in carried.items():
                end = own.get(name, slot)
                kind = self.machine.unified([slot.kind, end.kind])
                if kind != slot.kind:
                    raise Needed(name, node.lineno, kind)
                self._move(end, slot)
            builder.branch(again)

    def _carried(self, node: ast.While | ast.For) -> dict[str, Slot]:
        """Give variables that a loop assigns the types that they have at its ends, too."""
        carried = {}
        for name in dict.fromkeys(_assigned([node])):
            own = self.env.get(name)
            if own is None:
                continue
            if not isinstance(own, Slot):
                raise Needed(name)
            slot = self.slot(name, self._loop_kinds.get((node.lineno, name), own.kind))
            self._move(own, slot)
            self.env[name] = carried[name] = slot
        return carried

    def _do_for(self, node: ast.For) -> bool:
        match node.iter:
            case ast.Call(func=ast.Name(id="range"), args=arguments) if not node.orelse:
                start, stop, step = self._limits(arguments)
            case _:
                self._refused(node.iter)
        builder, kind, known = self.builder, start.kind, self._static_step(arguments)
        index = self.frame.alloca(start.llvm.type, name="index")
        builder.store(start.llvm, index)
        carried = self._carried(node)
        names = ("for", "repeated", "next", "done")
        head, body, again, done = (builder.append_basic_block(name) for name in names)
        builder.branch(head)
        builder.position_at_end(head)
        number = builder.load(index)
        builder.cbranch(self._is_within(number, stop.llvm, step.llvm, known), body, done)
        loop, before = _Loop([], []), dict(self.env)
        builder.position_at_end(body)
        self.env = dict(before)
        self._store(node.target, Value(kind, number))
        self._repeat(node, builder.block, loop, again, carried, self.env)
        builder.position_at_end(again)
        builder.store(builder.add(number, step.llvm, flags=["nsw"]), index)
        builder.branch(head)
        return self._join([(done, before), *loop.breaks])

    def _limits(self, arguments: Sequence[ast.expr]) -> list[Value]:
        """Translate start, stop and step of a range, of one type, as numba chooses it."""
        limits = [self.value(each) for each in arguments]
        plain: list[Any] = [types.unliteral(each.kind) for each in limits]
        if not all(kind in types.signed_domain for kind in plain):
            raise Untranslated(f"a range of {plain}")
        kind = types.int32 if all(each == types.int32 for each in plain) else types.int64
        start, *rest = [self.machine.cast(self.builder, each, kind) for each in limits]
        word = start.llvm.type
        if not rest:
            return [Value(kind, word(0)), start, Value(kind, word(1))]
        return [start, rest[0], rest[1] if len(rest) > 1 else Value(kind, word(1))]

    def _static_step(self, arguments: Sequence[ast.expr]) -> int:
        """Return the step of a range, 0 if it is computed."""
        step = self.static(arguments[2]) if len(arguments) > 2 else Static(1)
        return int(step.object) if step else 0

    def _is_within(self, number: Any, stop: Any, step: Any, known: int) -> Any:
        builder = self.builder
        below, above = (builder.icmp_signed(sign, number, stop) for sign in "<>")
        if known:
            return below if known > 0 else above
        zero = step.type(0)
        rises, falls = (builder.icmp_signed(sign, step, zero) for sign in "><")
        return builder.or_(builder.and_(rises, below), builder.and_(falls, above))

    def _do_continue(self, node: ast.Continue) -> bool:
        self._loops[-1].continues.append((self.builder.block, self.env))
        return False

    def _do_break(self, node: ast.Break) -> bool:
        self._loops[-1].breaks.append((self.builder.block, self.env))
        return False


def _assigned(nodes: Iterable[ast.AST]) -> Iterable[str]:
    """Yield names that are assigned below some nodes, each time; those changed in place twice."""
    for node in itertools.chain.from_iterable(ast.walk(each) for each in nodes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _give_type(function: ir.Function, result: Any) -> None:
    """Give a function, which is written already, the type of its result."""
    function.ftype = ir.FunctionType(result, [argument.type for argument in function.args])
    function.type = function.ftype.as_pointer()
    function.return_value = ir.values.ReturnValue(function, result)


def translated(
    module: ir.Module, name: str, function: FunctionType, kinds: Sequence[Any], call: Any
) -> Function:
    """Translate a function for arguments of some types into a module.

    ``call(builder, function, arguments)`` emits calls of other functions.
    """
    slotted: set[str] = set()
    loops: dict[tuple[int, str], Any] = {}
    for attempt in range(_ATTEMPTS):
        machine_types = [Expressions(function).machine.llvm_type(kind) for kind in kinds]
        own = f"{name}.{attempt}" if attempt else name
        llvm = ir.Function(module, ir.FunctionType(ir.VoidType(), machine_types), own)
        try:
            work = Translation(function, kinds, llvm, None, slotted, loops)
            work.call_function = lambda each, given, work=work: call(work, each, given)
            return Function(llvm, work.translate())
        except Needed as needed:
            del module.globals[own]
            if needed.loop:
                loops[needed.loop, needed.name] = needed.kind
            else:
                slotted.add(needed.name)
        except Untranslated as error:
            del module.globals[own]
            raise Untranslated(f"{error} in {function.__qualname__}") from None
    raise Untranslated(f"types of variables of {function.__qualname__}")
