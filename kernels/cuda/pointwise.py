"""Generated kernels: any expression of elementwise operators becomes one pass over memory.

The language, its operands and the record are those of ``kernels.pointwise``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..function_sources import define
from ..narrow_tables import FLOATS, INTEGERS
from ..ref import LOCAL
from . import memory, numbers
from .expressions import NoForm, Statements
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import SIZES
from .threads import cuda

_AXES = range(4)
_COMPUTED = dict.fromkeys(("f16", "bf16", *FLOATS), "f32") | {n: f"{n[0]}8" for n in INTEGERS}
"""Kinds of numbers that are loaded as others; truth values are 0 or 1."""


def _names(operands: str) -> list[str]:
    return ["y", *(f"x{i}" for i in range(len(operands.split()) - 1))]


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["d0"] * f["d1"] * f["d2"], f["d3"], limits)


def _merged(fields: Fields, names: list[str]) -> Fields:
    """Merge axes that all operands walk evenly, into the last ones."""
    sizes: list[int] = []
    strides: list[list[int]] = []
    for axis in _AXES:
        size, steps = fields[f"d{axis}"], [fields[f"{name}s{axis}"] for name in names]
        if size == 1 and axis < _AXES[-1]:
            continue
        if sizes and all(b == s * size for b, s in zip(strides[-1], steps, strict=True)):
            sizes[-1], strides[-1] = sizes[-1] * size, steps
        else:
            sizes.append(size)
            strides.append(steps)
    missing = len(_AXES) - len(sizes)
    sizes, strides = [1] * missing + sizes, [[0] * len(names)] * missing + strides
    changed = dict(fields)
    for axis in _AXES:
        changed[f"d{axis}"] = sizes[axis]
        changed |= {f"{n}s{axis}": s for n, s in zip(names, strides[axis], strict=True)}
    return changed


def _source(expression: str, operands: str) -> str:
    """Write a kernel.

    Raises
    ------
    NoForm
    """
    kinds, names = operands.split(), _names(operands)
    if any(kind[:-1] not in SIZES for kind in kinds) or LOCAL in expression:
        raise NoForm(operands)
    numbers_of = ["bool" if k[:-1] == "b8" else _COMPUTED.get(k[:-1], k[:-1]) for k in kinds[1:]]
    statements = Statements.of(expression, numbers_of)
    parameters = [f"d{axis}" for axis in _AXES]
    for name in names:
        parameters += [f"{name}p", *(f"{name}s{axis}" for axis in _AXES)]
    once, each = [], []
    for name, kind in zip(names, kinds, strict=True):
        strides = " + ".join(f"i{axis} * {name}s{axis}" for axis in _AXES[:-1])
        once.append(f"{name}a = {name}p + ({strides}) * {SIZES[kind[:-1]]}")
        if name == "y":
            continue
        load = f"{name} = load_{kind[:-1]}({name}a, {{}})"
        if kind[-1] == "s":
            once.append(load.format("0"))
        else:
            each.append(load.format("j" if kind[-1] == "v" else f"j * {name}s3"))
    stored = kinds[0][:-1]
    place = "j" if kinds[0][-1] == "v" else "j * ys3"
    number = _COMPUTED.get(stored, stored)
    result = "cast_u8(result != 0)" if stored == "b8" else f"cast_{number}(result)"
    each += [*statements.lines, f"store_{stored}(ya, {place}, {result})"]
    return "\n".join(
        [
            f"def body({', '.join(parameters)}, status):",
            "    first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y",
            "    column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x",
            "    for row in range(first, d0 * d1 * d2, cuda.gridDim.y * cuda.blockDim.y):",
            "        i2, i1, i0 = row % d2, row // d2 % d1, row // (d2 * d1)",
            *(f"        {line}" for line in once),
            "        for j in range(column, d3, cuda.gridDim.x * cuda.blockDim.x):",
            *(f"            {line}" for line in each),
        ]
    )


@cuda_factory
def pointwise(expression: str, operands: str) -> Body | None:
    """Generate the kernel of an expression; None where a function or a type has no form here."""
    try:
        source = _source(expression, operands)
    except NoForm:
        return None
    scope: dict[str, Any] = {"cuda": cuda, "np": np, **memory.SCOPE, **numbers.SCOPE}
    define(source, scope)
    body = scope["body"]
    body.__module__, body.__qualname__ = __name__, "pointwise"
    names = _names(operands)
    return Body(body, _launch, lambda fields: _merged(fields, names))
