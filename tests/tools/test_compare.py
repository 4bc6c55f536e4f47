import numpy as np
import onnx
import pytest
from sardonyx.optimizer import pipeline
from sardonyx.runtime import program_cache
from sardonyx.runtime.ops import OPERATORS
from sardonyx.tools import reference
from sardonyx.tools.compare import compare
from sardonyx.tools.culprit import find_culprit


def test_no_culprit_where_all_agrees(chain, chain_feeds, reference_session):
    assert find_culprit(reference_session(chain), chain_feeds, reference_session) is None


def test_first_faulty_step_is_found_and_its_heirs_are_not(chain, chain_feeds, reference_session):
    faults = {"b": 0.25}
    found = find_culprit(
        reference_session(chain, faults=faults),
        chain_feeds,
        lambda model, optimize: reference_session(model, faults=faults),
    )
    assert (found.name, found.op_type, found.nodes) == ("relu", "Relu", ("relu",))
    assert found.alone
    assert found.differences[0].max_abs == pytest.approx(0.25, rel=1e-5)
    assert [value.name for value in found.model.graph.inputs] == ["a"]


def test_a_fault_that_needs_the_whole_model_is_told_apart(chain, chain_feeds, reference_session):
    found = find_culprit(
        reference_session(chain, faults={"c": 1.0}),
        chain_feeds,
        lambda model, optimize: reference_session(model),
    )
    assert found.name == "second" and not found.alone


def test_a_later_fault_of_its_own_goes_before_inherited_errors(
    chain, chain_feeds, reference_session
):
    found = find_culprit(
        reference_session(chain, faults={"a": 1.0, "c": 1.0}),
        chain_feeds,
        lambda model, optimize: reference_session(model, faults={"c": 1.0}),
    )
    assert found.name == "second" and found.alone


def test_repro_holds_a_model_its_inputs_and_the_expected_outputs(
    chain, chain_feeds, reference_session, tmp_path
):
    found = find_culprit(
        reference_session(chain, faults={"c": 1.0}),
        chain_feeds,
        lambda model, optimize: reference_session(model),
    )
    found.save(tmp_path / "repro")
    model = onnx.load(tmp_path / "repro" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.node] == ["second"]
    inputs = dict(np.load(tmp_path / "repro" / "inputs.npz"))
    expected = dict(np.load(tmp_path / "repro" / "expected.npz"))
    values = reference.values(model, inputs, ["c"])
    np.testing.assert_array_equal(values["c"], expected["c"])
    whole = reference.values(chain, chain_feeds, ["c"])
    np.testing.assert_allclose(values["c"], whole["c"], rtol=1e-6)


# --- the real session ---------------------------------------------------------------------------


@pytest.fixture
def network(monkeypatch):
    """``y = tanh(x @ w) @ v + 1``, and no program kept on disk that holds a fault of a test."""
    monkeypatch.setattr(program_cache, "opened_folder", lambda *_: None)
    rng = np.random.default_rng(8)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        onnx.helper.make_node("Tanh", ["a"], ["b"], "middle"),
        onnx.helper.make_node("MatMul", ["b", "v"], ["c"], "second"),
        onnx.helper.make_node("Add", ["c", "one"], ["y"], "last"),
    ]
    weights = {
        "w": rng.standard_normal((4, 8)).astype(np.float32),
        "v": rng.standard_normal((8, 5)).astype(np.float32),
        "one": np.ones(5, np.float32),
    }
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 5])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [onnx.helper.make_opsetid("", 24)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_a_right_model_agrees(network):
    found = compare(network, dims=["n=3"], bisect=True)
    assert found.agrees and found.culprit is None and not found.optimizer_fault


def test_the_first_node_with_a_wrong_kernel_is_found(network, monkeypatch):
    monkeypatch.setitem(OPERATORS, ("", "Tanh"), OPERATORS["", "Sigmoid"])
    found = compare(network, dims=["n=3"], bisect=True)
    assert not found.agrees and not found.optimizer
    assert found.culprit is not None and "middle" in found.culprit.nodes
    assert found.culprit.alone


def test_the_pass_of_the_optimizer_that_is_wrong_is_found(network, monkeypatch):
    def negate(model, report):
        for node in model.graph:
            if node.op_type == "Tanh":
                node.op_type = "Sin"
                return 1
        return 0

    passes = {**pipeline.LEVELS["all"], "negate": negate}
    monkeypatch.setitem(pipeline.LEVELS, "all", passes)
    found = compare(network, dims=["n=3"], bisect=True)
    assert [each.name for each in found.optimizer] == ["y"]
    assert "pass 'negate' changed output 'y'" in found.optimizer_fault
    assert found.culprit is None
