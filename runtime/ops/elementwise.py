"""Elementwise operators: broadcasting, and each as a term of the pointwise language.

A fusion group of such nodes becomes one generated kernel (``fusion.Group``); the term of an
operator is what it contributes to that kernel's expression.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import KNOWN_LIMIT, Info, Node, OnHost, dtype_name, known_array
from ..symbolic import Dim, maximum
from . import checks
from .registry import Operator, Rule, register

Term = Callable[[Node, list[str]], str]


def broadcast(shapes: list[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """Shape of the result of numpy's broadcasting; named dims win over 1, numbers over names."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dims = [shape[axis] for shape in shapes if len(shape) >= -axis]
        others = [dim for dim in dims if dim != 1]
        fixed = [dim for dim in others if isinstance(dim, int)]
        if not others:
            result.append(1)
        elif fixed:
            if len(set(fixed)) > 1:
                raise ValueError(f"shapes {shapes} do not broadcast")
            result.append(fixed[0])
        else:
            dim = others[0]
            for other in others[1:]:
                dim = maximum(dim, other)
            result.append(dim)
    return tuple(result)


def _shape(node: Node, dtype: str | None = None, operands: int | None = None) -> Info:
    infos = [info for info in node.inputs[:operands] if info is not None]
    try:
        return node.result(broadcast([info.dims for info in infos]), dtype or infos[0].dtype)
    except ValueError as error:
        from ...errors import InvalidModel

        names = [info.name for info in infos]
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): inputs {names}: {error}"
        ) from None


def _infer(node: Node) -> list[Info]:
    info = _shape(node)
    _track(node, info)
    return [info]


def _infer_bool(node: Node) -> list[Info]:
    return [_shape(node, "bool")]


def _infer_where(node: Node) -> list[Info]:
    return [_shape(node, node.required(1).dtype)]


def _infer_cast(node: Node) -> list[Info]:
    import onnx_ir as ir

    kind = node.attribute("to") if node.op_type == "Cast" else None
    if isinstance(kind, str):
        kind = ir.DataType[kind]
    dtype = dtype_name(ir.DataType(kind)) if kind is not None else node.required(1).dtype
    if dtype == "object":
        raise OnHost("cast to a type without kernels")
    source = node.required(0)
    known = source.known if dtype in ("int64", "int32") else None
    return [node.result(source.dims, dtype, known=known)]


_ON_SIZES: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
}


def _divide_sizes(a: Dim, b: Dim) -> Dim:
    """ONNX's integer division truncates; sizes are not negative, numbers may be."""
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            raise OnHost("division by zero")
        return int(np.trunc(a / b)) if abs(a) < 2**52 else a // b
    return a // b


def _track(node: Node, info: Info) -> None:
    """Follow arithmetic on sizes."""
    known = [None if operand is None else operand.known for operand in node.inputs]
    operate = _ON_SIZES.get(node.op_type)
    if node.op_type == "Div":
        operate = _divide_sizes
    if operate is None or len(known) != 2 or known[0] is None or known[1] is None:
        return
    a, b = np.broadcast_arrays(known[0], known[1])
    if a.size <= KNOWN_LIMIT:
        values = [operate(x, y) for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True)]
        info.known = known_array(values, a.shape)


def _call(name: str) -> Term:
    return lambda node, operands: f"{name}({','.join(operands)})"


def _fold(name: str) -> Term:
    """An n-ary operator as a chain of the binary one."""

    def term(node: Node, operands: list[str]) -> str:
        text = operands[0]
        for operand in operands[1:]:
            text = f"{name}({text},{operand})"
        return text

    return term


def _with_attributes(name: str, **defaults: float) -> Term:
    """An operator whose attributes become literals."""

    def term(node: Node, operands: list[str]) -> str:
        values = [node.attribute(key, default) for key, default in defaults.items()]
        return f"{name}({','.join([*operands, *(_literal(value) for value in values)])})"

    return term


