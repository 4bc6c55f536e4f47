"""Recurrent layers by AMX, or its emulation: states and weights as sums of bfloat16 terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.cpu.recurrent_terms import TERMS, words_of
from sardonyx.kernels.cpu.term_rates import TermCosts
from sardonyx.runtime.ops import recurrent_layer
from sardonyx.tools.recurrent_bench import Case, network

needs_amx = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def model_of(
    operator: str,
    units: int,
    batch: int,
    directions: int,
    lengths: bool,
    states: bool,
    scale: float,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    rng = np.random.default_rng([units, batch, directions])
    steps, inputs, rows = 7 if states else 9, 12, GATES[operator] * units

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {"w": drawn(directions, rows, inputs) / 5, "b": drawn(directions, 2 * rows) / 3}
    weights["r"] = drawn(directions, rows, units) * np.float32(scale / units**0.5)
    feeds: dict[str, np.ndarray] = {"x": drawn(steps, batch, inputs)}
    if lengths:
        feeds["lengths"] = rng.integers(0, steps + 1, batch).astype(np.int32)
    if states:
        feeds["h"] = drawn(directions, batch, units)
    names = ["x", "w", "r", "b", "lengths" if lengths else "", "h" if states else ""]
    attributes: dict[str, Any] = {"linear_before_reset": 1} if operator == "GRU" else {}
    direction = "bidirectional" if directions == 2 else "reverse"
    node = helper.make_node(
        operator, names, ["y", "y_h"], hidden_size=units, direction=direction, **attributes
    )
    values = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in node.output]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "test", values, outputs, constants)
    opsets = [helper.make_opsetid("", 22)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds


def takes_terms(session: sardonyx.Session) -> bool:
    return "'terms'" in " ".join(map(str, session.engine.program.kernels))


@needs_amx
@pytest.mark.parametrize("operator", list(GATES))
@pytest.mark.parametrize(
    ("units", "batch", "directions", "lengths", "states"),
    [(64, 8, 1, False, False), (136, 16, 2, True, True), (160, 21, 1, True, False),
     (134, 35, 2, False, True)],
)  # fmt: skip
def test_as_exact_as_two_terms(
    operator: str, units: int, batch: int, directions: int, lengths: bool, states: bool
) -> None:
    model, feeds = model_of(operator, units, batch, directions, lengths, states, 0.7)
    session = sardonyx.Session(model, threads=2)
    assert takes_terms(session)
    strict = sardonyx.Session(model, threads=2, precision="strict")
    assert not takes_terms(strict)
    for own, wanted in zip(session.run(None, feeds), strict.run(None, feeds), strict=True):
        assert np.abs(own - wanted).max() < 2e-5


@needs_amx
def test_states_that_are_not_finite_stay_in_their_sequence() -> None:
    model, feeds = model_of("RNN", 136, 14, 1, False, True, 0.7)
    feeds["h"][0, 3, 7], feeds["h"][0, 5, 135] = np.inf, np.nan
    own = sardonyx.Session(model).run(["y"], feeds)[0]
    wanted = sardonyx.Session(model, precision="strict").run(["y"], feeds)[0]
    np.testing.assert_allclose(own, wanted, atol=2e-5)


@needs_amx
@pytest.mark.parametrize(
    ("product", "batch", "takes"), [(0.1, 16, True), (0.1, 1, False), (1.0, 16, False)]
)
def test_costs_decide(
    monkeypatch: pytest.MonkeyPatch, product: float, batch: int, takes: bool
) -> None:
    """A tile takes the same time for few sequences."""
    costs = TermCosts(product, 1.0, 0.0, 1.0)
    monkeypatch.setattr(recurrent_layer, "term_costs", lambda terms: costs)
    model, _ = model_of("LSTM", 128, batch, 1, False, False, 0.7)
    assert takes_terms(sardonyx.Session(model)) is takes


@needs_amx
def test_inputs_of_the_model_have_three_terms() -> None:
    """Their small differences may count: products with them are not those of the states."""
    model, feeds = model_of("LSTM", 64, 16, 1, False, False, 0.7)
    feeds["x"] += np.float32(3000)
    shift = -3000 * numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64).sum(-1)
    bias = numpy_helper.to_array(model.graph.initializer[1]).astype(np.float64)
    bias[:, : shift.shape[-1]] += shift
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias.astype(np.float32), "b"))
    own = sardonyx.Session(model).run(["y"], feeds)[0]
    wanted = sardonyx.Session(model, precision="strict").run(["y"], feeds)[0]
    assert np.abs(own - wanted).max() < 2e-3  # 0.1 by two terms


@needs_amx
def test_layers_behind_others_multiply_inputs_and_states_at_once() -> None:
    model = network(Case("LSTM2", 64, 12, 16))
    session = sardonyx.Session(model)
    assert takes_terms(session)
    feeds = {"x": np.random.default_rng(0).standard_normal((12, 16, 64)).astype(np.float32)}
    steps = [step.kernel for step in session.profile(feeds, runs=1).steps]
    assert sum("convolve" in kernel for kernel in steps) == 1  # inputs of the first layer
    wanted = sardonyx.Session(model, precision="strict").run(None, feeds)[0]
    np.testing.assert_allclose(session.run(None, feeds)[0], wanted, atol=2e-5)


def test_words_sum_up_to_the_weights() -> None:
    weights = np.random.default_rng(0).standard_normal((3, 45)).astype(np.float32)
    halves = words_of(weights).view(np.uint16).reshape(3, 2, TERMS, 32)
    terms = (halves.astype(np.uint32) << 16).view(np.float32)
    total = terms.astype(np.float64).sum(2).reshape(3, 64)
    np.testing.assert_allclose(total[:, :45], weights, rtol=2**-16)
    assert not total[:, 45:].any()
