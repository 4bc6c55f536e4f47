"""What onnxruntime and the operators of `sardonyx.reference` give for a drawn case."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator
from sardonyx.reference import OPERATORS

from .drawing import HALVES, Case, Draw, every_version
from .modelling import constant, node_model, untyped

CHANGED = {("Softmax", 13), ("LogSoftmax", 13), ("Hardmax", 13), ("BatchNormalization", 14)}
SUPPORTED = 7  # opset that onnxruntime begins at
IGNORED = {"consumed_inputs"}  # what the first versions said to be overwritten
PLAIN = "fiub"  # kinds of numpy's own numbers
NEXT = {  # types that onnxruntime may have instead, which hold the same values
    "float16": ["float32"], "bfloat16": ["float32"], "float64": ["float64", "float32"],
    "int8": ["int32", "int64", "float32"], "int16": ["int32", "int64", "float32"],
    "uint8": ["int32", "int64", "float32"], "uint16": ["int32", "int64", "float32"],
    "uint32": ["int64", "float64", "float32"], "uint64": ["int64", "float64", "float32"],
    "int32": ["int64", "float64", "float32"], "int64": ["int32", "float64", "float32"],
    "bool": ["int32", "float32"], "float32": ["float64"],
}  # fmt: skip


def ours(draw: Draw, case: Case) -> list[Any]:
    """Results of our operators; inputs that are written to raise."""
    return reference(draw, case, OPERATORS)


def reference(draw: Draw, case: Case, operators: Sequence[type[Any]] | None = None) -> list[Any]:
    """Results of onnx's reference implementation, with operators that replace some of its own."""
    model = node_model(draw, case, untyped)
    feeds: dict[str, Any] = {}
    for index, value in enumerate(case.inputs):
        if value is None:
            continue
        feeds[f"x{index}"] = [v.copy() for v in value] if isinstance(value, list) else value.copy()
        for array in feeds[f"x{index}"] if isinstance(value, list) else [feeds[f"x{index}"]]:
            array.flags.writeable = False
    return ReferenceEvaluator(model, new_ops=operators).run(None, feeds)


def onnxruntimes(draw: Draw, case: Case) -> tuple[list[Any] | None, str]:
    """Results of onnxruntime, in the case's types and version or others of the same values.

    None, and why, where it has no such kernel.
    """
    why = ""
    for opset in [draw.opset, *_alike(draw.name, draw.domain, draw.version)]:
        for inputs in _in_other_types(case):
            try:
                same = replace(case, inputs=inputs)
                return _run(node_model(draw, same, constant, opset)), ""
            except Exception as error:
                why = why or str(error)
    return None, why


def _run(model: onnx.ModelProto) -> list[Any]:
    """Run a model without inputs; results of types that numpy lacks come as float32."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type for value in inferred.graph.output}
    for index, value in enumerate(model.graph.output):
        code = kinds[value.name].tensor_type.elem_type
        if code and helper.tensor_dtype_to_np_dtype(code).kind not in PLAIN + "O":
            cast = helper.make_node("Cast", [value.name], [f"z{index}"], to=onnx.TensorProto.FLOAT)
            model.graph.node.append(cast)
            value.name = f"z{index}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {})


@functools.cache
def _alike(name: str, domain: str, version: int) -> list[int]:
    """Other versions that differ from one by their types at most, the nearest first.

    Later ones for those before `SUPPORTED`, which onnxruntime does not have.
    """
    versions = every_version(name, domain)
    if version < SUPPORTED and not domain:
        steps = [v for v in versions if v > version]
    else:
        steps = [v for v in reversed(versions) if v < version]
    schema = onnx.defs.get_schema(name, version, domain)
    found: list[int] = []
    for other, last in zip(steps, [version, *steps], strict=False):
        then = onnx.defs.get_schema(name, other, domain)
        same = then.attributes.keys() - IGNORED == schema.attributes.keys() - IGNORED
        changed = (name, max(other, last)) in CHANGED
        if not same or len(then.inputs) != len(schema.inputs) or changed or then.deprecated:
            break
        found.append(other)
    return found


def _in_other_types(case: Case) -> list[list[Any]]:
    kinds = {v.dtype.name for v in case.inputs if isinstance(v, np.ndarray)}
    attempts = [] if not case.exact and kinds & {k.name for k in HALVES} else [case.inputs]
    if case.exact:
        return attempts
    for step in range(3):
        other = []
        for value in case.inputs:
            if isinstance(value, np.ndarray) and value.dtype.name in NEXT:
                choices = NEXT[value.dtype.name]
                if value.dtype.kind == "f" or value.dtype in HALVES or step:
                    value = value.astype(choices[min(step, len(choices) - 1)])
            other.append(value)
        attempts.append(other)
    return attempts


def difference(wanted: Any, found: Any, case: Case) -> str:
    """What differs between two results of one output; empty when nothing does."""
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(wanted) != len(found):
            return f"sequence {found!r}, wanted {wanted!r}"
        return "; ".join(filter(None, map(difference, wanted, found, [case] * len(found))))
    if isinstance(wanted, dict):
        return "" if wanted == found else f"{found}, wanted {wanted}"
    if not isinstance(found, np.ndarray):
        return f"a {type(found).__name__}"
    wanted = np.asarray(wanted)
    if wanted.shape != found.shape:
        return f"shape {found.shape} {found.dtype}, wanted {wanted.shape} {wanted.dtype}"
    if "O" in (wanted.dtype.kind, found.dtype.kind):
        a, b = wanted.reshape(-1).tolist(), found.reshape(-1).tolist()
        return "" if a == b else f"{b}, wanted {a}"
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    if found.dtype.kind in "iub" and wanted.dtype.kind in "iub":
        wanted = wanted.astype(found.dtype)  # sums wrap
        bad = np.abs(a - b) > case.absolute if case.absolute else wanted != found
        return _shown(a, b, bad) if bad.any() else ""
    with np.errstate(all="ignore"):
        if found.dtype != wanted.dtype:  # as a result of the narrower type would be
            a = wanted.astype(found.dtype).astype(np.float64)
        limit = case.tolerance + max(_step(found.dtype), _step(wanted.dtype))
        finite = np.isfinite(a)
        scale = np.max(np.abs(a), initial=0.0, where=finite) if a.size else 0.0
        bad = ~np.isclose(
            b, a, rtol=limit, atol=limit * max(scale, 1e-6) + case.absolute, equal_nan=True
        )
    return _shown(a, b, bad) if bad.any() else ""


def _step(kind: np.dtype[Any]) -> float:
    sizes = {"float16": 1.5e-3, "bfloat16": 1e-2, "float32": 2e-5, "float64": 1e-9}
    return sizes.get(kind.name, 0.0)


def _shown(a: np.ndarray, b: np.ndarray, bad: np.ndarray) -> str:
    at = np.flatnonzero(bad.reshape(-1))
    where = int(at[0])
    return (
        f"{len(at)} of {bad.size} differ, [{where}] is {b.reshape(-1)[where]!r}, "
        f"wanted {a.reshape(-1)[where]!r}"
    )
