"""Declarations of results prove nothing, and every value has a name of its own after import."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper as oh
from onnx import parser

X = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)


def run(model, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


NETWORK = """
    <ir_version: 10, opset_import: ["": 21]>
    g (float[N, M] x, int64[K] k) => (float y, float z, int64 s, int64 w) {
      zero = Constant <value = int64[1] {0}> ()
      last = Constant <value = int64[1] {-1}> ()
      one = Constant <value = int64[1] {1}> ()
      h = Relu (x)
      cut = Slice (h, zero, last, one)
      y = Neg (cut)
      s = Shape (y)
      e = ConstantOfShape (s)
      z = Add (e, cut)
      found = NonZero (x)
      w = Shape (found)
      r = Reshape (x, k)
      u = Relu (r)
    }
"""


@pytest.mark.parametrize("declared", [["N", "M"], [2, 5], ["N", "N"], [1, 1], [7], ["K"], [2, 4]])
def test_a_declared_shape_of_a_result_changes_nothing(declared):
    """Whatever sizes are declared, of any result, the optimized model computes the same."""
    plain = parser.parse_model(NETWORK)
    feeds = {"x": X, "k": np.array([5, 2])}
    expected = run(plain, feeds)
    expected_shapes = shapes_of(sardonyx.load(plain))
    results = [name for node in plain.graph.node for name in node.output]
    for name in results:
        model = onnx.ModelProto()
        model.CopyFrom(plain)
        outputs = {value.name: value for value in model.graph.output}
        value = outputs.get(name) or model.graph.value_info.add(name=name)
        kind = outputs[name].type.tensor_type.elem_type if name in outputs else 0
        kind = kind or (7 if name in ("zero", "last", "one", "found") else 1)
        value.CopyFrom(oh.make_tensor_value_info(name, kind, declared))
        assert shapes_of(sardonyx.load(model)) == expected_shapes
        session = sardonyx.Session(model, threads=1)
        for have, want in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_array_equal(have, want)


def shapes_of(model):
    outputs = set(model.graph.outputs)
    return {v.name: str(v.shape) for n in model.graph for v in n.outputs if v not in outputs}


def named(size):
    return "?" if size is None or size.startswith("unk__") else size


def test_a_declared_rank_is_kept_for_the_written_model_only():
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[N] x, int64[K] k) => (float[a, b] y)'
        "{ y = Reshape (x, k) }"
    )
    optimized = sardonyx.optimize(sardonyx.load(model))
    assert [str(dim) for dim in optimized.graph.outputs[0].shape] == ["a", "b"]
    onnx.checker.check_model(ir.to_proto(optimized))
    session = sardonyx.Session(model, threads=1)
    for sizes in ([6], [1, 2, 3]):
        assert session(np.zeros(6, np.float32), np.array(sizes)).shape == tuple(sizes)


def test_names_of_single_output_sizes_stay_and_those_of_two_do_not():
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]>'
        "g (float[N] x) => (int64[1, found] a, int64[1, two] b, int64[1, two] c)"
        "{ a = NonZero (x)  m = Neg (x)  b = NonZero (m)  r = Relu (x)  c = NonZero (r) }"
    )
    names = [str(value.shape[1]) for value in sardonyx.load(model).graph.outputs]
    assert names[0] == "found"
    assert names[1] != names[2]


SCOPES = """
    <ir_version: 10, opset_import: ["": 21]>
    g (float[2] x, bool c, int64 n) => (float[2] later, float[2] q) {
      yes = Constant <value = bool {1}> ()
      l = Loop (n, yes, x) <body = b (int64 i, bool c, float[2] later) => (bool d, float[2] q) {
        d = Identity (c)
        inner = Loop (n, yes, later) <body = b2 (int64 i, bool c, float[2] q)
          => (bool d, float[2] later) { d = Identity (c)  t = Mul (q, x)  later = Add (t, x) }>
        q = Sub (inner, x)
      }>
      later = Neg (l)
      f = If (c) <
        then_branch = t () => (float[2] o) { q = Neg (later)  o = Exp (q) },
        else_branch = e () => (float[2] o) { q = Abs (x)  o = Exp (q) }>
      q = Sqrt (f)
    }
"""


def test_names_of_bodies_are_looked_up_from_the_inside_out():
    model = parser.parse_model(SCOPES)
    loaded = sardonyx.load(model)
    names = [
        v.name for g in loaded.graphs() for v in (*g.inputs, *(o for n in g for o in n.outputs))
    ]
    assert len(set(names)) == len(names)
    assert [value.name for value in loaded.graph.outputs] == ["later", "q"]
    x = np.array([0.5, -1.5], np.float32)
    for level, choice, n in itertools.product(("none", "all"), (True, False), (0, 1, 3)):
        state = x
        for _ in range(n):
            inner = state
            for _ in range(n):
                inner = inner * x + x
            state = inner - x
        feeds = {"x": x, "c": np.array(choice), "n": np.array(n)}
        got = sardonyx.Session(model, threads=1, optimize=level).run(None, feeds)
        np.testing.assert_allclose(got[0], -state, rtol=1e-5)
        expected = np.sqrt(np.exp(state if choice else np.abs(x)))
        np.testing.assert_allclose(got[1], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        ("t = Relu (s)", "[N,4]"),
        ("t = Concat <axis = 0> (s, s)", "[?,4]"),
        ("t = Transpose <perm = [1, 0]> (s)", "[?,?]"),
        ("t = ReduceSum <keepdims = 0> (s)", "None"),
        ("t = Loop (i, c, s) <body = b2 (int64 j, bool d, float r) => (bool d2, float r2)"
         " { d2 = Identity (d)  r2 = Neg (r) }>", "[N,4]"),
    ],
)  # fmt: skip
def test_a_loop_state_has_the_shape_that_every_step_keeps(step, shape):
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[N, 4] x, int64 n, bool y) => (float z)'
        "{ z = Loop (n, y, x) <body = b (int64 i, bool c, float[N, 4] s) => (bool d, float[N, 4] t)"
        f"{{ d = Identity (c)  {step} }}> }}"
    )
    loop = next(iter(sardonyx.load(model).graph))
    state = loop.attributes["body"].as_graph().inputs[2]
    sizes = state.shape
    found = sizes and [dim if isinstance(dim, int) else named(dim.value) for dim in sizes]
    assert str(found).replace("'", "").replace(" ", "") == shape


@pytest.mark.parametrize(
    "node",
    ["PRelu (x, u)", "Clip (x, u)", "Add (x, u)", "MatMul (x, u)", "Where (c, x, u)", "Pow (u, x)"],
)
def test_an_operand_of_unknown_rank_is_no_scalar(node):
    """It may turn out to have any number of axes, in every position of an operator."""
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[2, 2] x, float[N] v, int64[K] k)'
        " => (float[] y, int64[L] s)"
        f"{{ u = Reshape (v, k)  c = Less (x, x)  y = {node}  s = Shape (y) }}"
    )
    x = np.array([[-1, 2], [3, -4]], np.float32)
    shapes = ([2, 2], [2]) if "Clip" not in node else ([],)
    for shape in shapes:
        values = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32)
        feeds = {"x": x, "v": values, "k": np.array(shape, np.int64)}
        expected = run(model, feeds)
        for level in ("none", "all"):
            got = sardonyx.Session(model, threads=1, optimize=level).run(None, feeds)
            for have, want in zip(got, expected, strict=True):
                np.testing.assert_allclose(have, want, rtol=1e-6)
