"""Generated kernels: any expression of elementwise operators becomes one pass over memory.

An expression is written in a subset of Python: assignments ``t0=mul(x0,x1)`` separated by
semicolons, the last statement being the result. Operands are ``x0, x1, ...``; literals are
numbers; functions are those of ``SCALAR`` and, where a kernel is explicit SIMD, of ``VECTOR``, and
functions of the caller's (``local_functions``).
``if_less(a,b,c,d)`` is c where a < b and d elsewhere, ``if_greater`` likewise. The text is the
kernel's name: the same fusion in two models is one kernel.

``operands`` says for the output and then for each operand how it is stored and reached along
the innermost dimension, for example ``"f32v f32v f32s"``: element type, then ``v`` (stride 1),
``s`` (stride 0, a scalar for the whole row), ``e`` (one of both, as a run tells) or ``g`` (any
stride). The record is ``d0 d1 d2 d3``
(dims, outermost first, unused ones 1) and for the output and each operand its address and four
strides in elements.

When everything is float32 and no access ``g`` the loop is explicit SIMD; otherwise it is a scalar
loop that LLVM vectorizes where it can. Integers and floats of 16 bits that float32 holds
exactly may be among the operands or the result of an expression of float32, and int32 that become
float32. Floats of 16 bits and fewer are computed with as float32.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from . import halves, narrow, narrow_floats, packed_results, quotients, row_walk, simd, vmath
from .function_sources import define
from .local_functions import function_of, is_local
from .narrow_tables import FLOATS
from .packed_results import Packing
from .quotients import Quotients
from .registry import DIVISION_BY_ZERO, kernel_factory
from .scalar_operators import SCALAR, wrap_type
from .target import LANES
from .vector_memory import VECTOR_MEMORY
from .vector_operators import VECTOR

F = np.float32
SIZES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "b8": 1} | {
    f"{sign}{bits}": bits // 8 for sign in "iu" for bits in (8, 16, 32, 64)
}
SIZES |= dict.fromkeys(narrow.MEMORY, 1)

_FLOATS = ("f32", "f16", "bf16")
"""Types that are computed with as float32."""
_EXACT = (*_FLOATS, "i8", "u8", "i16", "u16", *narrow_floats.NAMES)
"""Types whose values are all float32, too."""
INEXACT = {"expm1", "log1p"}
"""Functions whose error on vectors is small beside 1 only: too large where halves are rounded."""

_c = vmath.c


_CHOICES: dict[str, ast.cmpop] = {"if_less": ast.Lt(), "if_greater": ast.Gt()}


class _Vectors(ast.NodeTransformer):
    """Literals of an expression on vectors become vectors, and int32 float32 where it has to."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.kinds = kinds

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = ast.Constant(float(node.value))  # type: ignore[arg-type]
        return ast.Call(ast.Name("_c", ast.Load()), [value], [])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return ast.Call(ast.Name("_c", ast.Load()), [node], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name, first = node.func.id, _vector_kind(node.args[0], self.kinds)  # type: ignore[attr-defined]
        self.generic_visit(node)
        if name == "to_i32":
            return node.args[0]
        if name == "to_f32" and first == "i32":
            return ast.Call(ast.Name("floats", ast.Load()), node.args, [])
        return node


def _vector_kind(node: ast.AST, kinds: dict[str, str]) -> str | None:
    """Elements of the vectors that an expression gives; None where there is no such form of it.

    ``kinds`` are those of names. int32 may be added and multiplied, and made float32.
    """
    if isinstance(node, ast.Name):
        return kinds.get(node.id)
    if not isinstance(node, ast.Call):
        return "f32"
    name = node.func.id  # type: ignore[attr-defined]
    given = {_vector_kind(each, kinds) for each in node.args}
    if given == {"i32"} and name in ("add", "sub", "mul", "to_i32"):
        return "i32"
    is_known = name in VECTOR and (given == {"f32"} or (given == {"i32"} and name == "to_f32"))
    return "f32" if is_known else None


class _Numbers(ast.NodeTransformer):
    """Prepare an expression on numbers.

    Literals that are float32 do not widen a float32 expression; others keep their digits. Of a
    choice only the branch that is taken is computed. Divisors become statements of their own.
    """

    def __init__(self) -> None:
        self.divisors: list[str] = []
        self.reported = 0

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, float) and float(F(node.value)) == node.value:
            return ast.Call(ast.Name("_F", ast.Load()), [node], [])
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if node.func.id == "divisor":  # type: ignore[attr-defined]
            # Reported, and not a number that would trap.
            name = f"by{len(self.divisors)}"
            self.divisors.append(f"{name} = {ast.unparse(node.args[0])}")
            return ast.Name(name, ast.Load())
        comparison = _CHOICES.get(node.func.id)  # type: ignore[attr-defined]
        if comparison is None:
            return node
        left, right, yes, no = node.args
        return ast.IfExp(ast.Compare(left, [comparison], [right]), yes, no)