def _literal(value: float) -> str:
    return repr(float(np.float32(value)))


def _clip(node: Node, operands: list[str]) -> str:
    low, high = node.attribute("min"), node.attribute("max")
    if low is not None or high is not None or len(operands) == 1:
        limits = (-3.4028234663852886e38, 3.4028234663852886e38)
        given = [low if low is not None else limits[0], high if high is not None else limits[1]]
        return f"clip({operands[0]},{_literal(given[0])},{_literal(given[1])})"
    if node.input(1) is None:
        return f"min({operands[0]},{operands[-1]})"
    if len(operands) == 2:
        return f"max({operands[0]},{operands[1]})"
    return f"clip({','.join(operands)})"


def _integral(node: Node, index: int = 0) -> bool:
    return node.required(index).dtype not in ("float32", "float64", "float16")


def _division(node: Node, operands: list[str]) -> str:
    return f"{'idiv' if _integral(node) else 'div'}({','.join(operands)})"


def _modulo(node: Node, operands: list[str]) -> str:
    fmod = node.attribute("fmod", 0)
    name = "ifmod" if fmod else "imod"
    return f"{name}({','.join(operands)})"


_POWERS = {0.5: "sqrt", 1.0: "identity", 2.0: "square", 3.0: "cube", -1.0: "reciprocal"}


def _power(node: Node, operands: list[str]) -> str:
    exponent = node.required(1)
    if exponent.is_constant and not _integral(node):
        values = exponent.array().reshape(-1)
        if values.size == 1 and float(values[0]) in _POWERS:
            return f"{_POWERS[float(values[0])]}({operands[0]})"
    x, y = operands
    if not (_integral(node) and _integral(node, 1)) or exponent.dtype.startswith("uint"):
        return f"pow({x},{y})"
    # Of whole numbers to negative powers only those of 1 and -1 are left; numba would raise.
    inverse = f"pow(idiv(1,{x}),sub(2,bitwise_and({y},1)))"
    return f"where(less({y},0),{inverse},pow({x},max({y},0)))"


def _gelu(node: Node, operands: list[str]) -> str:
    tanh = node.attribute("approximate", "none") == "tanh"
    return f"{'gelu_tanh' if tanh else 'gelu'}({operands[0]})"


_SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bool": "bool"}


def short_name(dtype: str) -> str:
    """Return the pointwise language's name of an element type (``bool`` is ``b8`` in memory)."""
    return _SHORT.get(dtype) or dtype[0] + "".join(filter(str.isdigit, dtype))


def _sign(node: Node, operands: list[str]) -> str:
    dtype = node.required(0).dtype
    if dtype.startswith("uint"):
        return f"to_{short_name(dtype)}(not_equal({operands[0]},0))"
    return f"sign({operands[0]})"


def _cast(node: Node, operands: list[str]) -> str:
    target = short_name(node.infos[0].dtype)
    from_float = node.required(0).dtype.startswith("float") and target[0] in "iu"
    return f"{'float_' if from_float else ''}to_{target}({operands[0]})"


def _shift(node: Node, operands: list[str]) -> str:
    return f"shift_{node.attribute('direction').lower()}({','.join(operands)})"


def _mean(node: Node, operands: list[str]) -> str:
    return f"div({_fold('add')(node, operands)},{float(len(operands))!r})"


def _is_inf(node: Node, operands: list[str]) -> str:
    flags = node.attribute("detect_negative", 1), node.attribute("detect_positive", 1)
    return f"is_inf({operands[0]},{int(flags[0])},{int(flags[1])})"


def _infer_mod(node: Node) -> list[Info]:
    if not _integral(node):
        raise OnHost("Mod of floats")
    return _infer(node)


def _infer_clip(node: Node) -> list[Info]:
    first = node.required(0)
    if any(info is not None and info.rank and info.shape != (1,) for info in node.inputs[1:]):
        raise OnHost("limits must be scalars")
    return [node.result(first.dims)]


