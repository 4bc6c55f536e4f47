import numpy as np
import onnx
import pytest
from sardonyx.tools import reference
from sardonyx.tools.compare import find_culprit


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
