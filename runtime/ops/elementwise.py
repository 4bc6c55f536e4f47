"""Elementwise operators of several operands, casts, and the broadcasting of operands.

A fusion group of elementwise nodes becomes one generated kernel (``pointwise``), to which each
contributes its term.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...errors import InvalidModel
from ...kernels.emitter import CLIP
from ...kernels.narrow_tables import FLOATS
from .. import symbolic
from ..element_types import HALVES
from ..graph import KNOWN_LIMIT, Info, Node, OnHost, dtype_name, known_array, wrapped
from ..symbolic import Dim, is_natural, maximum, minimum
from ..tensors import short_name
from . import checks
from .registry import Activate, Activation, Infer, Operator, Rule, WriteTerm, register
from .terms import Operand, Term, call, clip, float32, function, if_less, sigmoid

# --- shapes -----------------------------------------------------------------------------------


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
            result.append(functools.reduce(symbolic.broadcast, others))
    return tuple(result)


def _shape(node: Node, dtype: str | None = None) -> Info:
    infos = [info for info in node.inputs if info is not None]
    try:
        return node.result(broadcast([info.dims for info in infos]), dtype or infos[0].dtype)
    except ValueError as error:
        names = [info.name for info in infos]
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): inputs {names}: {error}"
        ) from None


def _infer(node: Node) -> list[Info]:
    return [_shape(node)]


def _infer_bool(node: Node) -> list[Info]:
    return [_shape(node, "bool")]


def _infer_where(node: Node) -> list[Info]:
    """A constant condition picks sizes, as exporters write the target of an Expand."""
    condition, yes, no = (node.required(i) for i in range(3))
    info = _shape(node, yes.dtype)
    if condition.is_constant and yes.known is not None and no.known is not None:
        _set_known(info, np.where(*np.broadcast_arrays(condition.array(), yes.known, no.known)))
    return [info]


def _set_known(info: Info, values: np.ndarray) -> None:
    """Note the contents of a result, unless they are too many or not all are known."""
    if values.size <= KNOWN_LIMIT and all(value is not None for value in values.flat):
        flat = [wrapped(value, info.dtype) for value in values.flat]
        info.known = known_array(flat, values.shape)


def _infer_cast(node: Node) -> list[Info]:
    kind = node.attribute("to") if node.op_type == "Cast" else None
    if isinstance(kind, str):
        kind = ir.DataType[kind]
    dtype = dtype_name(ir.DataType(kind)) if kind is not None else node.required(1).dtype
    if dtype == "object":
        raise OnHost("cast to a type without kernels")
    if node.attribute("round_mode", "up") not in ("up", "down", "nearest"):
        raise OnHost("an unknown way of rounding")
    source = node.required(0)
    known = source.known if dtype in ("int64", "int32") else None
    if known is not None:
        known = known_array([wrapped(value, dtype) for value in source.sizes()], known.shape)
    return [node.result(source.dims, dtype, known=known)]


def _infer_mod(node: Node) -> list[Info]:
    if node.required(0).is_float and not node.attribute("fmod", 0):
        raise OnHost("Mod of floats, with the sign of the divisor")
    return _infer(node)


def _infer_clip(node: Node) -> list[Info]:
    first = node.required(0)
    if any(info is not None and info.rank and info.shape != (1,) for info in node.inputs[1:]):
        raise OnHost("limits must be scalars")
    return [node.result(first.dims)]


def _infer_prelu(node: Node) -> list[Info]:
    return [node.result(node.required(0).dims)]


# --- arithmetic on sizes ------------------------------------------------------------------------


def _divide_sizes(a: Dim, b: Dim) -> Dim | None:
    """ONNX's integer division, which rounds towards zero; None where the sign is not known."""
    if isinstance(b, int) and b < 0:
        opposite = _divide_sizes(a, -b)
        return None if opposite is None else -1 * opposite
    if b == 0 or not is_natural(b):
        return None
    return a // b if is_natural(a) else maximum(0, a) // b - maximum(0, -1 * a) // b


