import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper as oh
from sardonyx.optimizer import optimize
from sardonyx.optimizer.names import make_names_unique
from sardonyx.optimizer.report import Report


def test_every_name_is_there_once_and_those_of_the_interface_stay(graph):
    model = graph([("Exp", "x", "a"), ("Neg", "a", "b"), ("Abs", "b", "y")], {"x": (3,)})
    first, second, third = model.graph
    second.outputs[0].name, third.name, first.name = "y", "n1", None
    first.outputs[0].name = "x"
    make_names_unique(model, Report())
    names = [str(value.name) for node in model.graph for value in node.outputs]
    assert names == ["x_1", "y_1", "y"]
    assert [node.name for node in model.graph] == ["Exp", "n1", "n1_1"]
    assert [value.name for value in model.graph.inputs] == ["x"]


def test_outputs_that_are_left_out_stay_nameless():
    """A name would ask for them."""
    weights = {n: np.zeros(s, np.float32) for n, s in (("w", (1, 8, 3)), ("r", (1, 8, 2)))}
    lstm = oh.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=2)
    graph = oh.make_graph(
        [lstm, oh.make_node("Relu", ["h"], ["y"])],
        "test",
        [oh.make_tensor_value_info("x", 1, [5, 1, 3])],
        [oh.make_tensor_value_info("y", 1, [1, 1, 2])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = ir.from_proto(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)]))
    proto = ir.to_proto(optimize(model))
    assert list(proto.graph.node[0].output) == ["", "h"]
