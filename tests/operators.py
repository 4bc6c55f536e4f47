"""Which operators have a kernel for which element types: ``python -m tests.operators``.

Writes docs/operators.md from the table of operators (``runtime/ops``): each operator is lowered on
drawn cases of each type, and what the shape rules say is counted. Nothing is compiled or run.
"""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import sardonyx
from sardonyx.runtime.lowering import lower
from sardonyx.runtime.ops import OPERATORS, has_kernel
from sardonyx.runtime.sources import opened

from .reference.drawing import Case, Draw, element_type
from .reference.every_draw import DRAWN
from .reference.modelling import node_model, typed

FILE = Path(__file__).parents[1] / "docs" / "operators.md"
CASES = 3
TRIES = 12
TYPES = """float32 float16 bfloat16 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64
bool""".split()  # noqa: SIM905
WEIGHTS = {"W", "R", "B"}
"""Names that the standard gives to weights."""
SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "bool": "b"}
SIGNS = {"kernel": "●", "some": "◐", "host": "○"}
TEXT = """# Operators

Written by `python -m tests.operators`; a test compares it with the table of operators
(`runtime/ops`). Each operator is lowered, with the default precision, on drawn cases of each
element type of its first input: ● all have kernels, ◐ some, ○ none, and run on the host, in Python;
· is no type of the operator, or not drawn. Cases draw attributes, shapes, optional inputs and
versions, so that ◐ often stands for a rare attribute; the reason of most of those on the host is
beside. Weights, numbers and lists of sizes are constants.
"""


class TypedDraw(Draw):
    """A generator of cases of one element type, where the operator has it."""

    wanted: np.dtype[Any]

    def kind(self, variable: str | None = None, leave: str = "OUSc") -> np.dtype[Any]:
        """Return the wanted type for the first input's variable, else any."""
        if variable in (None, self.schema.inputs[typed_input(self)].type_str):
            return self.wanted
        return super().kind(variable, leave)


def allowed(draw: Draw, index: int) -> list[str]:
    """Names of the element types that an input may have."""
    variable = draw.schema.inputs[index].type_str
    texts = [variable]
    for constraint in draw.schema.type_constraints:
        if constraint.type_param_str == variable:
            texts = list(constraint.allowed_type_strs)
    kinds = {kind.name for text in texts if (kind := element_type(text)) is not None}
    return [name for name in TYPES if name in kinds]


def typed_input(draw: Draw) -> int:
    """Return the first input of several types; of a condition there is but one."""
    several = [i for i in range(len(draw.schema.inputs)) if len(allowed(draw, i)) > 1]
    return several[0] if several else 0


def types_of(draw: Draw) -> list[str]:
    """Names of the element types that an operator's typed input may have."""
    return allowed(draw, typed_input(draw)) if draw.schema.inputs else []


def cases_of(domain: str, name: str, kind: str) -> Iterator[tuple[Draw, Case]]:
    """Yield drawn cases whose typed input is of a type."""
    wanted = np.dtype(getattr(ml_dtypes, kind, kind))
    found = 0
    for number in range(TRIES):
        draw = TypedDraw([number, zlib.crc32(name.encode())], name, domain)
        draw.wanted = wanted
        if kind not in types_of(draw):
            continue
        case = DRAWN[domain, name](draw)
        index = typed_input(draw)
        first = case.inputs[index] if index < len(case.inputs) else None
        if any(isinstance(value, list) for value in case.inputs):
            continue  # sequences stay on the host
        if not isinstance(first, np.ndarray) or first.dtype != wanted or not first.size:
            continue
        if first.ndim or not any(np.ndim(value) for value in case.inputs):
            yield draw, case
            found += 1
        if found == CASES:
            return


def model_of(draw: Draw, case: Case) -> onnx.ModelProto:
    """A model of a case, in which lists of sizes and single numbers are constants."""

    def port(index: int, name: str, value: np.ndarray) -> onnx.ValueInfoProto | None:
        formal = draw.schema.inputs[min(index, len(draw.schema.inputs) - 1)].name
        if index and (value.ndim < 2 or formal in WEIGHTS):
            return None
        return typed(name, value, lambda: False)

    return node_model(draw, case, port)


def reason_of(model: onnx.ModelProto) -> str:
    """Why a node of a model runs on the host; empty if none does."""
    options = {"precision": "fp32", "optimize": "basic", "choices": {}}
    with opened(model.SerializeToString(), options) as source:
        program = lower(source.optimized(), source.options)
    return next(iter(program.metadata["host"].values()), "")


def has_row(domain: str, name: str) -> bool:
    """Tell whether an operator has an element type that the table has a column for."""
    return (domain, name) in DRAWN and bool(types_of(Draw(0, name, domain)))


def rows(domain: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield each drawn operator of a domain: its name, a sign for each type, and a reason."""
    for own, name in sorted(DRAWN):
        if own != domain or not has_row(own, name):
            continue
        signs, reasons = {}, Counter[str]()
        for kind in TYPES:
            found = Counter[bool]()
            for draw, case in cases_of(domain, name, kind):
                try:
                    reason = reason_of(model_of(draw, case))
                except sardonyx.SardonyxError:
                    continue  # a case that no model may have
                found[not reason] += 1
                reasons.update([reason] if reason else [])
            if found:
                signs[kind] = "some" if len(found) > 1 else "kernel" if found[True] else "host"
        if signs:
            yield name, signs, reasons.most_common(1)[0][0] if reasons else ""


def short(kind: str) -> str:
    """Name of a type as the table has it."""
    word = kind.rstrip("0123456789")
    return SHORT[word] + kind[len(word) :]


def table(domain: str) -> Iterator[str]:
    """Yield the lines of a domain's table."""
    yield f"| operator | {' | '.join(map(short, TYPES))} | on the host |"
    yield "|---" + "|:-:" * len(TYPES) + "|---|"
    for name, signs, reason in rows(domain):
        cells = " | ".join(SIGNS[signs[kind]] if kind in signs else "·" for kind in TYPES)
        yield f"| {name} | {cells} | {reason} |"


def others() -> Iterator[str]:
    """Yield a line for each domain, of operators that have a kernel and are not drawn.

    Those that tests of this process have registered, which have a number, are left out.
    """
    built_in = [key for key in OPERATORS if "#" not in key[1]]
    for domain in sorted({domain for domain, _ in built_in}):
        names = [name for own, name in built_in if own == domain and not has_row(own, name)]
        names = sorted(name for name in names if has_kernel(domain, name))
        if names:
            yield f"- {domain or 'the standard'}: {', '.join(names)}"


def text() -> str:
    """Return what docs/operators.md holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = [
            TEXT, "## The standard domain", "", *table(""), "", "## ai.onnx.ml", "",
            *table("ai.onnx.ml"), "", "## Kernels of other operators", "", *others(), "",
        ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    FILE.write_text(text())
