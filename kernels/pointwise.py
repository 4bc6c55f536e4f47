"""Generated kernels: any expression of elementwise operators becomes one pass over memory.

An expression is written in a subset of Python: assignments ``t0=mul(x0,x1)`` separated by
semicolons, the last statement being the result. Operands are ``x0, x1, ...``; literals are
numbers; functions are the ONNX operators in lower snake case (``SCALAR`` and ``VECTOR``).
The text is the kernel's name: the same fusion in two models is one kernel.

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
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from . import simd, vmath
from .registry import kernel_factory
from .target import LANES

F = np.float32
SERIAL_LIMIT = 4096
SIZES = {"f32": 4, "f64": 8, "f16": 2, "b8": 1} | {
    f"{sign}{bits}": bits // 8 for sign in "iu" for bits in (8, 16, 32, 64)
}

_c = vmath.c


# --- float32 vectors --------------------------------------------------------------------------

VECTOR: dict[str, Callable[..., Any]] = {}
SCALAR: dict[str, Callable[..., Any]] = {}


def _vector(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = njit(function)
    VECTOR[function.__name__.strip("_")] = compiled
    return compiled


def _scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = njit(error_model="numpy")(function)
    SCALAR[function.__name__.strip("_")] = compiled
    return compiled


VECTOR.update(
    exp=vmath.exp,
    log=vmath.log,
    tanh=vmath.tanh,
    erf=vmath.erf,
    sigmoid=vmath.sigmoid,
    abs=simd.vabs,
    sqrt=simd.vsqrt,
    floor=simd.vfloor,
    ceil=simd.vceil,
    round=simd.vrint,
    max=simd.vmax,
    min=simd.vmin,
    fma=simd.fma,
)


@_vector
def add(a: Any, b: Any) -> Any:
    return a + b


@_vector
def sub(a: Any, b: Any) -> Any:
    return a - b


@_vector
def mul(a: Any, b: Any) -> Any:
    return a * b


@_vector
def div(a: Any, b: Any) -> Any:
    return a / b


@_vector
def neg(a: Any) -> Any:
    return -a


@_vector
def identity(a: Any) -> Any:
    return a


@_vector
def reciprocal(a: Any) -> Any:
    return _c(1.0) / a


@_vector
def square(a: Any) -> Any:
    return a * a


@_vector
def cube(a: Any) -> Any:
    return a * a * a


@_vector
def relu(a: Any) -> Any:
    return simd.vmax(a, _c(0.0))


@_vector
def clip(a: Any, low: Any, high: Any) -> Any:
    return simd.vmin(simd.vmax(a, low), high)


@_vector
def leaky_relu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), a * alpha, a)


@_vector
def prelu(a: Any, slope: Any) -> Any:
    return simd.select(a < _c(0.0), a * slope, a)


@_vector
def thresholded_relu(a: Any, alpha: Any) -> Any:
    return simd.select(a > alpha, a, _c(0.0))


@_vector
def elu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), alpha * (vmath.exp(a) - _c(1.0)), a)


@_vector
def selu(a: Any, alpha: Any, gamma: Any) -> Any:
    return gamma * simd.select(a > _c(0.0), a, alpha * (vmath.exp(a) - _c(1.0)))


@_vector
def celu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), alpha * (vmath.exp(a / alpha) - _c(1.0)), a)


@_vector
def hard_sigmoid(a: Any, alpha: Any, beta: Any) -> Any:
    return simd.vmin(simd.vmax(simd.fma(a, alpha, beta), _c(0.0)), _c(1.0))


@_vector
def hard_swish(a: Any) -> Any:
    return a * simd.vmin(simd.vmax(simd.fma(a, _c(1.0 / 6.0), _c(0.5)), _c(0.0)), _c(1.0))


@_vector
def swish(a: Any, alpha: Any) -> Any:
    return a * vmath.sigmoid(a * alpha)


@_vector
def softplus(a: Any) -> Any:
    return simd.vmax(a, _c(0.0)) + vmath.log(_c(1.0) + vmath.exp(-simd.vabs(a)))


@_vector
def softsign(a: Any) -> Any:
    return a / (_c(1.0) + simd.vabs(a))


@_vector
def mish(a: Any) -> Any:
    return a * vmath.tanh(simd.vmax(a, _c(0.0)) + vmath.log(_c(1.0) + vmath.exp(-simd.vabs(a))))


@_vector
def gelu(a: Any) -> Any:
    return _c(0.5) * a * (_c(1.0) + vmath.erf(a * _c(0.7071067811865476)))


@_vector
def gelu_tanh(a: Any) -> Any:
    inner = _c(0.7978845608028654) * simd.fma(_c(0.044715) * a * a, a, a)
    return _c(0.5) * a * (_c(1.0) + vmath.tanh(inner))


@_vector
def sign(a: Any) -> Any:
    one = simd.select(a > _c(0.0), _c(1.0), _c(0.0))
    return simd.select(a < _c(0.0), _c(-1.0), simd.select(a != a, a, one))


# --- scalars of any type ----------------------------------------------------------------------


@njit
def _from_float(x: Any, low: float, high: float) -> Any:
    """Float to integer, saturating; NaN becomes the smallest value, as cvttsd2si does."""
    if not x > low:
        return np.int64(low)
    if x >= high:
        return np.int64(high) if high < 9.2e18 else np.int64(9223372036854775807)
    return np.int64(x)


def _define_scalars() -> None:
    for name in ("exp", "log", "tanh", "erf", "sqrt", "sin", "cos", "tan", "asin", "acos",
                 "atan", "sinh", "cosh", "asinh", "acosh", "atanh"):  # fmt: skip
        function = getattr(math, name)
        SCALAR[name] = njit(error_model="numpy")(_wrap(function))
    for name, (op, _) in _OPERATORS.items():
        scope: dict[str, Any] = {}
        exec(f"def {name}(a, b): return a {op} b", scope)
        SCALAR[name] = njit(error_model="numpy")(scope[name])


def _wrap(function: Any) -> Callable[[Any], Any]:
    def call(a: Any) -> Any:
        return function(a)

    return call


_OPERATORS = {
    "add": ("+", 2),
    "sub": ("-", 2),
    "mul": ("*", 2),
    "equal": ("==", 2),
    "less": ("<", 2),
    "less_or_equal": ("<=", 2),
    "greater": (">", 2),
    "greater_or_equal": (">=", 2),
    "bitwise_and": ("&", 2),
    "bitwise_or": ("|", 2),
    "bitwise_xor": ("^", 2),
    "not_equal": ("!=", 2),
}
_define_scalars()


@_scalar
def _div(a: Any, b: Any) -> Any:
    return a / b


@_scalar
def idiv(a: Any, b: Any) -> Any:
    """Integer division truncates toward zero; by zero it gives 0, as no error can be raised."""
    if b == 0:
        return a - a
    q = a // b
    if q < 0 and q * b != a:
        q += 1
    return q


@_scalar
def imod(a: Any, b: Any) -> Any:
    """Integer modulo with the sign of the divisor."""
    if b == 0:
        return a - a
    return a % b


@_scalar
def fmod(a: Any, b: Any) -> Any:
    """Remainder with the sign of the dividend."""
    return math.fmod(a, b)


@_scalar
def ifmod(a: Any, b: Any) -> Any:
    """Integer remainder with the sign of the dividend."""
    if b == 0:
        return a - a
    r = a % b
    if r != 0 and (r < 0) != (a < 0):
        r -= b
    return r


@_scalar
def pow(a: Any, b: Any) -> Any:
    return a**b


@_scalar
def _neg(a: Any) -> Any:
    return -a


@_scalar
def _identity(a: Any) -> Any:
    return a


@_scalar
def _abs(a: Any) -> Any:
    return abs(a)


@_scalar
def _reciprocal(a: Any) -> Any:
    return type_one(a) / a


@njit
def type_one(a: Any) -> Any:
    return a * 0 + 1


@_scalar
def _square(a: Any) -> Any:
    return a * a


@_scalar
def _cube(a: Any) -> Any:
    return a * a * a


@_scalar
def _floor(a: Any) -> Any:
    return math.floor(a) if not math.isfinite(a) else np.floor(a)


@_scalar
def _ceil(a: Any) -> Any:
    return np.ceil(a)


@_scalar
def _round(a: Any) -> Any:
    return np.rint(a)


@_scalar
def _sign(a: Any) -> Any:
    return np.sign(a)


@_scalar
def _max(a: Any, b: Any) -> Any:
    return a if (a >= b or a != a) else b


@_scalar
def _min(a: Any, b: Any) -> Any:
    return a if (a <= b or a != a) else b


@_scalar
def _clip(a: Any, low: Any, high: Any) -> Any:
    if a < low:
        a = low
    if a > high:
        a = high
    return a


@_scalar
def _relu(a: Any) -> Any:
    return a if not a < 0 else a - a


@_scalar
def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


@_scalar
def logical_not(a: Any) -> Any:
    return not a


@_scalar
def logical_and(a: Any, b: Any) -> Any:
    return (a != 0) & (b != 0)


@_scalar
def logical_or(a: Any, b: Any) -> Any:
    return (a != 0) | (b != 0)


@_scalar
def logical_xor(a: Any, b: Any) -> Any:
    return (a != 0) != (b != 0)


@_scalar
def bitwise_not(a: Any) -> Any:
    return ~a


@_scalar
def shift_left(a: Any, b: Any) -> Any:
    return a << b if 0 <= b < 64 else a - a


@_scalar
def shift_right(a: Any, b: Any) -> Any:
    """Arithmetic shift; by the width or more only the sign is left."""
    if 0 <= b < 64:
        return a >> b
    return a - a if a >= 0 else a - a - 1


@_scalar
def is_nan(a: Any) -> Any:
    return a != a


@_scalar
def is_inf(a: Any, negative: Any, positive: Any) -> Any:
    return (positive != 0 and a == np.inf) or (negative != 0 and a == -np.inf)


@_scalar
def _sigmoid(a: Any) -> Any:
    return 1 / (1 + math.exp(-a))


@_scalar
def _leaky_relu(a: Any, alpha: Any) -> Any:
    return a * alpha if a < 0 else a


SCALAR["prelu"] = SCALAR["leaky_relu"]


@_scalar
def shrink(a: Any, bias: Any, lambd: Any) -> Any:
    if a < -lambd:
        return a + bias
    return a - bias if a > lambd else a * 0


@_scalar
def to_bool(a: Any) -> Any:
    return a != 0


def _define_casts() -> None:
    for bits in (8, 16, 32, 64):
        for sign in "iu":
            kind = getattr(np, ("uint" if sign == "u" else "int") + str(bits))
            info = np.iinfo(kind)
            # Narrow integers wrap like a C cast from int64, as onnxruntime's do on x86.
            SCALAR[f"float_to_{sign}{bits}"] = _float_cast(kind, info)
            SCALAR[f"to_{sign}{bits}"] = njit(_wrap_type(kind))
    SCALAR["to_f32"] = njit(_wrap_type(np.float32))
    SCALAR["to_f64"] = njit(_wrap_type(np.float64))
    SCALAR["to_f16"] = njit(_wrap_type(np.float32))


def _wrap_type(kind: Any) -> Callable[[Any], Any]:
    def cast(a: Any) -> Any:
        return kind(a)

    return cast


def _float_cast(kind: Any, info: Any) -> Callable[[Any], Any]:
    low, high = (float(info.min), float(info.max)) if info.bits > 32 else (-(2.0**63), 2.0**63)

    def cast(a: Any) -> Any:
        return kind(_from_float(a, low, high))

    return njit(cast)


_define_casts()


# --- the generator ----------------------------------------------------------------------------


class _Literals(ast.NodeTransformer):
    """Literals of a vector expression become vectors."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name("_c", ast.Load()), [node], [])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return ast.Call(ast.Name("_c", ast.Load()), [node], [])


