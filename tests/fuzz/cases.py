"""What becomes of a case: results as onnxruntime's, a refusal, or a fault.

A case is a model of one node (``nodes``) or a random graph (``graphs``), made of its number. It is
run in guard mode, on both sides in turn, with one and with two threads in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import sardonyx
from onnx.reference import ReferenceEvaluator
from sardonyx.runtime import program_cache

from ..guard import SIDES, guarded
from .control import CONTROL
from .graphs import Feeds, random_graph
from .motifs import MOTIFS
from .nodes import random_node

TOLERANCE = 2e-3
"""Of the largest value: Winograd's forms round more than others."""
RAN, REFUSED, SKIPPED = "ran", "refused", "not for onnxruntime"


class Fault(Exception):
    """A case that went wrong; says how."""


def _reference(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def differences(found: Sequence[Any], wanted: Sequence[Any], tolerance: float = TOLERANCE) -> str:
    """Say which results differ; an empty text when none does."""
    if len(found) != len(wanted):
        return f"{len(found)} results, not {len(wanted)}"
    for index, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"result {index}: {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if a.dtype.kind not in "fc":
            if not np.array_equal(a, b):
                return f"result {index}: other values"
            continue
        largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
        if not np.allclose(a, b, tolerance, tolerance * max(largest, 1e-3), equal_nan=True):
            error = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
            return f"result {index}: error {error:.3g} of {largest:.3g}"
    return ""


def control_graph(number: int) -> tuple[onnx.ModelProto, list[Feeds]]:
    """Make a random graph with bodies."""
    return random_graph(number, (*MOTIFS[::3], *CONTROL))


def graph_case(number: int) -> str:
    """Run a random graph twice for each of its feeds.

    Raises
    ------
    Fault
        A result differs, changes later, or an exception is none of ours.
    """
    return _case(number, *random_graph(number))


def control_case(number: int) -> str:
    """Do so with a random graph with bodies."""
    return _case(number, *control_graph(number))


def _case(number: int, model: onnx.ModelProto, feeds: Sequence[Feeds]) -> str:
    try:
        reference = _reference(model)
    except Exception:
        return SKIPPED
    level = ("all", "none", "all", "basic")[number // 4 % 4]
    with guarded(SIDES[number % 2]):
        try:
            session = sardonyx.Session(model, threads=1 + number // 2 % 2, optimize=level)
            return _compared(session, reference, feeds)
        except sardonyx.SardonyxError as error:
            if _is_refused_by_reference(model, feeds):
                return REFUSED
            raise Fault(f"{type(error).__name__}: {error}") from error


def _is_refused_by_reference(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> bool:
    """Tell whether onnx's own reference implementation refuses one of the runs, too.

    onnxruntime takes some that the standard has no meaning for, such as a Concat of an empty
    tensor with others of another size.
    """
    try:
        evaluator = ReferenceEvaluator(model)
        for feed in feeds:
            evaluator.run(None, feed)
    except Exception:
        return True
    return False


def _compared(
    session: sardonyx.Session, reference: onnxruntime.InferenceSession, feeds: Sequence[Feeds]
) -> str:
    earlier: list[tuple[list[np.ndarray], list[bytes]]] = []
    outcome = SKIPPED
    for feed in [*feeds, feeds[0]]:
        try:
            wanted = reference.run(None, feed)
        except Exception:
            continue  # sizes that the graph cannot have
        found = session.run(None, feed)
        if any(map(_is_window_beyond_image, found, wanted)):
            continue
        if text := differences(found, wanted):
            raise Fault(f"{text} with {[list(array.shape) for array in feed.values()]}")
        earlier.append((found, [array.tobytes() for array in found]))
        outcome = RAN
    for arrays, contents in earlier:
        if [array.tobytes() for array in arrays] != contents:
            raise Fault("a later run changed a result")
    return outcome


def _is_window_beyond_image(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Tell whether results have no pixels where onnxruntime has one.

    The standard rounds (image - window) / stride down, onnxruntime towards zero: where a window is
    larger than an image by less than its stride, it has one pixel instead of none.
    """
    pairs = list(zip(found.shape, wanted.shape, strict=False))
    return (0, 1) in pairs and all(a == b or (a, b) == (0, 1) for a, b in pairs)


# --- models of one node ---------------------------------------------------------------------------

RANDOM = {
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
UNDEFINED = {
    "BitShift", "Cast", "CastLike", "Celu", "DFT", "Div", "Hardmax", "Mod", "NonZero", "Pow",
    "STFT",
}  # fmt: skip
"""Operators of which the standard leaves some results open: of division by zero, for example.

Of NonZero it says what a scalar gives, (0, n), where onnxruntime has (1, n).
"""
ABORTS = {"Unique"}
"""Operators of which onnxruntime 1.32 ends the process for tensors without elements."""
OVERFLOWS = {"ReduceL1", "ReduceL2", "ReduceProd", "ReduceSumSquare"}
"""Operators that onnxruntime computes in floats where the elements are integers."""
RAW = (
    "AttributeError", "AssertionError", "IndexError", "KeyError", "MemoryError", "OverflowError",
    "RecursionError", "RuntimeError", "TypeError", "UnboundLocalError", "ZeroDivisionError",
)  # fmt: skip


def node_case(number: int) -> str:
    """Run a model of one node, whatever it says.

    Raises
    ------
    Fault
        A result differs from onnxruntime's, or an exception is none of ours.
    """
    model, feeds = random_node(number)
    node = model.graph.node[0]
    with guarded(SIDES[number % 2]):
        try:
            session = sardonyx.Session(model, threads=1 + number // 2 % 2)
            found = session.run(None, feeds)
        except sardonyx.SardonyxError as error:
            if any(f"{name}(" in str(error) for name in RAW):
                raise Fault(f"{node.op_type}: {error}") from error
            return REFUSED
    if node.op_type in ABORTS:
        return RAN
    try:
        wanted = _reference(model).run(None, feeds)
    except Exception:
        return SKIPPED
    is_integer = found[0].dtype.kind in "iu"
    if node.op_type in RANDOM | UNDEFINED or (is_integer and node.op_type in OVERFLOWS):
        return RAN
    if text := differences(found, wanted):
        raise Fault(f"{node.op_type}: {text}")
    return RAN


CASES: dict[str, Callable[[int], str]] = {
    "control": control_case,
    "graphs": graph_case,
    "nodes": node_case,
}
MODELS: dict[str, Callable[[int], tuple[onnx.ModelProto, Any]]] = {
    "control": control_graph,
    "graphs": random_graph,
    "nodes": random_node,
}


def without_cache(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Keep no program of a case on disk."""
    replace(program_cache, "save_program", lambda *_: False)
