"""Two models are compared tensor by tensor, whatever form the quantized one has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sardonyx import InvalidArgument
from sardonyx.tools.layer_comparison import compare_layers

F32 = np.float32


def network() -> Any:
    """Two normalized convolutions, a residual Add, and a classifier."""
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.standard_normal((6, 6, 3, 3)).astype(F32) / 7 for i in range(2)}
    arrays["w"] = rng.standard_normal((6, 5)).astype(F32)
    for name, low, high in (("scale", 0.5, 2), ("bias", -1, 1), ("mean", -1, 1), ("var", 0.5, 2)):
        arrays[name] = rng.uniform(low, high, 6).astype(F32)
    statistics = ["scale", "bias", "mean", "var"]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["conv0"], "conv0", pads=[1] * 4),
        helper.make_node("BatchNormalization", ["conv0", *statistics], ["bn0"], "bn0"),
        helper.make_node("Relu", ["bn0"], ["relu0"], "relu0"),
        helper.make_node("Conv", ["relu0", "w1"], ["conv1"], "conv1", pads=[1] * 4),
        helper.make_node("Add", ["conv1", "relu0"], ["add"], "add"),
        helper.make_node("Relu", ["add"], ["relu1"], "relu1"),
        helper.make_node("GlobalAveragePool", ["relu1"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", 1, ("n", 6, 8, 8))],
        [helper.make_tensor_value_info("y", 1, ("n", 5))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(count: int = 8) -> dict[str, Any]:
    return {"x": np.random.default_rng(1).standard_normal((count, 6, 8, 8)).astype(F32)}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.feeds = iter([feeds()])

    def get_next(self) -> Any:
        return next(self.feeds, None)


def by_onnxruntime(path: Any, form: str) -> str:
    source, target = str(path / "float.onnx"), str(path / "quantized.onnx")
    onnx.save(network(), source)
    options = {"quant_format": QuantFormat[form], "per_channel": True}
    quantize_static(source, target, Reader(), weight_type=QuantType.QInt8, **options)
    return target


def in_onnxruntime(path: Any, names: list[str]) -> list[Any]:
    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    results: list[Any] = session.run(names, feeds())
    return results


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_files_of_onnxruntime_correspond(form, tmp_path):
    """A Relu that the range of an Add's integers stands for is no error."""
    path = by_onnxruntime(tmp_path, form)
    rows = {row.name: row for row in compare_layers(network(), path, feeds())}
    assert {"conv0", "conv1", "y"} <= rows.keys()
    assert all(row.error.decibels > 24 and row.error.cosine > 0.99 for row in rows.values())
    assert all(0 <= row.added <= row.error.noise for row in rows.values())
    assert rows["y"].op_type == "Gemm"


def test_errors_are_those_that_onnxruntime_has(tmp_path):
    path = by_onnxruntime(tmp_path, "QDQ")
    rows = {row.name: row for row in compare_layers(network(), path, feeds())}
    (expected,) = in_onnxruntime(str(tmp_path / "float.onnx"), ["conv1"])
    (found,) = in_onnxruntime(path, ["conv1_DequantizeLinear_Output"])
    noise = np.square(expected - found).sum() / np.square(expected).sum()
    assert rows["conv1"].error.noise == pytest.approx(noise, rel=0.05)


def test_folded_normalization_is_no_error(tmp_path):
    """Our own files: a convolution's result has its name also where normalization is in it."""
    path = tmp_path / "q.onnx"
    sardonyx.quantize(network(), feeds(), path)
    rows = {row.name: row for row in compare_layers(network(), str(path), feeds())}
    assert "bn0" not in rows and rows["conv0"].error.decibels > 30
    assert all(row.error.decibels > 24 for row in rows.values())


def test_a_faulty_layer_adds_the_most_noise():
    model, other = network(), network()
    (weights,) = (each for each in other.graph.initializer if each.name == "w1")
    changed = numpy_helper.to_array(weights) * F32(1.5)
    weights.CopyFrom(numpy_helper.from_array(changed, "w1"))
    rows = compare_layers(model, other, feeds())
    assert max(rows, key=lambda row: row.added).name == "conv1"
    assert rows[0].error.noise == 0 and rows[0].error.cosine == pytest.approx(1)


def test_other_models_are_refused():
    other = network()
    other.graph.input[0].name = other.graph.node[0].input[0] = "z"
    with pytest.raises(InvalidArgument, match="the inputs are x, and z"):
        compare_layers(network(), other)
    other, known = network(), {"x", *(each.name for each in network().graph.initializer)}
    for node in other.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in known else f"{name}.other" for name in names]
    other.graph.output[0].name = "y.other"
    with pytest.raises(InvalidArgument, match="no tensor of floats of one name"):
        compare_layers(network(), other)


def test_the_command(call, tmp_path):
    path = by_onnxruntime(tmp_path, "QDQ")
    found = call("compare", tmp_path / "float.onnx", path, "--layers")
    assert found.exit_code == 0, found.stderr
    assert "most noise is added by" in found.stdout
    found = call("compare", tmp_path / "float.onnx", "--layers")
    assert found.exit_code == 1 and "name another" in found.stderr
