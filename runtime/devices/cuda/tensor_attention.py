"""Attention on a GPU by tensor cores: queries, keys and values are rounded to bfloat16 before."""

from __future__ import annotations

from typing import Any

from ....kernels.cuda.tensor_cores.attention import warp_attention
from ...emission import Emission
from ...ops.pointwise import emit_expression
from ...ops.term_attention import Job
from ...tensors import Tensor
from .behind import VECTOR_BYTES, is_multiple
from .simulation import SIMULATED

_HEADS = (64, 128)
"""Elements of a head, at most, that there are kernels for."""
_ROWS = 128
_FEW = 16
"""Queries, at most, for which conversions of all keys and values take longer than they save."""
_FIELDS = (
    *("batch", "heads", "group", "queries", "keys", "size", "width"),
    *("y", "y_batch", "y_head", "y_row", "mask", "mask_batch", "mask_head", "mask_row"),
    *("mask_keys", "lengths", "past", "right", "scale"),
)


def emit_tensor_attention(emit: Emission, job: Job) -> bool:
    """Emit attention with ``precision="bf16"``; tells whether there is a kernel for it."""
    f = job.fields
    head = next((head for head in _HEADS if _fits(f["size"], head) and _fits(f["width"], head)), 0)
    if emit.options["precision"] != "bf16" or not head or not _is_usual(f):
        return False
    words: dict[str, Any] = {name: f[name] for name in _FIELDS}
    for name in "qkv":
        words |= _rounded(emit, f, name)
    rows = 64 if emit.options["device"] == SIMULATED else _ROWS
    kernel = warp_attention("bf16", "f32", head, rows, int(f["mask"] is not None))
    emit.step(kernel, outputs=job.outputs, flops=job.flops, indexed=job.indexed, **words)
    return True


def _fits(size: Any, head: int) -> bool:
    return isinstance(size, int) and size <= head and size % 8 == 0


def _is_usual(f: dict[str, Any]) -> bool:
    """Tell whether the kernel has all that a node asks for, and is worth it."""
    limits = isinstance(f["left"], int) and f["left"] >= 1 << 40
    is_plain = limits and f["scores"] is None and f["cap"] == 0.0
    is_scaled = isinstance(f["scale"], float) and f["scale"] > 0
    many = not isinstance(f["queries"], int) or f["queries"] > _FEW
    floats = all(f[name].dtype == "float32" for name in "qkvy")
    places = [f["y"].offset, *(4 * f[f"y_{axis}"] for axis in ("batch", "head", "row"))]
    is_aligned = all(is_multiple(place, VECTOR_BYTES) for place in places)
    return is_plain and is_scaled and many and floats and is_aligned and f["y"].strides[3] == 1


def _rounded(emit: Emission, f: dict[str, Any], name: str) -> dict[str, Any]:
    """Emit an operand as bfloat16; returns the fields of it."""
    x: Tensor = f[name]

    def convert() -> Tensor:
        y = emit.new(x.shape, "bfloat16", name=x.name)
        emit_expression(emit, "to_bf16(x0)", y, [x])
        return y

    y = emit.once(x, "rows of bfloat16", convert)
    names = (f"{name}_batch", f"{name}_head", f"{name}_row")
    return {name: y, **dict(zip(names, y.strides, strict=False))}
