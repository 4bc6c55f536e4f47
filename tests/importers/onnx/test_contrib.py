"""Operators of com.microsoft become standard ones, and give what onnxruntime gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
import sardonyx
from sardonyx.tools import zoo

from .contrib_cases import DOMAIN, agree, computed, model, normal

F32, U8, I8 = np.float32, np.uint8, np.int8


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
@pytest.mark.parametrize("mask", [False, True])
def test_embeddings(rng, segments, mask):
    feeds = {"ids": rng.integers(0, 20, (2, 6)).astype(np.int32)}
    tables = {"words": normal(rng, 20, 8), "places": normal(rng, 10, 8)}
    ends = {"gamma": normal(rng, 8), "beta": normal(rng, 8)}
    if segments:
        feeds["kinds"] = rng.integers(0, 2, (2, 6)).astype(np.int32)
        tables["segments"] = normal(rng, 2, 8)
    inputs = ["ids", "kinds" if segments else "", "words", "places",
              "segments" if segments else "", "gamma", "beta"]  # fmt: skip
    if mask:
        feeds["mask"] = rng.integers(0, 2, (2, 6)).astype(np.int32)
        inputs.append("mask")
    agree("EmbedLayerNormalization", feeds, tables | ends, inputs, outputs=("y", "count"))


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


@pytest.mark.parametrize("batches", [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_fused_products_whose_rows_lie_before_the_batch(rng, batches, turned):
    """onnxruntime transposes the last axes of what it has moved there."""
    shapes = [(2, 3, 5, 4), (2, 3, 4, 6)]
    feeds = {}
    for name, shape, batch, turn in zip("ab", shapes, batches, turned, strict=True):
        sizes = (*shape[:2], *(shape[:1:-1] if turn else shape[2:]))
        order = (2, 0, 1, 3) if batch else (0, 1, 2, 3)
        feeds[name] = normal(rng, *(sizes[axis] for axis in order))
    agree("FusedMatMul", feeds, transBatchA=batches[0], transBatchB=batches[1],
          transA=turned[0], transB=turned[1])  # fmt: skip


@pytest.mark.parametrize(
    "activation",
    ["Relu", "Tanh", "Sigmoid", "HardSigmoid", "ThresholdedRelu", "Selu", "Elu", "Softplus",
     "Softsign", "ScaledTanh", "Celu"],
)  # fmt: skip
def test_activations_of_fused_products(rng, activation):
    agree("FusedGemm", {"a": normal(rng, 4, 7)}, {"b": normal(rng, 7, 5)}, activation=activation,
          activation_alpha=0.3, activation_beta=0.4, activation_gamma=1.2)  # fmt: skip


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("kind", [F32, np.float64])
def test_distances(rng, metric, kind):
    feeds = {n: rng.standard_normal((size, 7)).astype(kind) for n, size in (("a", 4), ("b", 6))}
    agree("CDist", feeds, tolerance=1e-5, metric=metric)


@pytest.mark.parametrize("kind", [F32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (2, 3, 12, 12), (0, 4, 4)])
def test_inverses(rng, kind, shape):
    x = (rng.standard_normal(shape) + 4 * np.eye(shape[-1])).astype(kind)
    proto = model("Inverse", {"x": x}, {}, ["x"])
    (found,) = computed(proto, {"x": x})
    wanted = np.linalg.inv(x.astype(np.float64))
    assert (found.dtype, found.shape) == (x.dtype, x.shape)
    digits = {F32: 1e-5, np.float64: 1e-12, np.float16: 2e-3}[kind]
    np.testing.assert_allclose(found, wanted, digits, digits)


def test_inverses_of_what_has_none(rng):
    """A singular matrix gives NaN, one with zeros on its diagonal has its rows exchanged."""
    x = np.array([[[1, 1], [1, 1]], [[0, 2], [4, 0]]], F32)
    (found,) = computed(model("Inverse", {"x": x}, {}, ["x"]), {"x": x})
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], np.array([[0, 0.25], [0.5, 0]], F32))
    proto = model("Inverse", {"x": x[:, :1]}, {}, ["x"])
    with pytest.raises(sardonyx.SardonyxError, match=r"node.*Inverse.*square"):
        sardonyx.Session(proto, threads=1)


@pytest.mark.parametrize("kind", [F32, np.float64, np.int64])
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles(rng, kind, upper):
    x = (10 * rng.standard_normal((2, 4, 5))).astype(kind)
    agree("Trilu", {"x": x}, upper=upper)
    agree("Trilu", {"x": x}, {"k": np.array(-1)}, upper=upper)


def test_those_of_other_versions_of_the_standard(rng):
    agree("Range", {"start": np.array(2), "limit": np.array(9)})
    agree("Range", {n: np.array(v, F32) for n, v in (("start", 2), ("limit", 9), ("delta", 0.5))})
    x = normal(rng, 1, 2, 4, 5)
    grid = (rng.random((1, 3, 3, 2)) * 2 - 1).astype(F32)
    for mode in ("bilinear", "nearest", "bicubic"):
        agree("GridSample", {"x": x, "grid": grid}, tolerance=1e-4, mode=mode)
    agree("GatherND", {"x": x}, {"i": np.array([[0, 1], [0, 0]])})
    agree("TransposeMatMul", {"x": x}, {"w": normal(rng, 5, 3)}, alpha=0.5)


# --- those of which onnxruntime has no kernel on a processor ------------------------------------


@pytest.mark.parametrize("is_last", [0, 1])
@pytest.mark.parametrize("activation", [0, 1])
@pytest.mark.parametrize("skip", ["", "images", "channels"])
def test_normalizations_of_groups(rng, is_last, activation, skip):
    x, gamma, beta = normal(rng, 2, 6, 4, 5), normal(rng, 6), normal(rng, 6)
    total = x
    feeds, weights = {"x": x}, {"gamma": gamma, "beta": beta}
    if skip:
        weights["skip"] = normal(rng, 2, 6, 4, 5) if skip == "images" else normal(rng, 2, 6)
        wide = weights["skip"].reshape(2, 6, *([4, 5] if skip == "images" else [1, 1]))
        weights["bias"] = normal(rng, 6) if is_last else normal(rng, 6, 1, 1)
        total = x + wide + weights["bias"].reshape(6, 1, 1)
        if is_last and skip == "images":
            weights["skip"] = np.moveaxis(weights["skip"], 1, -1).copy()
        elif not is_last and skip == "channels":
            weights["skip"] = weights["skip"].reshape(2, 6, 1, 1)
    groups = total.reshape(2, 3, -1).astype(np.float64)
    mean, spread = groups.mean(-1, keepdims=True), groups.var(-1, keepdims=True)
    wanted = ((groups - mean) / np.sqrt(spread + 1e-5)).reshape(x.shape)
    wanted = wanted * gamma.reshape(6, 1, 1) + beta.reshape(6, 1, 1)
    if activation:
        wanted = wanted / (1 + np.exp(-wanted))
    if is_last:
        feeds["x"] = np.moveaxis(x, 1, -1).copy()
        wanted, total = np.moveaxis(wanted, 1, -1), np.moveaxis(total, 1, -1)
    name, outputs = ("SkipGroupNorm", ["y", "sum"]) if skip else ("GroupNorm", ["y"])
    proto = model(name, feeds, weights, ["x", *weights], outputs, channels_last=is_last,
                  activation=activation, groups=3)  # fmt: skip
    for found, right in zip(computed(proto, feeds), (wanted, total), strict=False):
        np.testing.assert_allclose(found, right, 1e-4, 1e-5)


def test_gelu_of_half_the_channels(rng):
    x, bias = normal(rng, 2, 3, 8), normal(rng, 8)
    (found,) = computed(model("BiasSplitGelu", {"x": x}, {"b": bias}, ["x", "b"]), {"x": x})
    first, second = np.split((x + bias).astype(np.float64), 2, -1)
    gelu = second * np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in second.flat]).reshape(
        second.shape
    )
    np.testing.assert_allclose(found, first * gelu, 1e-5, 1e-6)


def test_convolutions_with_channels_last(rng):
    x, w = normal(rng, 1, 3, 7, 8), normal(rng, 4, 3, 3, 3)
    feeds = {"x": np.moveaxis(x, 1, -1).copy()}
    bias, more = normal(rng, 4), normal(rng, 1, 7, 8, 4)
    weights = {"w": np.moveaxis(w, 1, -1).copy(), "b": bias, "z": more}
    proto = model("NhwcFusedConv", feeds, weights, ["x", *weights], pads=[1] * 4, activation="Relu")
    (found,) = computed(proto, feeds)
    plain = model("FusedConv", {"x": x}, {"w": w, "b": bias}, ["x", "w", "b"], pads=[1] * 4)
    (sums,) = computed(plain, {"x": x})
    wanted = np.maximum(np.moveaxis(sums, 1, -1) + more, 0)
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)


@pytest.mark.parametrize("both", [0, 1])
def test_biases_by_distance(rng, both):
    """The buckets of T5."""
    table, queries, keys, farthest = normal(rng, 32, 4), 9, 200, 128
    feeds = {"q": np.array([queries]), "k": np.array([keys])}
    proto = model("RelativePositionBias", feeds, {"t": table}, ["t", "q", "k"],
                  max_distance=farthest, is_bidirectional=both)  # fmt: skip
    (found,) = computed(proto, feeds)
    offset = np.arange(keys)[None] - np.arange(queries)[:, None]
    sided = 16 if both else 32
    distance = np.abs(offset) if both else -np.minimum(offset, 0)
    exact = sided // 2
    far = np.log(np.maximum(distance, 1) / exact) / np.log(farthest / exact) * (sided - exact)
    far = np.minimum(exact + np.maximum(far, 0).astype(int), sided - 1)
    bucket = np.where(distance < exact, distance, far) + (offset > 0) * sided * both
    np.testing.assert_array_equal(found, table[bucket].transpose(2, 0, 1)[None])


@pytest.mark.parametrize("name", ["BiasGelu", "QuickGelu", "Inverse", "FastGelu"])
def test_results_of_half_precision_stay_so(rng, name):
    """Where nothing is declared of a result, its type is that of the operator's."""
    x = (rng.standard_normal((4, 4)) + 3 * np.eye(4)).astype(np.float16)
    weights = {"b": x[0]} if name == "BiasGelu" else {}
    (found,) = computed(model(name, {"x": x}, weights, ["x", *weights]), {"x": x})
    assert found.dtype == np.float16


# --- weights of few bits ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Inverse", "QuickGelu"])
def test_operators_with_kernels_run_on_inputs_of_unknown_rank(rng, name):
    feeds = {"x": normal(rng, 3, 3)}
    proto = model(name, feeds, {}, ["x"])
    wanted = sardonyx.Session(proto, threads=1).run(None, feeds)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    session = sardonyx.Session(proto, threads=1)
    for _ in range(3):
        np.testing.assert_allclose(session.run(None, feeds)[0], wanted[0], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_expressed_is_refused_by_name(rng):
    feeds = {"a": normal(rng, 2, 3, 8)}
    proto = model("FusedGemm", feeds, {"b": normal(rng, 8, 5)}, ["a", "b"], activation="Gelu")
    wanted = r"node.*com\.microsoft\.FusedGemm.*its activation is 'Gelu'"
    with pytest.raises(sardonyx.UnsupportedModel, match=wanted):
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
    assert not session.engine.program.host_steps
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
        assert "com.microsoft.nchwc" in str(error) and "ORT_ENABLE_EXTENDED" in str(error)
    else:  # on processors for which onnxruntime has no such layouts
        assert not session.engine.program.host_steps