def _on_sizes(operate: Callable[[Any, Any], Dim | None]) -> Infer:
    """Shape rule that computes the result, too, where all operands hold sizes."""

    def infer(node: Node) -> list[Info]:
        info = _shape(node)
        contents = [operand.known for operand in node.inputs if operand is not None]
        known = [array for array in contents if array is not None]
        if known and len(known) == len(contents):
            arrays = np.broadcast_arrays(*known)
            if arrays[0].size <= KNOWN_LIMIT:
                tuples = zip(*(array.reshape(-1) for array in arrays), strict=True)
                results = np.empty(arrays[0].size, object)
                results[:] = [functools.reduce(operate, each) for each in tuples]
                _set_known(info, results.reshape(arrays[0].shape))
        return [info]

    return infer


# --- terms ------------------------------------------------------------------------------------


def _calls(name: str) -> WriteTerm:
    """An operator that is a function of the language."""
    return lambda node, operands: call(name, *operands)


def _folds(name: str) -> WriteTerm:
    """An operator of any number of operands as a chain of the binary one."""
    return lambda node, operands: functools.reduce(function(name), operands)


def _mean(node: Node, operands: Sequence[Term]) -> Term:
    return functools.reduce(function("add"), operands) / float(len(node.values))


_LARGEST = {
    "float16": 65504.0, "bfloat16": 3.3895313892515355e38,
    "float32": float(np.finfo(np.float32).max), "float64": float(np.finfo(np.float64).max),
}  # fmt: skip
"""Finite numbers, the limits of a Clip that has none."""


def _clip(node: Node, operands: Sequence[Term]) -> Term:
    """Write the limits that are given; those of a float's type are the others.

    ``clip`` takes numbers for limits: of one that is NaN, so is the result.
    """
    x, *given = operands
    limits: list[Operand | None] = [
        given.pop(0) if node.input(index) is not None
        else None if (value := node.attribute(name)) is None
        else float32(value)
        for index, name in ((1, "min"), (2, "max"))
    ]  # fmt: skip
    if node.required(0).is_float:
        largest = _LARGEST[node.required(0).dtype]
        low, high = (
            default if limit is None else limit
            for limit, default in zip(limits, (-largest, largest), strict=True)
        )
        if all(info is None or _is_number(info) for info in node.inputs[1:]):
            return clip(x, low, high)
        limits = [low, high]
    for name, limit in zip(("max", "min"), limits, strict=True):
        x = x if limit is None else call(name, x, limit)
    return x


def _is_number(info: Info) -> bool:
    """Tell whether what is known of a scalar says that it is not NaN."""
    return info.is_constant and not np.isnan(info.array()).any()


def _division(node: Node, operands: Sequence[Term]) -> Term:
    info = node.required(0)
    if info.is_float:
        return call("div", *operands)
    x, y = operands
    is_narrow = np.dtype(info.dtype).itemsize <= 4
    return call("idiv_narrow" if is_narrow else "idiv", x, call("divisor", y))


def _modulo(node: Node, operands: Sequence[Term]) -> Term:
    x, y = operands
    if node.required(0).is_float:
        return call("fmod", x, y)
    return call("ifmod" if node.attribute("fmod", 0) else "imod", x, call("divisor", y))


_POWERS: dict[float, Callable[[Term], Term]] = {
    0.5: function("sqrt"),
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    -1.0: lambda x: 1 / x,
}


def _power(node: Node, operands: Sequence[Term]) -> Term:
    x, y = operands
    base, exponent = node.required(0), node.required(1)
    if exponent.is_constant and base.is_float:
        values = exponent.array().reshape(-1)
        if values.size == 1 and float(values[0]) in _POWERS:
            return _POWERS[float(values[0])](x)
    if not base.is_float and not exponent.is_float:
        return call("ipow", x, y)
    if exponent.is_float or exponent.dtype.startswith("uint"):
        return call("pow", x, y)
    # numba raises for zero to a negative one, which the least stays without its sign: the next
    # even one gives the same.
    least = int(np.iinfo(exponent.dtype).min)
    size = call("abs", call("where", call("less", y, least + 1), least + 2, y))
    power = call("pow", x, size)
    return call("where", call("less", y, 0), 1 / power, power)


_WIDER = ("float64", "int32", "int64", "uint32", "uint64")
"""Types whose numbers float32 does not hold exactly."""


