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
_MOST_TOGETHER = 8
_COMPUTED = dict.fromkeys(("f16", "bf16", *FLOATS), "f32") | {n: f"{n[0]}8" for n in INTEGERS}
"""Kinds of numbers that are loaded as others; truth values are 0 or 1."""


def _names(operands: str) -> list[str]:
    return ["y", *(f"x{i}" for i in range(len(operands.split()) - 1))]


def _together(kinds: list[str]) -> int:
    """Return how many neighbouring elements a thread computes at a time, 2 to 8.

    They are 16 bytes of the operands with the largest elements, of those that have neighbours.
    """
    largest = max((SIZES[kind[:-1]] for kind in kinds if kind[-1] == "v"), default=8)
    return min(16 // largest, _MOST_TOGETHER)


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
    count = _together(kinds)
    for name in names:
        parameters += [f"{name}p", *(f"{name}s{axis}" for axis in _AXES)]
    once, each, wide, taken = [], [], [], []
    for name, kind in zip(names, kinds, strict=True):
        strides = " + ".join(f"i{axis} * {name}s{axis}" for axis in _AXES[:-1])
        once.append(f"{name}a = {name}p + ({strides}) * {SIZES[kind[:-1]]}")
        if name == "y":
            continue
        load = f"{name} = load_{kind[:-1]}({name}a, {{}})"
        if kind[-1] == "s":
            once.append(load.format("0"))
        elif kind[-1] == "v":
            each.append(load.format("j"))
            wide.append(f"{name}_all = load_{kind[:-1]}_{count}({name}a, j)")
            taken.append(f"{name} = {name}_all[{{0}}]")
        else:
            each.append(load.format(f"j * {name}s3"))
            taken.append(load.format(f"(j + {{0}}) * {name}s3"))
    stored = kinds[0][:-1]
    place = "j" if kinds[0][-1] == "v" else "j * ys3"
    number = _COMPUTED.get(stored, stored)
    result = "cast_u8(result != 0)" if stored == "b8" else f"cast_{number}(result)"
    each += [*statements.lines, f"store_{stored}(ya, {place}, {result})"]
    for i in range(count):
        computed = [*(line.format(i) for line in taken), *statements.lines]
        if kinds[0][-1] == "v":
            wide += [*computed, f"y{i} = {result}"]
        else:
            wide += [*computed, f"store_{stored}(ya, (j + {i}) * ys3, {result})"]
    if kinds[0][-1] == "v":
        together = ", ".join(f"y{i}" for i in range(count))
        wide.append(f"store_{stored}_{count}(ya, j, ({together}))")
    aligned = [
        f"{name}a % {min(16, count * SIZES[kind[:-1]])} == 0"
        for name, kind in zip(names, kinds, strict=True)
        if kind[-1] == "v"
    ]
    return "\n".join(
        [
            f"def body({', '.join(parameters)}, status):",
            "    first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y",
            "    column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x",
            "    step = cuda.gridDim.x * cuda.blockDim.x",
            "    for row in range(first, d0 * d1 * d2, cuda.gridDim.y * cuda.blockDim.y):",
            "        i2, i1, i0 = row % d2, row // d2 % d1, row // (d2 * d1)",
            *(f"        {line}" for line in once),
            f"        done = d3 // {count} * {count} if {' and '.join(aligned or ['True'])} else 0",
            f"        for j in range(column * {count}, done, {count} * step):",
            *(f"            {line}" for line in wide),
            "        for j in range(done + column, d3, step):",
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
    kinds = operands.split()
    count = _together(kinds)
    scope: dict[str, Any] = {"cuda": cuda, "np": np, **memory.SCOPE, **numbers.SCOPE}
    for kind in {kind[:-1] for kind in kinds if kind[-1] == "v"}:
        own = memory.several(kind, count)
        scope |= {f"load_{kind}_{count}": own[0], f"store_{kind}_{count}": own[1]}

    def launch(f: Fields, limits: Limits) -> Launch:
        return over_rows(f["d0"] * f["d1"] * f["d2"], -(-f["d3"] // count), limits)

    define(source, scope)
    body = scope["body"]
    body.__module__, body.__qualname__ = __name__, "pointwise"
    names = _names(operands)
    return Body(body, launch, lambda fields: _merged(fields, names))