def _infer_prelu(node: Node) -> list[Info]:
    return [node.result(node.required(0).dims)]


def _infer_unary(node: Node) -> list[Info]:
    return [node.result(node.required(0).dims, known=_kept(node))]


def _kept(node: Node) -> np.ndarray | None:
    return node.required(0).known if node.op_type == "Identity" else None


def _elementwise(
    names: dict[str, Term], infer: Callable[[Node], list[Info]], rules: tuple[Rule, ...] = ()
) -> None:
    for name, term in names.items():
        register(name, Operator(rules=rules, infer=infer, term=term, layout="as_input"))


_FLOAT_ONLY = [
    "Exp",
    "Log",
    "Tanh",
    "Erf",
    "Sigmoid",
    "Sqrt",
    "Floor",
    "Ceil",
    "Round",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "HardSwish",
    "Softplus",
    "Softsign",
    "Mish",
]


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _infer_float(node: Node) -> list[Info]:
    if _integral(node):
        raise OnHost(f"{node.op_type} of {node.required(0).dtype}")
    return _infer_unary(node)


_elementwise({name: _call(_snake(name)) for name in _FLOAT_ONLY}, _infer_float)
_elementwise(
    {
        "LeakyRelu": _with_attributes("leaky_relu", alpha=0.01),
        "Elu": _with_attributes("elu", alpha=1.0),
        "Celu": _with_attributes("celu", alpha=1.0),
        "Selu": _with_attributes(
            "selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875
        ),
        "ThresholdedRelu": _with_attributes("thresholded_relu", alpha=1.0),
        "HardSigmoid": _with_attributes("hard_sigmoid", alpha=0.2, beta=0.5),
        "Swish": _with_attributes("swish", alpha=1.0),
    },
    _infer_float,
)
_elementwise({"Gelu": _gelu}, _infer_float, (checks.one_of("approximate", "none", "tanh"),))
_elementwise(
    {
        "Identity": _call("identity"),
        "Neg": _call("neg"),
        "Abs": _call("abs"),
        "Sign": _sign,
        "Relu": _call("relu"),
        "Reciprocal": _call("reciprocal"),
        "BitwiseNot": _call("bitwise_not"),
    },
    _infer_unary,
)
_elementwise({"Shrink": _with_attributes("shrink", bias=0.0, lambd=0.5)}, _infer_float)
_elementwise({"Clip": _clip}, _infer_clip)
_elementwise({"PRelu": _call("prelu")}, _infer_prelu)
_elementwise(
    {
        "Add": _call("add"),
        "Sub": _call("sub"),
        "Mul": _call("mul"),
        "Div": _division,
        "Pow": _power,
        "Min": _fold("min"),
        "Max": _fold("max"),
        "Sum": _fold("add"),
        "Mean": _mean,
        "BitwiseAnd": _call("bitwise_and"),
        "BitwiseOr": _call("bitwise_or"),
        "BitwiseXor": _call("bitwise_xor"),
    },
    _infer,
)
_elementwise({"BitShift": _shift}, _infer, (checks.one_of("direction", "LEFT", "RIGHT"),))
_elementwise(
    {
        "Equal": _call("equal"),
        "Less": _call("less"),
        "LessOrEqual": _call("less_or_equal"),
        "Greater": _call("greater"),
        "GreaterOrEqual": _call("greater_or_equal"),
        "And": _call("logical_and"),
        "Or": _call("logical_or"),
        "Xor": _call("logical_xor"),
        "Not": _call("logical_not"),
        "IsNaN": _call("is_nan"),
        "IsInf": _is_inf,
    },
    _infer_bool,
)
_elementwise({"Mod": _modulo}, _infer_mod)
_elementwise({"Where": _call("where")}, _infer_where)
_elementwise({"Cast": _cast}, _infer_cast, (checks.element_type("to"),))
_elementwise({"CastLike": _cast}, _infer_cast)