def _cast(node: Node, operands: Sequence[Term]) -> Term:
    x, source, dtype = operands[0], node.required(0), node.infos[0].dtype
    target = short_name(dtype)
    rounded = dtype in HALVES or target in FLOATS
    if target in FLOATS:
        mode = "saturate" if node.attribute("saturate", 1) else "free"
        way = f"_{node.attribute('round_mode', 'up')}" if target == "e8m0" else ""
        target = f"{target}_{mode}{way}"
    if short_name(source.dtype) == "e8m0" and dtype in ("float64", "bool"):
        # The smallest power of two is a denormal float32, which the processor may take for zero.
        x = call("where", call("less", x, 2.0**-126), 2.0**-127, call("to_f64", x))
    if rounded and source.dtype in _WIDER:
        return call(f"to_{target}", call("odd_f32", call("to_f64", x)))
    from_float = source.is_float and target[0] in "iu"
    return call(f"{'float_' if from_float else ''}to_{target}", x)


def _shift(node: Node, operands: Sequence[Term]) -> Term:
    return call(f"shift_{node.attribute('direction').lower()}", *operands)


def _swiglu(node: Node, operands: Sequence[Term]) -> Term:
    gate, value, alpha = operands
    return gate * sigmoid(gate * alpha) * value


def _prelu(node: Node, operands: Sequence[Term]) -> Term:
    x, slope = operands
    return if_less(x, 0, x * slope, x)


# --- operators --------------------------------------------------------------------------------


def _clip_of_tile(node: Node) -> Activation | None:
    """Describe a Clip whose bounds are constants."""
    least = node.attribute("min", _scalar(node.input(1), -_LARGEST["float32"]))
    most = node.attribute("max", _scalar(node.input(2), _LARGEST["float32"]))
    if least is None or most is None or np.isnan([least, most]).any():
        return None
    return CLIP, least, most


def _scalar(info: Info | None, default: float) -> float | None:
    if info is None:
        return default
    if not info.is_constant or info.array().size != 1:
        return None
    return float(info.array().reshape(-1)[0])


def _elementwise(
    terms: dict[str, WriteTerm],
    infer: Infer = _infer,
    rules: tuple[Rule, ...] = (),
    activation: Activate | None = None,
    folds: str = "",
) -> None:
    for name, term in terms.items():
        entry = Operator(
            rules=rules,
            infer=infer,
            term=term,
            folds=folds,
            activation=activation,
            layout="as_input",
        )
        register(name, entry)


_elementwise({"Add": _calls("add")}, _on_sizes(operator.add))
_elementwise({"Sub": _calls("sub")}, _on_sizes(operator.sub))
_elementwise({"Mul": _calls("mul")}, _on_sizes(operator.mul))
_elementwise({"Div": _division}, _on_sizes(_divide_sizes))
_elementwise({"Min": _folds("min")}, _on_sizes(minimum), folds="min")
_elementwise({"Max": _folds("max")}, _on_sizes(maximum), folds="max")
_elementwise({"Sum": _folds("add"), "Mean": _mean}, folds="add")
_elementwise(
    {
        "Pow": _power,
        "BitwiseAnd": _calls("bitwise_and"),
        "BitwiseOr": _calls("bitwise_or"),
        "BitwiseXor": _calls("bitwise_xor"),
    }
)
_elementwise({"BitShift": _shift}, rules=(checks.one_of("direction", "LEFT", "RIGHT"),))
_elementwise(
    {
        "Equal": _calls("equal"),
        "Less": _calls("less"),
        "LessOrEqual": _calls("less_or_equal"),
        "Greater": _calls("greater"),
        "GreaterOrEqual": _calls("greater_or_equal"),
        "And": _calls("logical_and"),
        "Or": _calls("logical_or"),
        "Xor": _calls("logical_xor"),
    },
    _infer_bool,
)
_elementwise({"Mod": _modulo}, _infer_mod)
register(
    "SwiGLU",
    Operator(
        infer=_infer,
        term=_swiglu,
        parameters={"alpha": 1.0},
        layout="as_input",
    ),
)
_elementwise({"Clip": _clip}, _infer_clip, activation=_clip_of_tile)
_elementwise({"PRelu": _prelu}, _infer_prelu)
_elementwise({"Where": _calls("where")}, _infer_where)
_elementwise({"Cast": _cast}, _infer_cast, (checks.element_type("to"),))
_elementwise({"CastLike": _cast}, _infer_cast)
