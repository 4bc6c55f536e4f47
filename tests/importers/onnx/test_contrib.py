"""Operators of com.microsoft become standard ones, and give what onnxruntime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.tools import zoo

F32, U8, I8 = np.float32, np.uint8, np.int8
DOMAIN = "com.microsoft"


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(F32)


def model(
    name: str, feeds: dict[str, np.ndarray], weights: dict[str, np.ndarray], inputs: list[str],
    outputs: tuple[str, ...] = ("y",), **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    graph = oh.make_graph(
        [oh.make_node(name, inputs, outputs, domain=DOMAIN, name="node", **attributes)],
        "contrib",
        [oh.make_tensor_value_info(n, oh.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs if n],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()],
    )  # fmt: skip
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid(DOMAIN, 1)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=8)


def agree(
    name: str, feeds: dict[str, np.ndarray], weights: dict[str, np.ndarray] | None = None,
    inputs: list[str] | None = None, tolerance: float = 1e-5, **more: Any,
) -> None:  # fmt: skip
    weights = weights or {}
    proto = model(name, feeds, weights, inputs or [*feeds, *weights], **more)
    session = sardonyx.Session(proto, threads=1)
    assert all(node.domain != DOMAIN for node in sardonyx.load(proto).graph)
    other = onnxruntime.InferenceSession(proto.SerializeToString())
    for found, wanted in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        if found.dtype.kind in "iu":  # half way between two numbers, either is right
            assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
            continue
        np.testing.assert_allclose(found, wanted, tolerance, tolerance * np.abs(wanted).max())


def test_activations(rng):
    x, bias = normal(rng, 2, 3, 8), normal(rng, 8)
    agree("Gelu", {"x": x})
    agree("BiasGelu", {"x": x}, {"b": bias})
    agree("FastGelu", {"x": x}, {"b": bias}, tolerance=1e-4)
    agree("FastGelu", {"x": x}, tolerance=1e-4)


def test_bias_add(rng):
    """onnxruntime has no kernel for it on a processor."""
    feeds = {"x": normal(rng, 2, 5, 320), "s": normal(rng, 2, 5, 320)}
    bias = normal(rng, 320)
    proto = model("BiasAdd", feeds, {"b": bias}, ["x", "b", "s"])
    (y,) = sardonyx.Session(proto, threads=1).run(None, feeds)
    np.testing.assert_allclose(y, feeds["x"] + bias + feeds["s"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("outputs", [("y",), ("y", "", "", "sum")])
@pytest.mark.parametrize("bias", [False, True])
def test_normalizations_of_sums(rng, outputs, bias):
    feeds = {"x": normal(rng, 2, 5, 16), "skip": normal(rng, 2, 5, 16)}
    weights = {"gamma": normal(rng, 16), "beta": normal(rng, 16)}
    more = {"bias": normal(rng, 16)} if bias else {}
    agree("SkipLayerNormalization", feeds, weights | more, outputs=outputs, epsilon=1e-5)
    del weights["beta"]
    agree("SkipSimplifiedLayerNormalization", feeds, weights | more, outputs=outputs, epsilon=1e-6)


@pytest.mark.parametrize("segments", [False, True])
def test_embeddings(rng, segments):
    feeds = {"ids": rng.integers(0, 20, (2, 6)).astype(np.int32)}
    tables = {"words": normal(rng, 20, 8), "places": normal(rng, 10, 8)}
    ends = {"gamma": normal(rng, 8), "beta": normal(rng, 8)}
    if segments:
        feeds["kinds"] = rng.integers(0, 2, (2, 6)).astype(np.int32)
        tables["segments"] = normal(rng, 2, 8)
    inputs = ["ids", "kinds" if segments else "", "words", "places",
              "segments" if segments else "", "gamma", "beta"]  # fmt: skip
    agree("EmbedLayerNormalization", feeds, tables | ends, inputs, outputs=("y", ""))


@pytest.mark.parametrize("attributes", [{}, {"transA": 1}, {"transB": 1, "alpha": 0.3},
                                        {"transA": 1, "transB": 1}])  # fmt: skip
def test_fused_products(rng, attributes):
    a = normal(rng, 2, 5, 4) if attributes.get("transA") else normal(rng, 2, 4, 5)
    b = normal(rng, 6, 5) if attributes.get("transB") else normal(rng, 5, 6)
    agree("FusedMatMul", {"a": a}, {"b": b}, **attributes)
    if not attributes.get("transA"):
        agree("FusedGemm", {"a": a[0]}, {"b": b, "c": normal(rng, 6)},
              activation="LeakyRelu", activation_alpha=0.2, **attributes)  # fmt: skip


@pytest.mark.parametrize(
    ("activation", "numbers"),
    [
        ("Relu", None),
        ("Clip", [-0.5, 0.7]),
        ("LeakyRelu", [0.1]),
        ("HardSigmoid", [0.3, 0.4]),
        ("", None),
    ],
)
def test_fused_convolutions(rng, activation, numbers):
    feeds = {"x": normal(rng, 1, 3, 7, 8)}
    weights = {"w": normal(rng, 4, 3, 3, 3), "b": normal(rng, 4)}
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    if activation:
        attributes["activation"] = activation
    if numbers:
        attributes["activation_params"] = numbers
    agree("FusedConv", feeds, weights, **attributes)
    if activation == "Relu":
        agree("FusedConv", feeds, weights | {"z": normal(rng, 1, 4, 7, 8)}, **attributes)


def test_products_of_bytes(rng):
    x, b = normal(rng, 4, 32), rng.integers(-128, 128, (32, 6)).astype(I8)
    scale, zero, bias = np.full(6, 0.02, F32), np.zeros(6, I8), normal(rng, 6)
    agree("DynamicQuantizeMatMul", {"x": x}, {"b": b, "s": scale, "z": zero, "bias": bias})
    agree("DynamicQuantizeMatMul", {"x": x}, {"b": b, "s": scale})
    feeds = {"a": rng.integers(0, 256, (4, 32)).astype(U8)}
    weights = {"b": b, "sa": np.array(0.1, F32), "sb": scale, "za": np.array(7, U8), "zb": zero}
    agree("MatMulIntegerToFloat", feeds, weights | {"bias": bias})


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("zeros", ["", "packed", "float"])
def test_products_of_few_bits(rng, bits, block, zeros):
    if bits == 8 and zeros == "float":
        pytest.skip("onnxruntime has no such zero points for bytes")
    for m, rows, columns in ((1, 96, 10), (3, 320, 70), (40, 256, 130)):
        blocks = -(-rows // block)
        bias = m != 1
        weights = {"b": rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(U8),
                   "s": np.abs(normal(rng, columns, blocks))}  # fmt: skip
        inputs = ["a", "b", "s"]
        if zeros == "packed":
            weights["z"] = rng.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(U8)
        elif zeros:
            weights["z"] = rng.uniform(0, 1 << bits, (columns, blocks)).astype(F32)
        if bias:
            weights["bias"] = normal(rng, columns)
        inputs += ["z" if zeros else "", "", "bias"] if bias else ["z"] * bool(zeros)
        agree("MatMulNBits", {"a": normal(rng, m, rows)}, weights, inputs, tolerance=1e-4,
              K=rows, N=columns, bits=bits, block_size=block)  # fmt: skip


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_rows_of_tables_of_few_bits(rng, bits, zeros):
    rows, width, block = 50, 256, 32
    each = 8 // bits
    feeds = {"i": rng.integers(0, rows, (2, 3))}
    weights = {"t": rng.integers(0, 256, (rows, width // each)).astype(U8),
               "s": np.abs(normal(rng, rows, width // block))}  # fmt: skip
    if zeros:
        weights["z"] = rng.integers(0, 256, (rows, width // block // each)).astype(U8)
    agree("GatherBlockQuantized", feeds, weights, ["t", "i", "s"] + ["z"] * zeros, bits=bits,
          block_size=block, gather_axis=0, quantize_axis=1)  # fmt: skip


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layers_of_bytes(rng, direction):
    """onnxruntime rounds inputs and states to bytes, too: it differs from exact weights by that."""
    directions, size, inputs = 1 + (direction == "bidirectional"), 24, 12
    feeds = {"x": normal(rng, 7, 2, inputs) / 2}
    weights = {
        "w": rng.integers(-128, 128, (directions, inputs, 4 * size)).astype(I8),
        "r": rng.integers(-128, 128, (directions, size, 4 * size)).astype(I8),
        "b": normal(rng, directions, 8 * size) / 4,
        "ws": np.full(directions, 0.004, F32), "wz": np.zeros(directions, I8),
        "rs": np.full(directions, 0.003, F32), "rz": np.zeros(directions, I8),
    }  # fmt: skip
    order = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    agree("DynamicQuantizeLSTM", feeds, weights, order, tolerance=2e-2,
          outputs=("y", "yh", "yc"), hidden_size=size, direction=direction)  # fmt: skip


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("kind", [U8, I8])
def test_arithmetic_of_bytes(rng, name, kind):
    limits = np.iinfo(kind)
    a, b = (rng.integers(limits.min, limits.max, (2, 3, 5)).astype(kind) for _ in range(2))
    numbers = {
        "as": F32(0.02),
        "az": kind(3),
        "bs": F32(0.03),
        "bz": kind(5),
        "cs": F32(0.05),
        "cz": kind(9),
    }
    weights = {n: np.array(value) for n, value in numbers.items()}
    agree(name, {"a": a, "b": b}, weights, ["a", "as", "az", "b", "bs", "bz", "cs", "cz"])


def test_layers_of_bytes(rng):
    x = rng.integers(0, 256, (1, 4, 5, 6)).astype(U8)
    weights = {n: np.array(v) for n, v in
               {"xs": F32(0.02), "xz": U8(120), "ys": F32(0.01), "yz": U8(10)}.items()}  # fmt: skip
    agree("QLinearSigmoid", {"x": x}, weights)
    agree("QLinearLeakyRelu", {"x": x}, weights, alpha=0.1)
    agree("QLinearGlobalAveragePool", {"x": x}, weights)
    inputs = ["ys", "yz", "x", "xs", "xz", "x2", "xs", "xz"]
    agree("QLinearConcat", {"x": x, "x2": x[:, :2]}, weights, inputs, axis=1)


def test_what_cannot_be_expressed_is_refused_by_name(rng):
    feeds = {"a": normal(rng, 2, 3, 4)}
    proto = model("FusedMatMul", feeds, {"b": normal(rng, 4, 5)}, ["a", "b"], transBatchA=1)
    with pytest.raises(sardonyx.UnsupportedModel, match=r"node.*com\.microsoft\.FusedMatMul"):
        sardonyx.Session(proto, threads=1)


@pytest.mark.parametrize("change", [{"block_size": 0}, {"block_size": 7}, {"N": 11}, {"K": -3}])
def test_weights_that_do_not_fit_are_refused_by_name(rng, change):
    weights = {"b": np.zeros((10, 3, 16), U8), "s": np.ones((10, 3), F32)}
    attributes = {"K": 96, "N": 10, "bits": 4, "block_size": 32} | change
    proto = model("MatMulNBits", {"a": normal(rng, 3, 96)}, weights, ["a", "b", "s"], **attributes)
    with pytest.raises(sardonyx.SardonyxError, match="node"):
        sardonyx.Session(proto, threads=1)


def test_a_node_whose_statistics_are_read_stays_as_it_is(rng):
    feeds = {"x": normal(rng, 2, 5, 16), "skip": normal(rng, 2, 5, 16)}
    outputs = ("y", "", "inverse", "sum")
    proto = model("SkipSimplifiedLayerNormalization", feeds, {"gamma": normal(rng, 16)},
                  ["x", "skip", "gamma"], outputs)  # fmt: skip
    loaded = sardonyx.load(proto)
    assert [node.domain for node in loaded.graph] == [DOMAIN]
    assert [value.name for value in loaded.graph.outputs] == ["y", "inverse", "sum"]


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
@pytest.mark.parametrize("name", ["squeezenet", "ocr_rec", "magika"])
def test_models_that_onnxruntime_optimized_run(zoo_model, tmp_path, name, level):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}"
    )
    other = onnxruntime.InferenceSession(str(zoo_model(name)), options)
    feeds = zoo.inputs(name, np.random.default_rng(3))
    session = sardonyx.Session(options.optimized_model_filepath, threads=2)
    # The rank of what follows an operator that inference does not know may stay unknown.
    assert len(session.engine.program.host_steps) <= (8 if name == "ocr_rec" else 0)
    for found, wanted in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_layouts_of_onnxruntime_are_refused_by_name(zoo_model, tmp_path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(zoo_model("squeezenet")), options)
    try:
        session = sardonyx.Session(options.optimized_model_filepath, threads=1)
    except sardonyx.UnsupportedModel as error:
        assert "com.microsoft.nchwc" in str(error)
    else:  # on processors for which onnxruntime has no such layouts
        assert not session.engine.program.host_steps
