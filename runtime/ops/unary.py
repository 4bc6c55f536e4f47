"""Elementwise operators of one operand, each an expression of the pointwise language.

For an operator of floats an entry is all there is to add: vectors of float32 and numbers of the
other types are computed from the same expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...kernels.emitter import CLIP, HARD_SWISH, LEAKY_RELU
from ..graph import Info, Node, OnHost, known_array, wrapped
from ..tensors import short_name
from . import checks
from .registry import Activate, Infer, Operator, Rule, register
from .terms import (
    Term,
    call,
    clip,
    erf,
    exp,
    expm1,
    fma,
    function,
    if_greater,
    if_less,
    log1p,
    relu,
    sigmoid,
    tanh,
)


def _infer_any(node: Node) -> list[Info]:
    return [node.result(node.required(0).dims)]


def _infer_negated(node: Node) -> list[Info]:
    x = node.required(0)
    known = None
    if x.known is not None:
        known = known_array([wrapped(-1 * size, x.dtype) for size in x.sizes()], x.known.shape)
    return [node.result(x.dims, known=known)]


def _infer_float(node: Node) -> list[Info]:
    x = node.required(0)
    if not x.is_float:
        raise OnHost(f"{node.op_type} of {x.dtype}")
    return [node.result(x.dims)]


def _infer_identity(node: Node) -> list[Info]:
    x = node.required(0)
    return [node.result(x.dims, known=x.known)]


def _infer_bool(node: Node) -> list[Info]:
    return [node.result(node.required(0).dims, "bool")]


def unary(
    name: str,
    expression: Callable[..., Term],
    *,
    infer: Infer = _infer_float,
    rules: tuple[Rule, ...] = (),
    activation: Activate | None = None,
    domain: str = "",
    **attributes: float,
) -> None:
    """Register an operator.

    Parameters
    ----------
    name : str
    expression : callable
        Writes the result for an element, and for the values of the attributes in their order.
    infer : callable
        Shape rule; by default that of operators on floats.
    rules : tuple
        Validity rules.
    activation : callable
        Describes a node as an activation of a tile.
    domain : str
        Domain of the operator; by default the standard one.
    **attributes
        Floats, by their names, and what they are when they are not given.
    """
    operator = Operator(
        rules=rules,
        infer=infer,
        term=lambda node, operands: expression(*operands),
        parameters=attributes,
        activation=activation,
        layout="as_input",
    )
    register(name, operator, domain)


def softplus(x: Term) -> Term:
    """Write log(1 + exp(x)) so that nothing overflows."""
    return relu(x) + log1p(exp(-abs(x)))


_FUNCTIONS = (
    "Exp", "Log", "Sqrt", "Sigmoid", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Asin",
    "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh",
)  # fmt: skip
for _name in _FUNCTIONS:
    unary(_name, function(_name.lower()))

unary("Celu", lambda x, alpha: if_less(x, 0, alpha * expm1(x / alpha), x), alpha=1.0)
unary("Elu", lambda x, alpha: if_less(x, 0, alpha * expm1(x), x), alpha=1.0)
unary("HardSigmoid", lambda x, alpha, beta: clip(fma(x, alpha, beta), 0, 1), alpha=0.2, beta=0.5)
unary(
    "HardSwish",
    lambda x: x * clip(fma(x, 1 / 6, 0.5), 0, 1),
    activation=lambda _: (HARD_SWISH, 0.0, 0.0),
)
unary(
    "LeakyRelu",
    lambda x, alpha: if_less(x, 0, x * alpha, x),
    activation=lambda node: (LEAKY_RELU, node.attribute("alpha", 0.01), 0.0),
    alpha=0.01,
)
unary("Mish", lambda x: x * tanh(softplus(x)))
unary("QuickGelu", lambda x, alpha: x * sigmoid(x * alpha), domain="com.microsoft", alpha=1.702)
unary(
    "Selu",
    lambda x, alpha, gamma: gamma * if_greater(x, 0, x, alpha * expm1(x)),
    alpha=1.67326319217681884765625,
    gamma=1.05070102214813232421875,
)
unary(
    "Shrink",
    lambda x, bias, lambd: if_less(x, -lambd, x + bias, if_greater(x, lambd, x - bias, 0)),
    infer=_infer_any,
    bias=0.0,
    lambd=0.5,
)
unary("Softplus", softplus)
unary("Softsign", lambda x: x / (1 + abs(x)))
unary(
    "Binarizer",
    lambda x, threshold: if_greater(x, threshold, 1, 0),
    infer=_infer_any,
    domain="ai.onnx.ml",
    threshold=0.0,
)
unary("Swish", lambda x, alpha: x * sigmoid(x * alpha), alpha=1.0)
unary("ThresholdedRelu", lambda x, alpha: if_greater(x, alpha, x, 0), alpha=1.0)

unary("Identity", lambda x: x, infer=_infer_identity)
unary("Neg", lambda x: -x, infer=_infer_negated)
unary("Abs", abs, infer=_infer_any)
unary("Relu", relu, infer=_infer_any, activation=lambda _: (CLIP, 0.0, math.inf))
unary("Reciprocal", lambda x: 1 / x, infer=_infer_any)
unary("BitwiseNot", function("bitwise_not"), infer=_infer_any)
unary("Not", function("logical_not"), infer=_infer_bool)
unary("IsNaN", function("is_nan"), infer=_infer_bool)


# --- by other attributes, or by the type ------------------------------------------------------


def _gelu(node: Node, operands: Sequence[Term]) -> Term:
    (x,) = operands
    if node.attribute("approximate", "none") == "tanh":
        inner = math.sqrt(2 / math.pi) * fma(0.044715 * x * x, x, x)
        return 0.5 * x * (1 + tanh(inner))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _erf(node: Node, operands: Sequence[Term]) -> Term:
    """Whole numbers get the whole part of what it is in double."""
    (x,) = operands
    info = node.required(0)
    return erf(x) if info.is_float else call(f"to_{short_name(info.dtype)}", erf(call("to_f64", x)))


def _sign(node: Node, operands: Sequence[Term]) -> Term:
    (x,) = operands
    dtype = node.required(0).dtype
    if dtype.startswith("uint"):
        return call(f"to_{short_name(dtype)}", call("not_equal", x, 0))
    return call("sign", x)


def _is_inf(node: Node, operands: Sequence[Term]) -> Term:
    signs = (node.attribute(f"detect_{sign}", 1) for sign in ("negative", "positive"))
    return call("is_inf", operands[0], *signs)


register(
    "Gelu",
    Operator(
        rules=(checks.one_of("approximate", "none", "tanh"),),
        infer=_infer_float,
        term=_gelu,
        layout="as_input",
    ),
)
register("Erf", Operator(infer=_infer_any, term=_erf, layout="as_input"))
register("Sign", Operator(infer=_infer_any, term=_sign, layout="as_input"))
register("IsInf", Operator(infer=_infer_bool, term=_is_inf, layout="as_input"))
