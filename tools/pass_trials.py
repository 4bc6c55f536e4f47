"""Trials of steps beside products: widened weights, transpositions and pooled planes.

Their costs are terms of `costs.VectorCosts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from ..kernels.compiler import native_function
from ..kernels.costs import Costs, VectorCosts
from ..kernels.registry import Pointer, kernel_factory
from ..kernels.simd import fma, splat, vload, vstore
from ..kernels.target import LANES
from ..kernels.vector_memory import VECTOR_MEMORY
from ..runtime.engine import Engine
from ..runtime.ops.planes import row_vectors
from ..runtime.options import checked_options
from ..runtime.program_cache import open_program
from .vector_trials import ROUNDS, VECTORS

ROWS = 4
"""Products of a vector of weights that is widened once (``cpu.packed_rows``)."""
_TURNED = 64, 56
"""Channels, and rows and columns of pixels of an image that the second-level cache holds twice."""
_POOLED = 64, 14
"""Planes, and their rows and columns: a row is one vector, so what else it takes counts."""
_WINDOW, _STEP = 7, 2  # of more than the few rows that another kernel takes


@kernel_factory
def products(source: str) -> Callable[..., int]:
    """Multiply ``n`` vectors of x, widened, by `ROWS` numbers each, ``rounds`` times."""
    load = VECTOR_MEMORY[source][0]

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, n: int, rounds: int
    ) -> int:
        one, n_lanes = splat(np.float32(1.0)), LANES
        # Sums of their own, which the compiler does not take for one.
        a, b, c, d = vload(y, 0), vload(y, n_lanes), vload(y, 2 * n_lanes), vload(y, 3 * n_lanes)
        e, f, g, h = (
            vload(y, 4 * n_lanes), vload(y, 5 * n_lanes), vload(y, 6 * n_lanes),
            vload(y, 7 * n_lanes),
        )  # fmt: skip
        for _ in range(rounds):
            for at in range(0, LANES * n, 2 * LANES):
                v, w = load(x, at), load(x, at + LANES)
                a, b, c, d = fma(v, one, a), fma(v, one, b), fma(v, one, c), fma(v, one, d)
                e, f, g, h = fma(w, one, e), fma(w, one, f), fma(w, one, g), fma(w, one, h)
        vstore(y, 0, a + b + c + d + e + f + g + h)
        return 0

    return body


def product_runs() -> dict[str, Callable[[], Any]]:
    """Return what multiplies `VECTORS` vectors of float32, and of float16, by `ROWS` some times."""
    return {kind: _run(kind) for kind in ("f32", "f16")}


def _run(kind: str) -> Callable[[], Any]:
    own, arrays = products(kind), {n: np.zeros(VECTORS * LANES, np.float32) for n in "xy"}
    record = own.record(**arrays, n=VECTORS, rounds=ROUNDS)
    call = native_function(own.address)

    def run(kept: Any = arrays) -> None:
        call(record.ctypes.data)

    return run


def pass_costs(costs: Costs, widened: float, rounded: float, per_ns: float) -> VectorCosts:
    """Run a transposition and a pooling of planes; what they take beside streams and vectors.

    Parameters
    ----------
    costs : Costs
        What is known of the machine.
    widened, rounded : float
        Coefficients that other trials tell.
    per_ns : float
        Multiply-adds of vectors in a nanosecond.
    """
    _, options = checked_options(1, "fp32", "none")
    program = open_program(_model(), options)
    engine = Engine(program, 1)
    feeds = {
        port.name: np.ones([dim for dim in port.dims or () if isinstance(dim, int)], np.float32)
        for port in program.inputs
    }
    times = {
        name: float(np.quantile(step.times_ns, 0.1))
        for step in engine.profile(feeds, runs=50, warmup=2).steps
        for name in step.nodes
    }
    channels, side = _TURNED
    elements = channels * side**2
    moved = 8 * elements * costs.streams.near
    turned = (times["turn"] * per_ns - moved) * LANES / elements
    planes, width = _POOLED
    out = (width - _WINDOW) // _STEP + 1
    row = times["pool"] * per_ns / (planes * out) - row_vectors(_WINDOW, width, _WINDOW, out)
    return VectorCosts(widened, rounded, *(round(max(each, 0.0), 2) for each in (turned, row)))


def _model() -> bytes:
    """Return a model of a transposition, and of maxima of planes."""
    sizes = {"turn": [1, _TURNED[0], _TURNED[1], _TURNED[1]],
             "pool": [_POOLED[0], 1, _POOLED[1], _POOLED[1]]}  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["turn x"], ["turn y"], "turn", perm=[0, 2, 3, 1]),
        helper.make_node("MaxPool", ["pool x"], ["pool y"], "pool", kernel_shape=[_WINDOW] * 2,
                         strides=[_STEP] * 2),
    ]  # fmt: skip
    kind = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(f"{n} x", kind, own) for n, own in sizes.items()]
    outputs = [helper.make_tensor_value_info(f"{n} y", kind, None) for n in sizes]
    graph = helper.make_graph(nodes, "passes", inputs, outputs)
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
