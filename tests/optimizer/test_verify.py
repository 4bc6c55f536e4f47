import numpy as np
import onnx_ir as ir
import pytest
from sardonyx import InvalidArgument, SardonyxError
from sardonyx.optimizer import optimize_with_report, pipeline
from sardonyx.tools import reference

X = {"x": (3,)}


@pytest.fixture
def single_pass(monkeypatch):
    def single_pass(function):
        monkeypatch.setitem(pipeline.LEVELS, "all", {"wrong": function})

    return single_pass


def swap(model, report):
    for node in model.graph:
        if node.op_type == "Add":
            node.op_type = "Sub"
            return 1
    return 0


def swap_silently(model, report):
    swap(model, report)
    return 0


def change_weights(model, report):
    value = model.graph.initializers["k"]
    value.const_value = ir.tensor(value.const_value.numpy() + np.float32(1e-2))
    return 0


def change_attribute(model, report):
    for node in model.graph:
        if node.op_type == "Elu":
            node.attributes["alpha"] = ir.AttrFloat32("alpha", 0.5)
    return 0


def lose_an_input(model, report):
    for node in model.graph:
        node.replace_input_with(1, None)
    return 1


@pytest.mark.parametrize("broken", [swap, swap_silently, change_weights])
def test_a_pass_that_changes_results_is_named_with_the_output(graph, single_pass, broken):
    single_pass(broken)
    with pytest.raises(SardonyxError, match=r"pass 'wrong' changed output 'y': \d of 3 elements"):
        optimize_with_report(graph([("Add", "x k", "y")], X, k=np.float32([1, 2, 3])), verify=True)


def test_a_changed_attribute_is_seen(graph, single_pass):
    single_pass(change_attribute)
    with pytest.raises(SardonyxError, match="pass 'wrong' changed output 'y'"):
        optimize_with_report(graph([("Elu", "x", "y")], X), verify={"x": -np.ones(3, np.float32)})


def test_a_pass_that_breaks_the_model_is_named(graph, single_pass):
    single_pass(lose_an_input)
    with pytest.raises(SardonyxError, match="pass 'wrong' made a model that does not run"):
        optimize_with_report(graph([("Add", "x k", "y")], X, k=np.float32([1])), verify=True)


def test_outputs_that_are_not_finite_are_compared_too(graph, single_pass):
    model = graph([("Add", "x k", "y")], X, k=np.float32([1, 2, 3]))
    feeds = {"x": np.float32([np.nan, np.inf, 1])}
    optimize_with_report(model, verify=feeds)
    single_pass(swap)
    with pytest.raises(SardonyxError, match="pass 'wrong'"):
        optimize_with_report(model, verify=feeds)


def test_another_runner_can_be_given(graph):
    calls = []

    def runner(model, feeds):
        calls.append(len(model.graph))
        return list(reference.values(model, feeds, ["y"]).values())

    nodes = [("Identity", "x", "i"), ("Sigmoid", "i", "s"), ("Mul", "i s", "y")]
    optimized, _ = optimize_with_report(graph(nodes, X), verify=True, runner=runner)
    assert [node.op_type for node in optimized.graph] == ["Swish"]
    assert calls[0] == 3 and calls[-1] == 1 and len(calls) >= 3


def test_inputs_that_cannot_be_made_up_are_asked_for(graph):
    model = graph([("Relu", "x", "y")], X)
    model.graph.inputs[0].shape = None
    with pytest.raises(InvalidArgument, match=r"'x'.*give inputs of your own"):
        optimize_with_report(model, verify=True)