def functions(expression: str) -> set[str]:
    """Names of the operators in an expression."""
    tree = ast.parse(expression)
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call)}  # type: ignore[attr-defined]


def is_vector(expression: str, operands: str) -> bool:
    """Tell whether a kernel would be explicit SIMD."""
    fast = all(kind in ("f32v", "f32s") for kind in operands.split())
    return fast and operands.startswith("f32v") and functions(expression) <= set(VECTOR)


def _statements(expression: str, vector: bool) -> list[str]:
    tree = ast.parse(expression)
    if vector:
        tree = ast.fix_missing_locations(_Literals().visit(tree))
    else:
        tree = ast.fix_missing_locations(_FloatLiterals().visit(tree))
    names = set(VECTOR if vector else SCALAR)
    lines = [ast.unparse(statement) for statement in tree.body]
    lines[-1] = "result = " + lines[-1]
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return [_rename(line, names & used) for line in lines]


class _FloatLiterals(ast.NodeTransformer):
    """Literals with a fraction are float32, so that they do not widen a float32 expression."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, float):
            return ast.Call(ast.Name("_F", ast.Load()), [node], [])
        return node


def _rename(line: str, names: set[str]) -> str:
    """Prefix operator names, which may be Python keywords or builtins."""
    tree = ast.parse(line)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = f"op_{node.id}"
    return ast.unparse(tree)


_PROLOGUE = """
def body(thread, threads, {parameters}):
    rows = d0 * d1 * d2
    first, last, start, stop = 0, rows, 0, d3
    if rows * d3 <= {serial}:
        if thread > 0:
            return 0
    elif rows >= 4 * threads:
        first, last = rows * thread // threads, rows * (thread + 1) // threads
    else:
        chunks = (d3 + {lanes} - 1) // {lanes}
        start = chunks * thread // threads * {lanes}
        stop = min(chunks * (thread + 1) // threads * {lanes}, d3)
    for row in range(first, last):
        i2 = row % d2
        i1 = row // d2 % d1
        i0 = row // d2 // d1
"""


def _source(expression: str, operands: str) -> str:
    kinds = operands.split()
    vector = is_vector(expression, operands)
    names = ["y", *(f"x{i}" for i in range(len(kinds) - 1))]
    parameters = ["d0", "d1", "d2", "d3"]
    for name in names:
        parameters += [f"{name}p", *(f"{name}s{axis}" for axis in range(4))]
    lines = [_PROLOGUE.format(parameters=", ".join(parameters), serial=SERIAL_LIMIT, lanes=LANES)]
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
    lines += emit(moving, statements, kinds[0])
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


def _scope(vector: bool) -> dict[str, Any]:
    scope: dict[str, Any] = {"_c": _c, "_F": F, "splat": simd.splat}
    scope |= {name: getattr(simd, name) for name in ("vload", "vstore", "vload_first")}
    scope["vstore_first"] = simd.vstore_first
    for kind, made in _TYPES.items():
        stored = "u8" if kind == "b8" else kind
        scope[f"load_{kind}"] = getattr(simd, f"load_{stored}")
        scope[f"store_{kind}"] = getattr(simd, f"store_{stored}")
        scope[f"cast_{kind}"] = njit(_wrap_type(made)) if kind != "b8" else SCALAR["to_bool_u8"]
    table = VECTOR if vector else SCALAR
    scope |= {f"op_{name}": function for name, function in table.items()}
    return scope


def _to_bool_u8(a: Any) -> Any:
    return np.uint8(1) if a else np.uint8(0)


SCALAR["to_bool_u8"] = njit(_to_bool_u8)


@kernel_factory
def pointwise(expression: str, operands: str) -> Callable[..., int]:
    """Generate the kernel of an expression; see the module's text."""
    scope = _scope(is_vector(expression, operands))
    exec(_source(expression, operands), scope)
    body = scope["body"]
    body.__module__, body.__qualname__ = __name__, "pointwise"
    return body