def functions(expression: str) -> set[str]:
    """Names of the operators in an expression."""
    tree = ast.parse(expression)
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call)}  # type: ignore[attr-defined]


def is_vector(expression: str, operands: str) -> bool:
    """Tell whether a kernel would be explicit SIMD."""
    kinds = operands.split()
    if kinds[0][-1] != "v" or any(kind[-1] == "g" for kind in kinds):
        return False
    if kinds[0][:-1] not in _EXACT or not any(kind[:-1] in _FLOATS for kind in kinds):
        return False
    is_half = any(kind[:-1] in ("f16", "bf16") for kind in kinds)
    if is_half and not INEXACT.isdisjoint(functions(expression)):
        return False
    return _kinds_of(expression, operands).get("result") == "f32"


def _kinds_of(expression: str, operands: str) -> dict[str, str]:
    """Elements of the vectors that names of an expression stand for, and its ``result``."""
    stored = [kind[:-1] for kind in operands.split()[1:]]
    kinds = {f"x{i}": "f32" for i, kind in enumerate(stored) if kind in _EXACT}
    kinds |= {f"x{i}": "i32" for i, kind in enumerate(stored) if kind == "i32"}
    for statement in ast.parse(expression).body:
        name = ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else "result"
        kind = _vector_kind(statement.value, kinds)  # type: ignore[attr-defined]
        if kind is not None:
            kinds[name] = kind
    return kinds


def _statements(expression: str, operands: str, vector: bool, rewriter: Quotients) -> list[str]:
    transformer = _Vectors(_kinds_of(expression, operands)) if vector else _Numbers()
    names = set(VECTOR if vector else SCALAR)
    lines = []
    body = ast.parse(expression).body
    for statement in body:
        tree = transformer.visit(statement)
        tree = rewriter.visit(tree) if vector else tree
        text = ast.unparse(ast.fix_missing_locations(tree))
        lines += _reported(transformer)
        lines.append(text if statement is not body[-1] else f"result = {text}")
    used = {n.id for line in lines for n in ast.walk(ast.parse(line)) if isinstance(n, ast.Name)}
    return [_rename(line, names & used) for line in lines]


def _reported(transformer: ast.NodeTransformer) -> list[str]:
    """Statements that compute the divisors of the next one, and keep whether one is zero."""
    lines = []
    if isinstance(transformer, _Numbers):
        for line in transformer.divisors[transformer.reported :]:
            lines += [line, f"zeros |= {line.partition(' ')[0]} == 0"]
        transformer.reported = len(transformer.divisors)
    return lines


def _rename(line: str, names: set[str]) -> str:
    """Prefix operator names, which may be Python keywords or builtins."""
    tree = ast.parse(line)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = f"op_{node.id}"
    return ast.unparse(tree)


