"""Last states, and sequences read backwards."""

import numpy as np
import pytest
from sardonyx.optimizer import optimize_with_report

from .recurrent_loops import CELLS, OUTPUTS, layer

SIZES = {"time": 6, "n": 3}


def reversal(source, result):
    """Reverse a sequence as tf2onnx does."""
    return [
        ("Shape", source, f"{source}_shape"),
        ("Gather", f"{source}_shape zeroth", f"{source}_length"),
        ("Gather", f"{source}_shape first", f"{source}_batch"),
        ("Expand", f"{source}_length {source}_batch", f"{source}_lengths"),
        ("ReverseSequence", f"{source} {source}_lengths", result, {"batch_axis": 1}),
    ]


LAST = [
    ("Slice", "ys minus most zeroth", "part", {"minus": np.array([-1]), "most": np.array([2**62])}),
    ("Squeeze", "part zeroth", "end"),
]


@pytest.fixture(autouse=True)
def more_outputs(monkeypatch):
    monkeypatch.setitem(OUTPUTS, "end", OUTPUTS["last"])
    monkeypatch.setitem(OUTPUTS, "turned", OUTPUTS["ys"])


def directions(model):
    optimized, _ = optimize_with_report(model)
    attributes = [node.attributes.get("direction") for node in optimized.graph if "hidden_size" in
             node.attributes]  # fmt: skip
    return ["forward" if each is None else each.as_string() for each in attributes]


@pytest.mark.parametrize("cell", CELLS)
def test_the_last_step_is_the_last_state(optimized, cell):
    left, _ = optimized(layer(cell, "end", after=LAST), **SIZES)
    assert len(left) == 2 and "Squeeze" in left and "Slice" not in left


def test_another_step_is_not(optimized):
    first = [(*LAST[0][:3], {"minus": np.array([0]), "most": np.array([1])}), LAST[1]]
    left, report = optimized(layer("RNN", "end", after=first), **SIZES)
    assert "Slice" in left
    assert any("not the last step" in text for text in report.explanations)


@pytest.mark.parametrize("cell", CELLS)
def test_a_reversed_sequence_is_read_backwards(optimized, cell):
    before = reversal("v", "sequence")
    for recurrent in (
        layer(cell, "end", before=before, after=LAST),
        layer(cell, "turned last", before=before, after=reversal("ys", "turned")),
    ):
        left, _ = optimized(recurrent, **SIZES)
        assert set(left) == {cell.partition("_")[0], "Squeeze"}
        assert directions(recurrent) == ["reverse"]


def test_where_results_stay_reversed_the_sequence_does(optimized):
    recurrent = layer("RNN", "ys last", before=reversal("v", "sequence"))
    left, _ = optimized(recurrent, **SIZES)
    assert "ReverseSequence" in left and directions(recurrent) == ["forward"]


def test_a_sequence_that_is_reversed_in_part_stays(optimized):
    before = [("ReverseSequence", "v partly", "sequence", {"partly": np.array([6, 4, 6]),
                                                         "batch_axis": 1})]  # fmt: skip
    left, _ = optimized(layer("RNN", "end", before=before, after=LAST), **SIZES)
    assert "ReverseSequence" in left and "RNN" in left
