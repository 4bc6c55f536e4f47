"""Real models keep their numbers; files, bytes and models in memory are the same model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper, numpy_helper, parser
from sardonyx.importers.onnx.opset import CANONICAL_OPSET, OPSET_NOTE
from sardonyx.tools import zoo

SMALL = ["squeezenet", "shufflenet", "inception_v1", "inception_v2", "densenet121", "resnet50"]
PACKAGED = [
    name for name, entry in zoo.PACKAGED.items() if entry.path.endswith(".onnx") and name != "tumor"
]


def run(model, feeds):
    if isinstance(model, ir.Model):
        model = ir.to_proto(model).SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options).run(None, feeds)


@pytest.mark.parametrize("name", SMALL + PACKAGED)
def test_a_real_model_computes_the_same_at_the_canonical_opset(name, zoo_model, rng):
    path = zoo_model(name)
    model = sardonyx.load(path)
    assert model.graph.opset_imports[""] == CANONICAL_OPSET
    assert OPSET_NOTE not in model.metadata_props
    feeds = zoo.inputs(name, rng)
    assert [value.name for value in model.graph.inputs] == list(feeds)
    for have, want in zip(run(model, feeds), run(str(path), feeds), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


def test_all_kinds_of_source_give_the_same_model(zoo_model, rng):
    path = zoo_model("mnist")
    sources = [path, str(path), path.read_bytes(), onnx.load(path), ir.load(path)]
    feeds = zoo.inputs("mnist", rng)
    results = [run(sardonyx.load(source), feeds)[0] for source in sources]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_model_in_memory_is_left_as_it_is(zoo_model):
    source = ir.load(zoo_model("mnist"))
    before = str(source)
    sardonyx.load(source)
    assert str(source) == before


def test_weights_are_views_of_the_file(zoo_model):
    model = sardonyx.load(zoo_model("squeezenet"))
    weights = [value.const_value.numpy() for value in model.graph.initializers.values()]
    large = [array for array in weights if array.nbytes > 1024]
    assert large
    assert not any(array.flags.owndata or array.flags.writeable for array in large)


def test_importing_sardonyx_does_not_import_onnx():
    code = (
        "import sys, sardonyx, sardonyx.importers; "
        "assert not {'onnx', 'onnx_ir', 'torch', 'tensorflow'} & sys.modules.keys()"
    )
    root = Path(sardonyx.__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_functions_are_inlined_with_their_own_opset(rng):
    model = parser.parse_model("""
        <ir_version: 9, opset_import: ["": 18, "own": 1]>
        g (float[2,3] x) => (float[2,3] y) { y = own.Twice(x) }
        <domain: "own", opset_import: ["": 12]>
        Twice (a) => (c) { b = Softmax <axis = 1> (a) c = Add(b, b) }
    """)
    loaded = sardonyx.load(model)
    assert not loaded.functions
    x = rng.random((2, 3), np.float32)
    want = 2 * np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(run(loaded, {"x": x})[0], want, rtol=1e-6)


def test_initializers_are_no_inputs():
    model = parser.parse_model("""
        <ir_version: 3, opset_import: ["": 8]>
        g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Add(x, w) }
    """)
    assert [value.name for value in sardonyx.load(model).graph.inputs] == ["x"]


def test_other_domains_are_left_alone():
    model = parser.parse_model("""
        <ir_version: 9, opset_import: ["": 13, "com.microsoft": 1, "mine": 3]>
        g (float[2] x) => (float[2] y)
        { a = com.microsoft.BifurcationDetector (x, x) y = mine.Secret <deep = 1> (a) }
    """)
    loaded = sardonyx.load(model)
    assert [(n.domain, n.op_type) for n in loaded.graph] == [
        ("com.microsoft", "BifurcationDetector"),
        ("mine", "Secret"),
    ]
    assert loaded.graph.opset_imports["mine"] == 3
    assert loaded.graph[1].attributes["deep"].as_int() == 1


def test_nodes_out_of_order_are_put_in_order(rng):
    nodes = [
        helper.make_node("Exp", ["a"], ["y"]),
        helper.make_node("Neg", ["x"], ["a"]),
    ]
    x = helper.make_tensor_value_info("x", 1, [2])
    y = helper.make_tensor_value_info("y", 1, [2])
    graph = helper.make_graph(nodes, "g", [x], [y])
    loaded = sardonyx.load(helper.make_model(graph, ir_version=9))
    assert [node.op_type for node in loaded.graph] == ["Neg", "Exp"]


def test_a_sparse_initializer_becomes_dense(rng):
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 3], np.int64))
    sparse = helper.make_sparse_tensor(values, indices, [4])
    x, y = (helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], sparse_initializer=[sparse])
    loaded = sardonyx.load(helper.make_model(graph, ir_version=9))
    assert run(loaded, {"x": np.ones(4, np.float32)})[0].tolist() == [0, 2, 0, 3]


@pytest.mark.parametrize("kind", ["INT4", "UINT4", "BFLOAT16", "FLOAT8E4M3FN", "BOOL", "INT32"])
def test_every_element_type_survives(kind, tmp_path):
    raw = bytes(range(16)) * 300
    dtype = ir.DataType[kind]
    count = len(raw) * 8 // dtype.bitwidth
    raw = raw if kind != "BOOL" else bytes(value % 2 for value in raw)
    tensor = helper.make_tensor("w", int(dtype), [count], raw, raw=True)
    y = helper.make_tensor_value_info("y", int(dtype), [count])
    node = helper.make_node("Identity", ["w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", [], [y], [tensor]), ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    value = sardonyx.load(tmp_path / "m.onnx").graph.initializers["w"].const_value
    assert value.dtype == dtype
    np.testing.assert_array_equal(value.numpy(), ir.from_proto(tensor).numpy())
