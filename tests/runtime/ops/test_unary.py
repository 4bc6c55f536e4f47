"""Operators of one operand: vectors and numbers are computed from one expression."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser
from onnx.helper import make_node
from sardonyx.runtime.lowering import lower
from sardonyx.runtime.ops import OPERATORS
from sardonyx.runtime.ops.terms import Term, call, float32
from sardonyx.runtime.ops.unary import unary

from .test_elementwise import UNARY, node_of

FLOATS = [name for name, (types, _, _) in UNARY.items() if types[0] == "float32"]


@pytest.mark.parametrize("name", [n for n in FLOATS if n not in ("IsNaN", "IsInf")])
def test_vectors_and_numbers_agree(check, name):
    """A dense float32 operand is walked in vectors; a strided one, and float64, in numbers."""
    rng = np.random.default_rng(3)
    pairs = np.asarray(3 * rng.standard_normal((201, 2)), np.float32)
    pairs[5], pairs[6] = np.nan, 0
    if name not in ("Log", "Sqrt", "Acosh"):
        pairs[7:9] = [[np.inf], [-np.inf]]
    dense = {"x0": np.ascontiguousarray(pairs[:, :1])}
    (result,) = check([node_of(name)], dense).run(None, dense)
    bounds = {"zero": np.array([0]), "one": np.array([1])}
    column = make_node("Slice", ["x", "zero", "one", "one"], ["x0"])
    check([column, node_of(name)], {"x": pairs}, bounds, wanted=[[result]], tolerance=2e-5)
    if "float64" not in UNARY[name][0]:
        return
    double = {"x0": dense["x0"].astype(np.float64)}
    (exact,) = check([node_of(name)], double).run(None, double)
    np.testing.assert_allclose(exact, result, rtol=2e-5, atol=1e-6)


def test_an_entry_is_all_that_an_operator_needs(monkeypatch):
    monkeypatch.setitem(OPERATORS, ("", "Cubed"), OPERATORS["", "Exp"])  # removed afterwards
    unary("Cubed", lambda x, scale: scale * x * x * x, scale=0.5)
    text = '<ir_version: 10, opset_import: ["": 24]> g (float[n] x) => (y) { y = Cubed(x) }'
    program = lower(ir.from_proto(parser.parse_model(text)))
    assert [ref.parameters[0] for ref in program.kernels] == ["mul(mul(mul(0.5,x0),x0),x0)"]


def test_terms_are_written_as_calls():
    x = Term("x0")
    assert (0.5 * x * (1 + x)).text == "mul(mul(0.5,x0),add(1,x0))"
    assert (-abs(x) / 2 - 1 / x).text == "sub(div(neg(abs(x0)),2),div(1,x0))"
    assert call("f", x, float32(0.1)).text == "f(x0,0.10000000149011612)"