# Rows that lie end to end in all operands become one.
_PROLOGUE = """
def body(thread, part, until, parts, {parameters}):
    d0, d1, d2, d3 = merged(d0, d1, d2, d3, {even})
    first, last, start, stop = share(part, until, parts, d0 * d1 * d2, d3)
    if first >= last:
        return 0
    i0, i1, i2 = first // d2 // d1, first // d2 % d1, first % d2
    for row in range(first, last):
"""
_NEXT_ROW = "        i0, i1, i2 = next_row(i0, i1, i2, d1, d2)"


def _prologue(names: list[str], kinds: list[str], parameters: list[str]) -> str:
    """The head of the source."""
    steps = {"v": "d3", "s": "0", "e": "d3 * {}s3", "g": "d3 * {}s3"}
    calls = [
        f"even_axes(d1, d2, {n}s0, {n}s1, {n}s2, {steps[k[-1]].format(n)})"
        for n, k in zip(names, kinds, strict=True)
    ]
    even = calls[0] if len(calls) == 1 else f"min({', '.join(calls)})"
    return _PROLOGUE.format(parameters=", ".join(parameters), even=even)


def _source(expression: str, operands: str) -> str:
    kinds = operands.split()
    vector = is_vector(expression, operands)
    names = ["y", *(f"x{i}" for i in range(len(kinds) - 1))]
    parameters = ["d0", "d1", "d2", "d3"]
    for name in names:
        parameters += [f"{name}p", *(f"{name}s{axis}" for axis in range(4))]
    lines = [_prologue(names, kinds, parameters)]
    for name, kind in zip(names, kinds, strict=True):
        size = SIZES[kind[:-1]]
        strides = f"i0 * {name}s0 + i1 * {name}s1 + i2 * {name}s2"
        lines.append(f"        {name}a = {name}p + ({strides}) * {size}")
        if kind[-1] == "s" and name != "y":
            load = f"load_{kind[:-1]}({name}a, 0)"
            lines.append(f"        {name} = {_repeated(name, kind[:-1]) if vector else load}")
    operand_kinds = list(zip(names[1:], kinds[1:], strict=True))
    moving = [(n, k) for n, k in operand_kinds if k[-1] != "s"]
    rewriter = Quotients({n: k[:-1] for n, k in operand_kinds if k[-1] == "s"})
    statements = _statements(expression, operands, vector, rewriter)
    packing = Packing.of(expression, operands) if vector else None
    packed = [] if packing is None else _packed_loop(moving, packing, operands, rewriter)
    lines += [f"        {statement}" for statement in rewriter.statements()]
    emit = _vector_loop if vector else _scalar_loop
    lines += ["        j = start", *packed, *emit(moving, statements, kinds[0]), _NEXT_ROW]
    if any(line.startswith("zeros") for line in statements):
        lines[0] = lines[0].replace("):\n", "):\n    zeros = False\n", 1)
        lines.append(f"    return {DIVISION_BY_ZERO} if zeros else 0")
    else:
        lines.append("    return 0")
    return "\n".join(lines)


def _vector_loop(moving: list[tuple[str, str]], statements: list[str], kind: str) -> list[str]:
    pad = " " * 12
    lines = [f"        while j + {LANES} <= stop:"]
    store = f"vstore_{kind[:-1]}"
    lines += [pad + _vector_load(name, access, "vload", "j") for name, access in moving]
    lines += [pad + statement for statement in statements]
    lines += [f"{pad}{store}(ya, j, result)", f"{pad}j += {LANES}", "        if j < stop:"]
    lines += [
        pad + _vector_load(name, access, "vload_first", "j, stop - j") for name, access in moving
    ]
    lines += [pad + statement for statement in statements]
    lines.append(f"{pad}vstore_first_{kind[:-1]}(ya, j, result, stop - j)")
    return lines


def _packed_loop(
    moving: list[tuple[str, str]], packing: Packing, operands: str, rewriter: Quotients
) -> list[str]:
    """Loop over bytes that are stored together."""
    statements = _statements(packing.expression, operands, True, rewriter)
    loads = [_vector_load(*each, "vload", packed_results.PLACE) for each in moving]
    return [" " * 8 + line for line in packing.loop(loads + statements, rewriter.condition())]


