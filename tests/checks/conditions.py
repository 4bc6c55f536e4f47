"""Notes of differences from the specification, and conditions that they hold under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from ..reference.drawing import Case, Draw
from .changes import is_float

ONNX, ORT = "onnx.reference", "onnxruntime"
OWN = "sardonyx.reference"
ALL = (ONNX, ORT, OWN)
When = Callable[[Draw, Case, str], bool]


@dataclass(frozen=True)
class Note:
    """A difference: of which operators and witnesses, what the specification has, and when."""

    operators: str
    witnesses: str | tuple[str, ...]
    reason: str
    when: When = lambda draw, case, check: True


def in_checks(*names: str) -> When:
    return lambda draw, case, check: check in names


def given(index: int) -> When:
    return lambda draw, case, check: len(case.inputs) > index and case.inputs[index] is not None


def has(name: str) -> When:
    return lambda draw, case, check: name in case.attributes


def lacks(name: str) -> When:
    return lambda draw, case, check: name not in case.attributes


def is_integer(draw: Draw, case: Case, check: str) -> bool:
    return case.inputs[0].dtype.kind in "iu"


def casts_to(case: Case) -> np.dtype:
    """Return the type that a Cast or CastLike gives; strings are objects."""
    code = case.attributes.get("to")
    if isinstance(code, str):  # its name, in the first version
        code = TensorProto.DataType.Value(code)
    return case.inputs[1].dtype if code is None else tensor_dtype_to_np_dtype(code)


def may_overflow(draw: Draw, case: Case, check: str) -> bool:
    return check in ("extremes", "integer overflow") and is_integer(draw, case, check)


def pads_differ(draw: Draw, case: Case, check: str) -> bool:
    pads = case.attributes.get("pads", ())
    return pads[: len(pads) // 2] != pads[len(pads) // 2 :]


def is_empty(draw: Draw, case: Case, check: str) -> bool:
    return any(np.size(value) == 0 for value in case.inputs if value is not None)


def is_finite(value: Any) -> bool:
    """Tell whether an input has neither NaN nor infinities; strings have none."""
    array = np.asarray(value)
    return array.dtype.kind == "O" or bool(np.isfinite(array.astype(np.float64)).all())


def is_double(draw: Draw, case: Case, check: str) -> bool:
    return case.inputs[0].dtype == np.float64


def is_dilated_without_pads(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether a window with gaps has ``auto_pad`` VALID."""
    dilations = case.attributes.get("dilations", ())
    return case.attributes.get("auto_pad") == "VALID" and any(step > 1 for step in dilations)


def starts_before_the_first(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether a Slice counts down from before an axis."""
    x, starts, _, axes, steps = (*case.inputs, *[None] * 5)[:5]
    if x is None or starts is None or steps is None or len(starts) != len(steps):
        return False
    places = range(len(starts)) if axes is None else axes
    rows = [row for row in zip(starts, places, steps, strict=False) if -x.ndim <= row[1] < x.ndim]
    return any(step < 0 and start < -x.shape[axis] for start, axis, step in rows)


def makes_integers_of_nan(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether NaN may be quantized to an integer."""
    kinds = [value.dtype.name for value in case.inputs if value is not None]
    if any(kind.startswith(("float8", "float4")) for kind in kinds):
        return False
    scales = [v for v in case.inputs[1:] if v is not None and is_float(v.dtype)]
    return check == "NaN" or not all(is_finite(scale) and scale.all() for scale in scales)


def has_large_quotients(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether a number may have more units of its scale than int32 or a half holds."""
    x, scale = (np.abs(value.astype(np.float64)) for value in case.inputs[:2])
    limit = min(2**30, float(ml_dtypes.finfo(case.inputs[1].dtype).max))
    return bool(x.size and scale.size and not x.max() < limit * scale.min())


NAN = in_checks("NaN")
NOT_FINITE = in_checks("NaN", "infinities")
ZEROS = in_checks("signed zeros")
