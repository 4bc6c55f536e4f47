"""What is known of a model before anything is emitted."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir
import pytest
import sardonyx
from sardonyx.runtime.shape_inference import infer_shapes
from sardonyx.runtime.symbolic import of_symbol, symbol


def inferred(nodes, shape, **constants):
    x = oh.make_tensor_value_info("x", 1, shape)
    outputs = [oh.make_empty_tensor_value_info(nodes[-1].output[0])]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = oh.make_graph(nodes, "g", [x], outputs, initializers)
    opsets = [oh.make_opsetid("", 22)]
    found = infer_shapes(ir.from_proto(oh.make_model(graph, ir_version=10, opset_imports=opsets)))
    return found, {value.name: info for value, info in found.infos.items()}


def test_sizes_are_followed_as_symbols():
    nodes = [
        oh.make_node("Shape", ["x"], ["s"]),
        oh.make_node("Gather", ["s", "zero"], ["n"]),
        oh.make_node("Mul", ["n", "two"], ["m"]),
        oh.make_node("Concat", ["m", "rest"], ["wanted"], axis=0),
        oh.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    graph, infos = inferred(
        nodes, ["batch", 6], zero=np.array([0]), two=np.array([2]), rest=np.array([3])
    )
    assert infos["y"].shape == (symbol("batch") * 2, 3)
    assert not graph.why_host
    assert [value.name for value in graph.inputs] == ["x"]
    assert [value.name for value in graph.outputs] == ["y"]
    assert [graph.index_of[node.ir] for node in graph.nodes] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("label", ["?", "", "dynamic", "None", "unknown", "-1", "Dynamic"])
def test_names_that_say_nothing_are_told_apart(label):
    _, infos = inferred([oh.make_node("Relu", ["x"], ["y"])], [label, label])
    assert infos["y"].shape == (symbol("x.0", "input"), symbol("x.1", "input"))


def test_sizes_that_depend_on_data_are_read_off_results():
    nodes = [
        oh.make_node("Cast", ["x"], ["s"], to=8),
        oh.make_node("Unique", ["s"], ["t", "i"]),
        oh.make_node("Neg", ["i"], ["y"]),
    ]
    graph, infos = inferred(nodes, [4, 5])
    sizes = {output: of_symbol(size) for output, _, size in graph.read_sizes[1]}
    assert infos["y"].shape == (sizes[1],)
    assert set(graph.why_host) == {0, 1}


def test_sizes_that_depend_on_data_are_counted_by_a_step():
    nodes = [oh.make_node("NonZero", ["x"], ["i"]), oh.make_node("Neg", ["i"], ["y"])]
    graph, infos = inferred(nodes, [4, 5])
    assert not graph.why_host
    (size,) = graph.nodes[0].counted
    assert infos["y"].shape == (2, of_symbol(size))
    assert graph.known_after == {size: 0}


def test_elements_of_a_tensor_become_sizes_where_a_rule_asks_for_them():
    nodes = [
        oh.make_node("Cast", ["x"], ["s"], to=7),
        oh.make_node("Reshape", ["s", "s"], ["y"]),
        oh.make_node("Relu", ["x"], ["z"]),
    ]
    graph, infos = inferred(nodes, [3])
    ((value, symbols),) = graph.readings[1]
    assert value.name == "s" and len(symbols) == 3
    assert set(graph.known_after.values()) == {0}
    assert graph.nodes[0].infos[0].known is None and infos["s"].known is not None


def test_initializers_need_data():
    x = oh.make_tensor_value_info("x", 1, [2])
    graph = oh.make_graph([oh.make_node("Add", ["x", "w"], ["y"])], "g", [x], [])
    model = ir.from_proto(oh.make_model(graph, ir_version=10))
    bare = ir.Value(name="w", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2]))
    model.graph.initializers["w"] = bare
    with pytest.raises(sardonyx.InvalidModel, match="initializer 'w' has no data"):
        infer_shapes(model)
