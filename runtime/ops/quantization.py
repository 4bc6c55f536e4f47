"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.extremes import PIECES, extremes, scale_and_zero
from ..element_types import HALVES
from ..emission import Emission
from ..graph import Info, Node, OnHost, dtype_name, refuse
from ..symbolic import product
from ..tensors import Tensor, short_name
from . import checks
from .pointwise import blocks_of, emit_expression
from .registry import Operator, register
from .terms import Placed, Source, Term, call

_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
INTEGERS = ("int8", "uint8", "int16", "uint16", *_BITS)
_FLOATS = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn")
_SCALES = ("float32", *HALVES)


def _limits(dtype: str) -> tuple[int, int]:
    """Least and largest number of a type of integers."""
    if dtype in _BITS:
        above = 1 << (_BITS[dtype] - (dtype[0] == "i"))
        return (-above if dtype[0] == "i" else 0), above - 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def quantized(value: Term, zero: Term | None, dtype: str) -> Term:
    """Write numbers of float32 in units of the scale as integers: rounded, limited, shifted."""
    least, largest = _limits(dtype)
    rounded = call("round", value)
    shifted = rounded if zero is None else rounded + call("to_f32", zero)
    return call("saturate", shifted, float(least), float(largest))


# --- with a given scale -----------------------------------------------------------------------


def _check_scales(node: Node) -> None:
    """Refuse scales and zero points of other sizes than the axis has, or blocks of it."""
    x, block = node.input(0), node.attribute("block_size", 0)
    if block < 0:
        refuse(node, "attribute 'block_size'", block, "0 or more")
    if x is not None and x.shape is not None and x.rank > 1:
        checks.in_range(node, "attribute 'axis'", node.attribute("axis", 1), x, x.rank, x.rank - 1)
    scale, zero = node.input(1), node.input(2)
    if scale is not None and zero is not None and None not in (scale.shape, zero.shape):
        sizes = product(scale.dims), product(zero.dims)
        if all(isinstance(size, int) for size in sizes) and sizes[0] != sizes[1]:
            expected = f"that of {scale.name!r}, {list(scale.dims)}"
            refuse(node, f"shape of {zero.name!r}", list(zero.dims), expected)
    for info in (scale, zero):
        known = info is not None and info.shape is not None and product(info.dims) != 1
        if not known or info is None or x is None or x.shape is None:
            continue
        axis = node.attribute("axis", 1)
        checks.in_range(node, "attribute 'axis'", axis, x, x.rank, x.rank - 1)
        wanted = [x.dims[axis]]
        if block:
            wanted = list(x.dims)
            wanted[axis] = blocks_of(wanted[axis], block)
        pairs = zip(info.dims, wanted, strict=False)
        differ = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
        if info.rank != len(wanted) or differ:
            refuse(node, f"shape of {info.name!r}", list(info.dims), str(wanted))


def _sources(node: Node) -> list[Source]:
    """Scales and zero points lie along an axis where there are several; these are float32."""
    x, scale = node.required(0), node.required(1)
    first, *others = [value for value in node.values if value is not None]
    if scale.rank > 1:
        axis = node.attribute("axis", 1) % x.rank
        block = node.attribute("block_size", 0)
        return [first, *(Placed(v, axis, x.rank, "float32", block, x.dims[axis]) for v in others)]
    several = scale.rank == 1 and scale.dims != (1,)
    axis = node.attribute("axis", 1) % x.rank if several else None
    return [first, *(Placed(value, axis, x.rank, "float32") for value in others)]


def _demand_scale(node: Node) -> None:
    """Leave to the host what expressions have no way to write."""
    x, scale, zero = node.required(0), node.required(1), node.input(2)
    if scale.dtype not in _SCALES:
        raise OnHost(f"a scale of {scale.dtype}")
    if scale.rank > 1 and (scale.rank != x.rank or not node.attribute("block_size", 0)):
        raise OnHost("a scale of several axes without a size of blocks")
    if zero is not None and zero.shape != scale.shape and product(zero.dims) != 1:
        raise OnHost("zero points of another shape than the scale")


def _infer_quantize(node: Node) -> list[Info]:
    x, zero = node.required(0), node.input(2)
    _demand_scale(node)
    kind = node.attribute("output_dtype", 0)
    dtype = zero.dtype if zero is not None else dtype_name(ir.DataType(kind)) if kind else "uint8"
    if x.dtype not in (*_SCALES, "int32") or dtype not in (*INTEGERS, *_FLOATS):
        raise OnHost(f"{x.dtype} as {dtype}")
    return [node.result(x.dims, dtype)]


def quotient_type(node: Node) -> str:
    """Element type that quotients are rounded to, since opset 23."""
    kind = node.attribute("precision", 0)
    if node.version < 23:
        return "float32"
    return dtype_name(ir.DataType(kind)) if kind else node.required(1).dtype


