"""Half precision computed as float32: ports and casts stay, everything between is wide."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import sardonyx
from onnx import parser
from sardonyx.optimizer.widening import widen

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def model(body: str, kind: str = "float16", inputs: str = "", outputs: str = "") -> onnx.ModelProto:
    inputs, outputs = inputs or f"{kind}[n, 4] x", outputs or f"{kind}[m, k] y"
    text = f'<ir_version: 10, opset_import: ["": 22]> g ({inputs}) => ({outputs}) {{ {body} }}'
    return parser.parse_model(
        text.replace("KIND", str(onnx.TensorProto.DataType.Value(kind.upper())))
    )


def onnxruntime_gives(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def with_weights(proto: onnx.ModelProto, **weights: np.ndarray) -> onnx.ModelProto:
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in weights.items())
    return proto


def test_a_network_of_halves_runs_in_kernels(rng):
    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float16)

    proto = with_weights(
        model(
            "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)  r = Relu (c)  p = GlobalAveragePool (r)"
            "f = Flatten (p)  g = Gemm (f, v)  y = Softmax (g)",
            inputs="float16[n, 3, h, w] x", outputs="float16[n, k] y",
        ),
        w=normal(8, 3, 3, 3), b=normal(8), v=normal(8, 5),
    )  # fmt: skip
    session = sardonyx.Session(proto, threads=1)
    assert not session.engine.program.host_steps
    assert [port.type for port in session.get_inputs()] == ["tensor(float16)"]
    feeds = {"x": normal(2, 3, 9, 7)}
    (found,), (wanted,) = session.run(None, feeds), onnxruntime_gives(proto, feeds)
    assert found.dtype == wanted.dtype == np.float16
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("kind", HALVES)
def test_ports_keep_their_types(rng, kind):
    proto = with_weights(model("z = MatMul (x, w)  y = Tanh (z)", kind),
                         w=rng.standard_normal((4, 3)).astype(HALVES[kind]))  # fmt: skip
    x = rng.standard_normal((2, 4)).astype(HALVES[kind])
    (y,) = sardonyx.Session(proto, threads=1).run(None, {"x": x})
    assert y.dtype == HALVES[kind]
    wide = [
        a.astype(np.float32) for a in (x, onnx.numpy_helper.to_array(proto.graph.initializer[0]))
    ]
    wanted = np.tanh(wide[0] @ wide[1]).astype(HALVES[kind])
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("source", ["float", "double", "int64"])
def test_casts_of_the_model_round(kind, source):
    proto = model("h = Cast <to = KIND> (x)  y = Cast <to = 1> (h)", kind,
                  f"{source}[n] x", "float[n] y")  # fmt: skip
    numbers = np.array([1.0009766, 2049, 3.14159265, 65503, -1e-7])
    x = numbers.astype({"float": np.float32, "double": np.float64, "int64": np.int64}[source])
    (y,) = sardonyx.Session(proto, threads=1).run(None, {"x": x})
    np.testing.assert_array_equal(y, x.astype(HALVES[kind]).astype(np.float32))


def test_an_output_that_others_read_and_one_that_is_an_input(rng):
    proto = model(
        "y = Exp (x)  z = Neg (y)", outputs="float16[n, 4] y, float16[n, 4] z, float16[n, 4] x"
    )
    x = rng.standard_normal((3, 4)).astype(np.float16)
    session = sardonyx.Session(proto, threads=1)
    assert [port.name for port in session.get_outputs()] == ["y", "z", "x"]
    for found, wanted in zip(
        session.run(None, {"x": x}), onnxruntime_gives(proto, {"x": x}), strict=True
    ):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_an_output_that_is_listed_twice():
    proto = model("y = Exp (x)", outputs="float16[n, 4] y, float16[n, 4] y")
    wide = ir.from_proto(proto)
    widen(wide)
    assert [value.name for value in wide.graph.outputs] == ["y", "y"]
    assert [value.dtype for value in wide.graph.outputs] == [ir.DataType.FLOAT16] * 2


def test_bodies_and_types_in_attributes(rng):
    body = """c = Constant <value_int = 2> ()  i = Cast <to = 9> (c)
      l, y = Loop (c, i, x) <
        body = b (int64 t, bool go, float16[n, 4] s) => (bool on, float16[n, 4] s2, float16[n, 4] o)
        { on = Identity (go)  sh = Shape (s)  e = ConstantOfShape (sh)
          like = EyeLike <dtype = 10> (s)  a = Add (s, e)  s2 = Add (a, like)  o = Mul (s2, e) }>"""
    proto = model(body, outputs="float16[k, m, 4] y")
    inner = proto.graph.node[2].attribute[0].g
    value = onnx.numpy_helper.from_array(np.array([1.5], np.float16))
    inner.node[2].attribute.append(onnx.helper.make_attribute("value", value))
    x = rng.standard_normal((4, 4)).astype(np.float16)
    (found,) = sardonyx.Session(proto, threads=1).run(None, {"x": x})
    np.testing.assert_allclose(found, onnxruntime_gives(proto, {"x": x})[0], rtol=2e-3)


def test_strict_precision_rounds_after_each_operator(rng):
    proto = with_weights(model("a = Mul (x, c)  y = Div (a, c)"), c=np.array(300, np.float16))
    x = np.full((1, 4), 300, np.float16)
    strict = sardonyx.Session(proto, threads=1, precision="strict", optimize="none")
    assert np.isinf(strict.run(None, {"x": x})[0]).all()
    np.testing.assert_array_equal(sardonyx.Session(proto, threads=1).run(None, {"x": x})[0], x)


def test_models_of_other_types_and_of_sequences_stay_as_they_are():
    for text in ("y = Exp (x)",):
        plain = ir.from_proto(model(text, "float"))
        before = [node.op_type for node in plain.graph]
        widen(plain)
        assert [node.op_type for node in plain.graph] == before
    proto = model("y = SequenceConstruct (x)", outputs="seq(float16[n, 4]) y")
    kept = ir.from_proto(proto)
    widen(kept)
    assert [node.op_type for node in kept.graph] == ["SequenceConstruct"]


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("precision", ["fp32", "strict"])
def test_infinities_are_clipped_to_the_limits_of_halves(kind, precision):
    largest = float(ml_dtypes.finfo(HALVES[kind]).max)
    proto = model(
        "y = Clip (x)  z = Clip (x, low)", kind, outputs=f"{kind}[n, 4] y, {kind}[n, 4] z"
    )
    proto = with_weights(proto, low=np.array(-2, HALVES[kind]))
    x = np.array([[np.inf, -np.inf, 1, np.nan]], HALVES[kind])
    y, z = sardonyx.Session(proto, precision=precision).run(None, {"x": x})
    np.testing.assert_array_equal(y.astype(float), [[largest, -largest, 1, np.nan]])
    np.testing.assert_array_equal(z.astype(float), [[largest, -2, 1, np.nan]])
