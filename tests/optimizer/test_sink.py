"""Ifs whose branches give results of different ranks take what reads these into the branches."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from sardonyx.importers import load
from sardonyx.optimizer.report import Report
from sardonyx.optimizer.sink import sink_into_branches

HEAD = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,3] x, float t) => (OUTPUTS) {
    zero = Constant<value_float=0.0>() one = Constant<value_ints=[1]>()
    c = Greater(t, zero) a = Neg(x)
    y, k = If (c) <
        then_branch = th () => (float[K,3] w, float[N,3] p) { w = Concat<axis=0>(a, x) p = Exp(x) },
        else_branch = el () => (float[Q] q, float[N,3] r) {
            q = ReduceSum<keepdims=0>(a, one) r = Abs(a) }>
"""
REJOINS = "f = Exp(y) g1 = Tanh(f) h = Mul(f, g1) s = ReduceSum<keepdims=0>(h) z = Add(s, x)"
READS_OTHERS = """e = Sqrt(k) u = ReduceMax<keepdims=0>(e)
    late = Mul(x, x) top = ReduceMax<keepdims=0>(late)
    f = Mul(y, u) g1 = Add(f, top) s = ReduceSum<keepdims=0>(g1) z = Mul(s, e) v = Neg(k)"""
STAYS_OPEN = "f = Exp(y) z = Tanh(f) v = Neg(f)"


def parsed(nodes: str, *outputs: str) -> bytes:
    text = HEAD.replace("OUTPUTS", ", ".join(f"float {name}" for name in outputs))
    model = onnx.parser.parse_model(f"{text}    {nodes}\n}}")
    for value in model.graph.output:  # of whatever rank
        value.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


def check(model: bytes, hosts: list[str]) -> None:
    """Compare with onnxruntime, and name the host steps that are left."""
    session = sardonyx.Session(model, threads=1)
    assert [host.op_type for host in session.engine.program.host_steps] == hosts
    other = onnxruntime.InferenceSession(model)
    rng = np.random.default_rng(0)
    for rows, t in ((2, 1.0), (5, -1.0), (2, -1.0), (4, 2.0), (0, 1.0)):
        if not rows and "ReduceMax" in str(model):
            continue
        x = rng.normal(size=(rows, 3)).astype(np.float32)
        feeds = {"x": x, "t": np.array(t, np.float32)}
        for got, want in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_nodes_move_until_ranks_agree() -> None:
    """The sum has one rank in both branches, and so what follows stays outside."""
    model = parsed(REJOINS, "z")
    check(model, [])
    loaded = load(model)
    assert sink_into_branches(loaded, Report()) == 1
    left = [node.op_type for node in loaded.graph]
    assert left[-2:] == ["If", "Add"] and not {"Exp", "Tanh", "ReduceSum"} & set(left)


def test_what_moved_nodes_read_of_other_results_moves_along() -> None:
    check(parsed(READS_OTHERS, "z", "e", "v"), [])


def test_results_of_a_rank_that_stays_open_leave_one_host_step() -> None:
    check(parsed(STAYS_OPEN, "z", "v", "y"), ["If"])


@pytest.mark.parametrize(
    "nodes",
    [
        # A body reads the result; nodes that would move have bodies of their own.
        """z = If (c) <then_branch = t2 () => (float m) { m = ReduceSum<keepdims=0>(y) },
            else_branch = e2 () => (float n) { n = Identity(t) }>""",
        """f = Exp(y) n = Constant<value_int=2>() z = Loop (n, , f) <body = b
            (int64 i, bool d, float o) => (bool e, float l) { e = Identity(d) l = Neg(o) }>""",
    ],
)
def test_bodies_are_left_alone(nodes: str) -> None:
    assert sink_into_branches(load(parsed(nodes, "z")), Report()) == 0


def test_ifs_that_inputs_decide_alone_are_for_variants() -> None:
    """Sizes, and integers among the inputs: a program for certain ones has no If."""
    for condition in (
        "one1 = Shape(x) n = Size(x) three = Constant<value_int=9>() c = Less(n, three)",
        "c = Cast<to=9>(i)",
    ):
        text = HEAD.replace("OUTPUTS", "float z").replace("float t", "int64 i")
        text = text.replace("c = Greater(t, zero)", condition)
        model = onnx.parser.parse_model(f"{text}    {REJOINS}\n}}")
        assert sink_into_branches(load(model), Report()) == 0