def _quantize(node: Node, operands: Sequence[Term]) -> Term:
    x, scale, *zero = operands
    quotient, dtype = call("to_f32", x) / call("to_f32", scale), node.infos[0].dtype
    if quotient_type(node) in HALVES:
        quotient = call(f"to_{short_name(quotient_type(node))}", quotient)
    if dtype in _FLOATS:
        mode = "saturate" if node.attribute("saturate", 1) else "free"
        return call(f"to_{short_name(dtype)}_{mode}", quotient)
    return quantized(quotient, zero[0] if zero else None, dtype)


def _infer_dequantize(node: Node) -> list[Info]:
    x, scale, zero = node.required(0), node.required(1), node.input(2)
    kind = node.attribute("output_dtype", 0)
    dtype = dtype_name(ir.DataType(kind)) if kind else scale.dtype
    if scale.dtype == dtype == "float32" and all(
        i is None or i.is_constant for i in (x, scale, zero)
    ):
        # Weights become float32 once, not in every run, and not where products read them small.
        constant = ir.LazyTensor(
            lambda: ir.tensor(_dequantized(node, x.array(), scale.array(), zero)),
            ir.DataType.FLOAT, ir.Shape(x.constant.shape), cache=True,
        )  # fmt: skip
        return [node.result(x.dims, "float32", constant=constant)]
    _demand_scale(node)
    if x.dtype not in (*INTEGERS, *_FLOATS, "int32") or dtype not in _SCALES:
        raise OnHost(f"DequantizeLinear of {x.dtype} as {dtype}")
    return [node.result(x.dims, dtype)]


def _dequantized(node: Node, x: np.ndarray, scale: np.ndarray, zero: Info | None) -> np.ndarray:
    """Compute constants of any element type, with one scale, or one along an axis or a block."""
    wide = x.astype(np.float64 if x.dtype.itemsize > 2 else np.float32)
    if zero is not None:
        wide = wide - _spread(node, zero.array().astype(wide.dtype), wide.shape)
    with np.errstate(invalid="ignore", over="ignore"):  # of scales that a warning has named
        array: np.ndarray = wide.astype(np.float32) * _spread(node, scale, wide.shape)
    return array


def _spread(node: Node, values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Let values broadcast to a shape."""
    if values.size == 1:
        return values.reshape(())
    axis = node.attribute("axis", 1) % len(shape)
    if values.ndim == 1 and not node.attribute("block_size", 0):
        return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    size = node.attribute("block_size", 0) or -(-shape[axis] // values.shape[axis])
    return np.repeat(values, min(size, shape[axis]), axis).take(range(shape[axis]), axis)


def _dequantize(node: Node, operands: Sequence[Term]) -> Term:
    x, scale, *zero = operands
    exact = "to_f64" if node.required(0).dtype == "int32" else "to_f32"
    whole = call(exact, x)
    whole = call("to_f32", whole - call(exact, zero[0]) if zero else whole)
    return whole * call("to_f32", scale)


register(
    "QuantizeLinear",
    Operator(
        rules=(_check_scales,),
        infer=_infer_quantize,
        term=_quantize,
        sources=_sources,
        layout="as_input",
    ),
)
register(
    "DequantizeLinear",
    Operator(
        rules=(_check_scales,),
        infer=_infer_dequantize,
        term=_dequantize,
        sources=_sources,
        takes_constants=True,
        layout="as_input",
    ),
)


# --- with a scale of its own --------------------------------------------------------------------


def _infer_dynamic(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype != "float32":
        raise OnHost(f"DynamicQuantizeLinear of {x.dtype}")
    shapes = [(x.dims, "uint8"), ((), "float32"), ((), "uint8")]
    return [node.result(*described, index=i) for i, described in enumerate(shapes)]


def _lower_dynamic(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    x = x if x.is_dense else emit.ordered(x)
    order = None
    if not x.is_contiguous:
        order = sorted(range(len(x.shape)), key=lambda axis: x.strides[axis] == 1)
    y, scale, zero = (emit.output(node, i, order if i == 0 else None) for i in range(3))
    emit_dynamic(emit, x, (y, scale, zero), order)


def emit_dynamic(
    emit: Emission, x: Tensor, results: tuple[Tensor, Tensor, Tensor],
    order: Sequence[int] | None = None, lengths: Tensor | None = None,
) -> None:  # fmt: skip
    """Emit bytes, scale and zero point of a dense tensor.

    With ``lengths`` of sequences along the first axis, numbers beyond the longest do not count.
    """
    y, scale, zero = results
    ends = emit.new((2 * PIECES,), "float32")
    emit.step(
        extremes, outputs=[ends], flops=2 * x.size, x=x, y=ends, n=x.size, lengths=lengths,
        sequences=0 if lengths is None else lengths.size, steps=x.shape[0] if x.shape else 1,
    )  # fmt: skip
    emit.step(scale_and_zero, outputs=[scale, zero], x=ends, scale=scale, zero=zero)
    text = quantized(Term("x0") / Term("x1"), Term("x2"), "uint8").text
    emit_expression(emit, text, y, [x, scale, zero], order, operations=4)


register("DynamicQuantizeLinear", Operator(infer=_infer_dynamic, lower=_lower_dynamic))
