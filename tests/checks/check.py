"""The check of an operator: each of its versions, on drawn cases, in special settings.

`check_operator` runs what hypothesis draws of one version of an operator and what each named check
makes of it, and compares with onnx.reference and onnxruntime. Where an operator has no witness for
a case, the operators of `sardonyx.reference` are asked; a case that nobody runs may be refused.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import sardonyx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx.helper import tensor_dtype_to_np_dtype

from ..guard import SIDES, guarded
from ..reference.drawing import HALVES, Case, Draw
from ..reference.witness import difference, onnxruntimes, ours, reference
from . import changes
from .cases import LAYOUTS, Drawn, Setting, any_case
from .conditions import ONNX, ORT, OWN
from .notes import noted

COUNTS: Counter[str] = Counter()
"""Cases by what came of them."""
RAW = re.compile(
    r"\b(Attribute|Assertion|Index|Key|Memory|Overflow|Recursion|Runtime|Type|UnboundLocal"
    r"|ZeroDivision)Error\b"
)
"""Errors of Python, which no message of ours has."""


BY_CHANCE: dict[str, Any] = {
    "Bernoulli": np.float32, "Multinomial": np.int32, "RandomNormal": np.float32,
    "RandomNormalLike": np.float32, "RandomUniform": np.float32, "RandomUniformLike": np.float32,
}  # fmt: skip
"""Random operators, and the element type that a version gives where nothing says it."""


class Problem(AssertionError):
    """What is wrong with an operator."""


@dataclass(frozen=True)
class Check:
    """A named check: what it makes of a drawn case, and how that is run.

    ``refused``: for which cases an error must come; ``signs``: zeros have signs; ``reshapes``:
    shapes may be such that no model may have them, so that onnxruntime has to run them, too.
    """

    name: str
    change: changes.Change
    setting: Callable[[Draw], Setting] = lambda draw: Setting()
    refused: Callable[[Draw, Case], bool] = lambda draw, case: False
    signs: bool = False
    reshapes: bool = False


def _as_is(draw: Draw, case: Case) -> Case:
    return case


def _divides_integers(draw: Draw, case: Case) -> bool:
    return bool(changes.is_integer(case.inputs[0].dtype))


CHECKS = [
    Check("drawn", _as_is),
    Check("static sizes", _as_is, lambda draw: Setting(open=0)),
    Check("open sizes", _as_is, lambda draw: Setting(open=100)),
    Check("run-time inputs", _as_is, lambda draw: Setting(open=50, constants=0)),
    Check("constants", _as_is, lambda draw: Setting(constants=100)),
    Check("not contiguous", _as_is, lambda draw: Setting(30, 0, draw.pick(LAYOUTS))),
    Check("NaN", changes.nans),
    Check("infinities", changes.infinities),
    Check("signed zeros", changes.signed_zeros, signs=True),
    Check("extremes", changes.extremes),
    Check("integer overflow", changes.overflow),
    Check("division by zero", changes.division_by_zero, refused=_divides_integers),
    Check("empty", changes.empty, reshapes=True),
    Check("scalars", changes.scalars, reshapes=True),
    Check("negative axes", changes.negative_axes),
    Check("axes out of range", changes.axes_out_of_range, refused=lambda draw, case: True),
    Check("places out of range", changes.places_out_of_range, refused=lambda draw, case: True),
]


def check_operator(
    domain: str,
    name: str,
    version: int,
    cases: int = 2,
    checks: list[Check] = CHECKS,
    *,
    every_type: bool = False,
    shrinks: bool = False,
) -> None:
    """Check one version of an operator.

    Parameters
    ----------
    domain, name, version
        As onnx knows it; the model's opset is the version.
    cases
        Number of drawn cases; each is run by each check that applies.
    every_type
        Draw all element types, not only some that have kernels of their own.
    shrinks
        Look for the smallest case that fails, which takes a minute or more.

    Raises
    ------
    Problem
        A result differs from the standard's, an error is none of ours, or none came.
    """

    @settings(
        max_examples=cases, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
    )  # fmt: skip
    @given(st.data())
    def run(data: st.DataObject) -> None:
        draw = Drawn(data, name, domain, version, every_type=every_type)
        case = any_case(draw)
        for check in checks:
            changed = check.change(draw, case)
            if changed is not None:
                _checked(draw, changed, check)

    problem = ""
    with np.errstate(all="ignore"):
        try:
            run()
        except Problem as found:  # without all that hypothesis says of its draws
            problem = str(found)
    if problem:
        raise Problem(problem)


def _checked(draw: Draw, case: Case, check: Check) -> None:
    COUNTS["cases"] += 1
    setting = check.setting(draw)
    model, feeds = setting.model(draw, case)
    options = {"threads": draw.int(1, 2), "optimize": draw.pick(["none", "all"])}
    found, refusal = _outcome(model, feeds, options, draw.pick(SIDES))
    try:
        _judge(draw, case, check, found, refusal)
    except Problem as problem:
        shapes = [getattr(value, "shape", value) for value in case.inputs]
        kinds = [str(getattr(value, "dtype", "")) for value in case.inputs]
        given = [port.name for port in model.graph.input]
        raise Problem(
            f"{draw.name} {draw.version}, {check.name}: {problem}; {shapes} {kinds} "
            f"{case.attributes} {options} inputs {given}"
        ) from None


def _outcome(
    model: onnx.ModelProto, feeds: dict[str, Any], options: dict[str, Any], side: str
) -> tuple[list[Any] | None, str]:
    """Results of a run, or the text of the error that came."""
    try:
        with guarded(side):
            return sardonyx.Session(model, **options).run(None, feeds), ""
    except sardonyx.SardonyxError as error:
        return None, str(error)


def _judge(draw: Draw, case: Case, check: Check, found: list[Any] | None, refusal: str) -> None:
    if raw := RAW.search(refusal):
        raise Problem(f"an error of Python, {raw[0]}: {refusal}")
    if check.refused(draw, case):
        _must_be_refused(draw, found, refusal)
        return
    if draw.name in BY_CHANCE:
        _judge_chance(draw, case, check, found, refusal)
        return
    witnesses = dict(_witnesses(draw, case, check.name))
    if check.reshapes and (ORT not in witnesses or (found is None and len(witnesses) < 2)):
        COUNTS["of a shape without a witness"] += 1
        return
    if found is None:
        COUNTS["refused"] += 1
        if any(results is not None for results in witnesses.values()):
            raise Problem(f"refused, which {' and '.join(witnesses)} ran: {refusal}")
        return
    COUNTS["with a witness" if witnesses else "without a witness"] += 1
    problems = {
        witness: text
        for witness, results in witnesses.items()
        if (text := _differ(draw, results, found, case, check))
    }
    if problems:
        same = [witness for witness in witnesses if witness not in problems]
        among = (
            _differ(draw, *list(witnesses.values())[:2], case, check) if len(problems) == 2 else ""
        )
        raise Problem(f"{problems}, same as {same}, among them {among!r}")


def _judge_chance(
    draw: Draw, case: Case, check: Check, found: list[Any] | None, refusal: str
) -> None:
    """Look at shapes, types and limits of random numbers."""
    if found is None and check.reshapes:
        return
    if found is None:
        raise Problem(f"refused: {refusal}")
    COUNTS["by properties"] += 1
    x = case.inputs[0] if case.inputs else None
    shape = case.attributes["shape"] if x is None else list(x.shape)
    if draw.name == "Multinomial":
        shape = [shape[0], case.attributes.get("sample_size", 1)]
    code = case.attributes.get("dtype")
    default = x if x is not None and draw.name != "Multinomial" else BY_CHANCE[draw.name](())
    kind = np.asarray(default).dtype if code is None else tensor_dtype_to_np_dtype(code)
    y = found[0]
    if list(y.shape) != shape or y.dtype != kind:
        raise Problem(f"{y.dtype}{list(y.shape)}, not {kind}{shape}")
    low, high = case.attributes.get("low", 0.0), case.attributes.get("high", 1.0)
    if draw.name == "Multinomial":
        low, high = 0, x.shape[1] - 1
    if not draw.name.startswith("RandomNormal") and not ((low <= y) & (y <= high)).all():
        raise Problem(f"numbers that do not lie between {low} and {high}")


def _must_be_refused(draw: Draw, found: list[Any] | None, refusal: str) -> None:
    if found is not None:
        raise Problem("not refused")
    COUNTS["refused as it must be"] += 1
    if not re.search(r"\bnode '?node\b", refusal):
        raise Problem(f"no node in the error: {refusal}")
    if draw.name not in refusal:
        raise Problem(f"no operator in the error: {refusal}")


def _witnesses(draw: Draw, case: Case, check: str) -> Iterator[tuple[str, list[Any]]]:
    asked = 0
    for witness, results_of in ((ONNX, _references), (ORT, _onnxruntimes)):
        if noted(draw, case, check, witness):
            COUNTS[f"{witness} noted"] += 1
            continue
        try:
            results = results_of(draw, case)
        except Exception:
            continue
        if results is not None:
            asked += 1
            yield witness, results
    if not asked and not noted(draw, case, check, OWN):
        try:
            yield OWN, ours(draw, case)
        except Exception:
            return


def _references(draw: Draw, case: Case) -> list[Any]:
    """Results of onnx.reference: of halves, those of float32 rounded once.

    It rounds between steps, which the standard does not ask for.
    """
    halves = {i: v for i, v in enumerate(case.inputs) if getattr(v, "dtype", None) in HALVES}
    if not halves or case.exact:
        return reference(draw, case)
    wide = changes.with_inputs(case, {i: v.astype(np.float32) for i, v in halves.items()})
    return reference(draw, wide)


def _onnxruntimes(draw: Draw, case: Case) -> list[Any] | None:
    return onnxruntimes(draw, case)[0]


def _differ(draw: Draw, wanted: list[Any], found: list[Any], case: Case, check: Check) -> str:
    texts = [difference(a, b, case) for a, b in zip(wanted, found, strict=True)]
    if check.signs and changes.is_elementwise(draw) and not any(texts):
        texts = list(itertools.starmap(_other_signs, zip(wanted, found, strict=True)))
    return "; ".join(filter(None, texts))


def _other_signs(wanted: Any, found: Any) -> str:
    if not isinstance(wanted, np.ndarray) or not changes.is_float(wanted.dtype):
        return ""
    both = (wanted == 0) & (found == 0)
    bad = both & (np.signbit(wanted) != np.signbit(found))
    return f"{bad.sum()} zeros of the other sign" if bad.any() else ""
