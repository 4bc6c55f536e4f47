"""Generated kernels: any expression of elementwise operators becomes one pass over memory.

An expression is written in a subset of Python: assignments ``t0=mul(x0,x1)`` separated by
semicolons, the last statement being the result. Operands are ``x0, x1, ...``; literals are
numbers; functions are those of ``SCALAR`` and, where a kernel is explicit SIMD, of ``VECTOR``, and
functions of the caller's (``local_functions``).
``if_less(a,b,c,d)`` is c where a < b and d elsewhere, ``if_greater`` likewise. The text is the
kernel's name: the same fusion in two models is one kernel.

``operands`` says for the output and then for each operand how it is stored and reached along
the innermost dimension, for example ``"f32v f32v f32s"``: element type, then ``v`` (stride 1),
``s`` (stride 0, a scalar for the whole row) or ``g`` (any stride). The record is ``d0 d1 d2 d3``
(dims, outermost first, unused ones 1) and for the output and each operand its address and four
strides in elements.

When everything is float32 with ``v`` or ``s`` access the loop is explicit SIMD; otherwise it is
a scalar loop that LLVM vectorizes where it can.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from . import simd, vmath
from .local_functions import function_of, is_local
from .registry import MANY, kernel_factory
from .scalar_operators import SCALAR, wrap_type
from .target import LANES
from .vector_operators import VECTOR

F = np.float32
SIZES = {"f32": 4, "f64": 8, "f16": 2, "b8": 1} | {
    f"{sign}{bits}": bits // 8 for sign in "iu" for bits in (8, 16, 32, 64)
}

_c = vmath.c


_CHOICES: dict[str, ast.cmpop] = {"if_less": ast.Lt(), "if_greater": ast.Gt()}


class _Vectors(ast.NodeTransformer):
    """Literals of an expression on vectors become vectors."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = ast.Constant(float(node.value))  # type: ignore[arg-type]
        return ast.Call(ast.Name("_c", ast.Load()), [value], [])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return ast.Call(ast.Name("_c", ast.Load()), [node], [])


class _Numbers(ast.NodeTransformer):
    """Prepare an expression on numbers.

    Literals that are float32 do not widen a float32 expression; others keep their digits. Of a
    choice only the branch that is taken is computed.
    """

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, float) and float(F(node.value)) == node.value:
            return ast.Call(ast.Name("_F", ast.Load()), [node], [])
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
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
    fast = all(kind in ("f32v", "f32s") for kind in operands.split())
    return fast and operands.startswith("f32v") and functions(expression) <= set(VECTOR)


def _statements(expression: str, vector: bool) -> list[str]:
    transformer = _Vectors() if vector else _Numbers()
    tree = ast.fix_missing_locations(transformer.visit(ast.parse(expression)))
    names = set(VECTOR if vector else SCALAR)
    lines = [ast.unparse(statement) for statement in tree.body]
    lines[-1] = "result = " + lines[-1]
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return [_rename(line, names & used) for line in lines]


def _rename(line: str, names: set[str]) -> str:
    """Prefix operator names, which may be Python keywords or builtins."""
    tree = ast.parse(line)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = f"op_{node.id}"
    return ast.unparse(tree)


@njit
def _even_axes(d1: int, d2: int, s0: int, s1: int, s2: int, step: int) -> Any:
    """How many axes outside the innermost an operand walks through evenly, ``step`` a row."""
    if d2 != 1 and s2 != step:
        return 0
    if d1 != 1 and s1 != step * d2:
        return 1
    return 3 if s0 == step * d2 * d1 else 2


@njit
def _merged(d0: int, d1: int, d2: int, d3: int, axes: int) -> Any:
    """Sizes with so many axes taken into the innermost."""
    if axes == 0:
        return d0, d1, d2, d3
    if axes == 1:
        return d0, d1, 1, d2 * d3
    if axes == 2:
        return d0, 1, 1, d1 * d2 * d3
    return 1, 1, 1, d0 * d1 * d2 * d3


