"""Sizes worked out by Python's integers: what compiled evaluation is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sardonyx.kernels.abi import OVERFLOW, SCALE
from sardonyx.kernels.compiler import native_function
from sardonyx.runtime.size_code import Code
from sardonyx.runtime.symbolic import Dim
from sardonyx.runtime.team import executor_function

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "div": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "min": min,
    "max": max,
    "broadcast": lambda a, b: b if a == 1 else a,
    "scaled": lambda a, b: int(np.floor(np.float32(a) * np.float32(b / SCALE))),
    "bound": lambda a, b: min(max(a + b if a < 0 else a, 0), b),
}


def exact(value: Dim, sizes: Mapping[str, int], known: dict | None = None) -> int:
    """Value of an expression for sizes of the model's symbols, of any magnitude."""
    if isinstance(value, int):
        return value
    known = {} if known is None else known
    if value not in known:
        total = 0
        for monomial, factor in value.terms:
            for atom in monomial:
                operands = [exact(operand, sizes, known) for operand in atom.operands]
                if atom.kind == "symbol":
                    factor *= sizes[atom.symbol.removeprefix("model:")]
                elif atom.kind in ("whole", "ne1"):
                    factor *= operands[0] if atom.kind == "whole" else int(operands[0] != 1)
                else:
                    first, *others = operands
                    for other in others:
                        first = OPERATIONS[atom.kind](first, other)
                    factor *= first
            total += factor
        known[value] = total
    return known[value]


def compiled(value: Dim, sizes: Mapping[str, int]) -> int:
    """Value of an expression as compiled code gives it, ``OVERFLOW`` included."""
    code = Code()
    slot = code.slot(value)
    table = np.array(code.instructions, np.int64).reshape(-1, 4)
    symbols = np.array([sizes[name.removeprefix("model:")] for name in code.symbols], np.int64)
    values = np.zeros(len(table), np.int64)
    record = np.array(
        [table.ctypes.data, len(table), symbols.ctypes.data, values.ctypes.data], np.int64
    )
    beyond = native_function(executor_function("evaluate"))(record.ctypes.data)
    assert beyond == (OVERFLOW in values)
    return int(values[slot])
