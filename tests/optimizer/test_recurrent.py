"""Loops that are recurrent layers, and those that are nearly."""

import numpy as np
import pytest
from sardonyx.optimizer import optimize_with_report

from .recurrent_loops import CELLS, GRU_AFTER, HIDDEN, RNN, changed, layer

SIZES = {"time": 6, "n": 3}
OPERATORS = {"GRU_AFTER": "GRU", "GRU_BEFORE": "GRU", "RNN": "RNN", "LSTM": "LSTM"}
ROWS = {"start_state": ["n", HIDDEN]}
RNG = np.random.default_rng(7)


@pytest.mark.parametrize("cell", CELLS)
def test_a_loop_becomes_one_operator(optimized, cell):
    left, report = optimized(layer(cell), **SIZES)
    assert sorted(left) == sorted([OPERATORS[cell], "Squeeze", "Squeeze"])
    assert any(f"'layer' fused: {OPERATORS[cell]}" in text for text in report.explanations)


@pytest.mark.parametrize("cell", CELLS)
def test_it_begins_with_the_state_it_is_given(optimized, cell):
    left, _ = optimized(layer(cell, more_inputs=ROWS, initial="start_state start_state"), **SIZES)
    assert OPERATORS[cell] in left and "Loop" not in left
    left, _ = optimized(layer(cell, more_inputs=ROWS, initial="start_state zeros"), **SIZES)
    assert OPERATORS[cell] in left and "Loop" not in left


def test_the_cell_state_of_an_lstm_is_given_back(optimized):
    left, _ = optimized(layer("LSTM", "last_cell last ys"), **SIZES)
    assert sorted(left) == ["LSTM", "Squeeze", "Squeeze", "Squeeze"]


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        # h' = c + z (h - c)
        (
            [
                *changed(changed(GRU_AFTER, "keep", "Sub", "h c", "keep"), "new", "Mul",
                         "z keep", "new")[:-1],
                ("Add", "c new", "h_new"),
            ],
            "GRU_AFTER",
        ),
        # One Gemm instead of a product and a sum.
        ([("Gemm", "x W B", "xs"), *RNN[2:]], "RNN"),
        ([("Gemm", "x W B", "p"), RNN[2], ("Add", "q p", "s"), RNN[4]], "RNN"),
    ],
)  # fmt: skip
def test_it_does_not_matter_how_the_cell_is_written(optimized, cell, kind):
    left, _ = optimized(layer(cell, kind=kind), **SIZES)
    assert OPERATORS[kind] in left and "Loop" not in left


def masked(nodes):
    """Keep the old state where the step's first input is not positive."""
    first = {"begin0": np.array([0]), "end0": np.array([1]), "axis0": np.array([1])}
    return [
        *nodes[:-1],
        (nodes[-1][0], nodes[-1][1], "h_step"),
        ("Slice", "x begin0 end0 axis0", "flag", first),
        ("Greater", "flag zero_f", "valid", {"zero_f": np.array(0, np.float32)}),
        ("Where", "valid h_step h", "h_new"),
    ]


NEARLY = {
    "mask of its own": (masked(GRU_AFTER), "'valid' is no element of a sequence"),
    "sine": (changed(GRU_AFTER, "c", "Sin", "c0", "c"), "candidate is made by Sin"),
    "hard gate": (changed(GRU_AFTER, "z", "HardSigmoid", "z0", "z"), "one gate has Sigmoid, ano"),
    "a gate's factor": (changed(GRU_AFTER, "z0", "Mul", "xz hs_0", "z0"), "update gate adds"),
    "gates swapped": (changed(GRU_AFTER, "old", "Mul", "keep h", "old"), "nor is it the state"),
    "the state as it is": (changed(GRU_AFTER, "c0", "Sum", "xh rh h", "c0"), "candidate adds"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEARLY)
def test_another_cell_stays_a_loop(optimized, case):
    cell, reason = NEARLY[case]
    left, report = optimized(layer(cell, kind="GRU_AFTER"), **SIZES)
    assert "Loop" in left and "GRU" not in left
    assert any(
        "recurrent layer in 'layer' not fused" in text and reason in text
        for text in report.explanations
    ), report.explanations


def resized(output, *node):
    return lambda nodes: changed(nodes, output, *node)


THREE = {"three": np.array(3)}
FEW = {"few": np.array(3, np.int32)}
LOOPS = {
    "fewer steps": ({"sizes": resized("length", "Identity", "few", "length", FEW)}, "3 steps"),
    "a size that is computed": (
        {"sizes": resized("trips", "Add", "by_data three", "trips", THREE), "before": [
            ("Identity", "v", "sequence"),
            ("ReduceMax", "v", "top", {"keepdims": 0}),
            ("Floor", "top", "floor"),
            ("Cast", "floor", "by_data", {"to": 7}),
        ]},
        "neither a number nor the size of an axis",
    ),
    "no step": ({"sizes": resized("begin", "Less", "steps none", "begin")}, "no step at all"),
    "the number of the step": ({"outputs": "time_end last"}, "the number of steps, is used"),
}  # fmt: skip


@pytest.mark.usefixtures("loops_stay")
@pytest.mark.parametrize("case", LOOPS)
def test_another_loop_stays(optimized, case):
    options, reason = LOOPS[case]
    left, report = optimized(layer("GRU_AFTER", **options), **SIZES)
    assert "Loop" in left and "GRU" not in left
    assert any("not fused" in text and reason in text for text in report.explanations), (
        report.explanations
    )


def test_a_state_of_one_row_for_all_sequences_stays_in_a_loop():
    row = RNG.standard_normal((1, HIDDEN)).astype(np.float32)
    optimized_model, report = optimize_with_report(
        layer("RNN", initial="row", row=row), explain=True
    )
    assert "Loop" in [node.op_type for node in optimized_model.graph]
    assert any("'row' has 1 rows" in text for text in report.explanations)


def test_a_loop_that_reads_backwards_stays(optimized):
    cell = [
        ("Sub", "most time", "from_end", {"most": np.array(5, np.int32)}),
        ("Gather", "sequence from_end", "y", {"axis": 0}),
        ("MatMul", "y W", "p"),
        *RNN[1:],
    ]
    left, report = optimized(layer(cell, kind="RNN"), **SIZES)
    assert "Loop" in left
    assert any("no element of a sequence" in text for text in report.explanations)


def test_a_loop_without_products_is_no_near_miss(optimized):
    cell = [("Tanh", "h", "h_new")]
    left, report = optimized(layer(cell, kind="RNN"), **SIZES)
    assert "Loop" in left and not any("recurrent" in text for text in report.explanations)


@pytest.mark.parametrize("cell", CELLS)
def test_the_pass_is_verified(cell):
    optimized_model, _ = optimize_with_report(layer(cell), verify=True)
    assert OPERATORS[cell] in [node.op_type for node in optimized_model.graph]