def _vector_load(name: str, access: str, load: str, place: str) -> str:
    """Statement that loads a vector, or repeats the one element of a row."""
    kind = access[:-1]
    vector = f"{load}_{kind}({name}a, {place})"
    if access[-1] == "e":
        vector = f"{vector} if {name}s3 == 1 else {_repeated(name, kind)}"
    return f"{name} = {vector}"


def _repeated(name: str, kind: str) -> str:
    """Text of a vector of the element that a row begins with."""
    load = f"load_{kind}({name}a, 0)"
    return f"splat_i32({load})" if kind == "i32" else f"splat(_F({load}))"


def _scalar_loop(moving: list[tuple[str, str]], statements: list[str], kind: str) -> list[str]:
    pad = " " * 12
    lines = ["        for j in range(start, stop):"]
    for name, access in moving:
        index = "j" if access[-1] == "v" else f"j * {name}s3"
        lines.append(f"{pad}{name} = load_{access[:-1]}({name}a, {index})")
    lines += [pad + statement for statement in statements]
    index = "j" if kind[-1] == "v" else "j * ys3"
    lines.append(f"{pad}store_{kind[:-1]}(ya, {index}, cast_{kind[:-1]}(result))")
    return lines


_TYPES: dict[str, Any] = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float32,
    "bf16": np.float32,
    "b8": np.uint8,
    **dict.fromkeys(FLOATS, np.float32),
    **{name: np.int8 if name[0] == "i" else np.uint8 for name in narrow.INTEGERS},
    **{f"i{bits}": getattr(np, f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(np, f"uint{bits}") for bits in (8, 16, 32, 64)},
}


@njit
def _load_bool(address: int, index: int) -> Any:
    """Load a truth value as 0 or 1: arrays of other bytes are true, too."""
    return np.uint8(1) if simd.load_u8(address, index) != 0 else np.uint8(0)


def _memory(kind: str) -> tuple[Any, Any]:
    """Load and store of elements of a type."""
    if kind == "b8":
        return _load_bool, simd.store_u8
    if kind in narrow.MEMORY:
        return narrow.MEMORY[kind]
    module: Any = halves if kind in ("f16", "bf16") else simd
    return getattr(module, f"load_{kind}"), getattr(module, f"store_{kind}")


@functools.cache
def _common_names(vector: bool) -> dict[str, Any]:
    """Names that the source of any kernel may have.

    They are made once: a function that is made anew is compiled anew, for each kernel.
    """
    scope: dict[str, Any] = {"_c": _c, "_F": F, "splat": simd.splat}
    scope |= {
        "even_axes": row_walk.even_axes,
        "merged": row_walk.merged,
        "next_row": row_walk.next_row,
        "share": row_walk.share,
    }
    scope |= {"splat_i32": simd.splat_i32, "floats": simd.to_f32}
    scope |= quotients.SCOPE | packed_results.SCOPE
    for kind, access in VECTOR_MEMORY.items():
        names = ("vload", "vstore", "vload_first", "vstore_first")
        scope |= {f"{name}_{kind}": each for name, each in zip(names, access, strict=True)}
    for kind, dtype in _TYPES.items():
        scope[f"load_{kind}"], scope[f"store_{kind}"] = _memory(kind)
        scope[f"cast_{kind}"] = njit(wrap_type(dtype)) if kind != "b8" else SCALAR["to_bool_u8"]
    table = VECTOR if vector else SCALAR
    return scope | {f"op_{name}": function for name, function in table.items()}


def _scope(expression: str, vector: bool) -> dict[str, Any]:
    own = {name: function_of(name) for name in functions(expression) if is_local(name)}
    return _common_names(vector) | own


@kernel_factory
def pointwise(expression: str, operands: str) -> Callable[..., int]:
    """Generate the kernel of an expression; see the module's text."""
    scope = _scope(expression, is_vector(expression, operands))
    define(_source(expression, operands), scope)
    body = scope["body"]
    body.__module__, body.__qualname__ = __name__, "pointwise"
    return body