@njit
def _next_row(i0: int, i1: int, i2: int, d1: int, d2: int) -> Any:
    """Indices of the next row; divisions would cost more than a short row does."""
    if i2 + 1 < d2:
        return i0, i1, i2 + 1
    if i1 + 1 < d1:
        return i0, i1 + 1, 0
    return i0 + 1, 0, 0


@njit
def _share(part: int, until: int, parts: int, rows: int, d3: int) -> Any:
    """Rows, and elements of each, of some parts: (first, last, start, stop)."""
    if rows >= MANY or d3 < MANY * LANES:
        return rows * part // parts, rows * until // parts, 0, d3
    chunks = (d3 + LANES - 1) // LANES
    start, stop = chunks * part // parts * LANES, chunks * until // parts * LANES
    return 0, rows if start < d3 else 0, start, min(stop, d3)


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
    steps = {"v": "d3", "s": "0", "g": "d3 * {}s3"}
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
            lines.append(f"        {name} = {f'splat({load})' if vector else load}")
    moving = [(n, k) for n, k in zip(names[1:], kinds[1:], strict=True) if k[-1] != "s"]
    statements = _statements(expression, vector)
    emit = _vector_loop if vector else _scalar_loop
    lines += [*emit(moving, statements, kinds[0]), _NEXT_ROW]
    lines.append("    return 0")
    return "\n".join(lines)


def _vector_loop(moving: list[tuple[str, str]], statements: list[str], kind: str) -> list[str]:
    pad = " " * 12
    lines = ["        j = start", f"        while j + {LANES} <= stop:"]
    lines += [f"{pad}{name} = vload({name}a, j)" for name, _ in moving]
    lines += [pad + statement for statement in statements]
    lines += [f"{pad}vstore(ya, j, result)", f"{pad}j += {LANES}", "        if j < stop:"]
    lines += [f"{pad}{name} = vload_first({name}a, j, stop - j)" for name, _ in moving]
    lines += [pad + statement for statement in statements]
    lines.append(f"{pad}vstore_first(ya, j, result, stop - j)")
    return lines


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
    "b8": np.uint8,
    **{f"i{bits}": getattr(np, f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(np, f"uint{bits}") for bits in (8, 16, 32, 64)},
}


@njit
def _load_bool(address: int, index: int) -> Any:
    """Load a truth value as 0 or 1: arrays of other bytes are true, too."""
    return np.uint8(1) if simd.load_u8(address, index) != 0 else np.uint8(0)


def _scope(expression: str, vector: bool) -> dict[str, Any]:
    scope: dict[str, Any] = {"_c": _c, "_F": F, "splat": simd.splat}
    scope |= {"even_axes": _even_axes, "merged": _merged, "next_row": _next_row, "share": _share}
    scope |= {name: getattr(simd, name) for name in ("vload", "vstore", "vload_first")}
    scope["vstore_first"] = simd.vstore_first
    for kind, dtype in _TYPES.items():
        stored = "u8" if kind == "b8" else kind
        scope[f"load_{kind}"] = _load_bool if kind == "b8" else getattr(simd, f"load_{stored}")
        scope[f"store_{kind}"] = getattr(simd, f"store_{stored}")
        scope[f"cast_{kind}"] = njit(wrap_type(dtype)) if kind != "b8" else SCALAR["to_bool_u8"]
    table = VECTOR if vector else SCALAR
    scope |= {f"op_{name}": function for name, function in table.items()}
    return scope | {name: function_of(name) for name in functions(expression) if is_local(name)}


@kernel_factory
def pointwise(expression: str, operands: str) -> Callable[..., int]:
    """Generate the kernel of an expression; see the module's text."""
    scope = _scope(expression, is_vector(expression, operands))
    exec(_source(expression, operands), scope)
    body = scope["body"]
    body.__module__, body.__qualname__ = __name__, "pointwise"
    return body
