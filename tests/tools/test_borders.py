"""Mixes count what quantizes and widens between layers, and become faster by it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.tools.borders import (
    Borders,
    Cost,
    both_ways,
    corrected,
    improved,
    measured,
    readers_of,
    total_ns,
)
from sardonyx.tools.mixes import Option

HOMES: dict[str, dict[str, str]] = {
    each: dict.fromkeys((f"l{i}" for i in range(9)), each) for each in ("fp32", "bf16", "int8")
}


def line(count: int, cost: float) -> Borders:
    """Layers that read each other, one after the other; 8 bits beside others cost time."""
    names = [f"l{i}" for i in range(count)]
    neighbours = both_ways({name: names[i + 1 : i + 2] for i, name in enumerate(names)})
    pairs = [("int8", "fp32"), ("int8", "bf16"), ("fp32", "int8"), ("bf16", "int8")]
    costs = {(each, *pair): Cost(cost, len(neighbours[each])) for each in names for pair in pairs}
    return Borders(neighbours, HOMES, costs)


def test_layers_whose_results_meet_are_neighbours():
    """A block that sums what went around with what came through, and a reader of the sum."""
    readers = {"a": ["b", "d"], "b": ["c"], "c": ["d"], "d": []}
    found = {"a": ["b", "c", "d"], "b": ["a", "c"], "c": ["a", "b", "d"], "d": ["a", "c"]}
    assert both_ways(readers) == found


def rows(count: int, gains: dict[int, float], noises: dict[int, float]) -> dict[str, list[Option]]:
    return {
        f"l{i}": [
            Option("fp32", 0.0, 100.0),
            Option("bf16", 0.0, 90.0),
            Option("int8", noises.get(i, 1.0), 100.0 - gains.get(i, 50.0)),
        ]
        for i in range(count)
    }


@pytest.mark.parametrize("cost", [0.0, 100.0])
def test_a_layer_among_floats_is_not_worth_its_borders(cost):
    options, between = rows(5, {}, {}), line(5, cost)
    found = improved({"l2": "int8"}, options, between)
    assert (found.get("l2") == "int8") == (cost == 0)
    assert set(found.values()) == ({"bf16", "int8"} if cost == 0 else {"bf16"})


def test_a_float_layer_among_integers_pays_borders_only_for_its_noise():
    options, between = rows(5, {2: -5.0}, {2: 0.0}), line(5, 20.0)
    mix = {f"l{i}": "int8" for i in range(5) if i != 2}
    assert improved(mix, options, between) == dict.fromkeys(options, "int8")
    options = rows(5, {2: -5.0}, {2: 9.0})  # the mix allows 4
    found = improved(mix, options, between)
    assert found["l2"] == "bf16" and list(found.values()).count("int8") == 4


def test_costs_are_never_more_than_was_measured():
    """Three neighbours, of which two differed when borders were measured, some of each kind."""
    costs = {("l", "fp32", "int8"): Cost(-8.0, 2), ("l", "fp32", "bf16"): Cost(-4.0, 2)}
    between = Borders({"l": ["a", "b", "c"]}, {"fp32": {}}, costs)
    for mix, ns in ((["int8"], -4.0), (["int8"] * 2, -8.0), (["int8"] * 3, -8.0),
                    (["int8", "bf16"], -6.0), (["int8", "bf16", "bf16"], -16 / 3)):  # fmt: skip
        assert between.ns(dict(zip("abc", mix, strict=False)), ["l"]) == pytest.approx(ns)


def test_layers_side_by_side_change_together():
    """To fill one of two places saves less than it takes; to fill both saves more."""
    options, between = rows(6, {2: -7.0, 3: -7.0}, {2: 0.0, 3: 0.0}), line(6, 20.0)
    mix = {f"l{i}": "int8" for i in (0, 1, 4, 5)}
    found = improved(mix, options, between)
    assert found == dict.fromkeys(options, "int8")
    assert total_ns(found, options, between) < total_ns(mix, options, between)


def test_borders_are_measured_where_neighbours_differ():
    arrays = {f"w{i}": np.ones((4, 4), np.float32) for i in range(3)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"]),
        helper.make_node("MatMul", ["t", "w1"], ["b"], "second"),
        helper.make_node("MatMul", ["r", "w2"], ["c"], "third"),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, (4, 4))],
        [helper.make_tensor_value_info("y", 1, (4, 4))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    nodes_of: dict[str, ir.Node] = {
        str(node.name): node
        for node in sardonyx.load(proto).graph
        if node.name in ("first", "second", "third")
    }
    assert {k: set(v) for k, v in readers_of(nodes_of).items()} == {
        "first": {"second", "third"}, "second": set(), "third": set(),
    }  # fmt: skip
    asked = []

    def times(mix: Mapping[str, str]) -> dict[str, float]:
        asked.append(dict(mix))
        ns = {"int8": {"first": 30.0, "second": 5.0, "third": 7.0},
              "fp32": {"first": 50.0, "second": 36.0, "third": 40.0},
              "bf16": {"first": 24.0, "third": 22.0}}  # fmt: skip
        return {layer: ns[each][layer] for layer, each in mix.items()}

    homes = {
        "fp32": {}, "int8": dict.fromkeys(nodes_of, "int8"),
        "bf16": {"first": "bf16", "third": "bf16"},
    }  # fmt: skip
    own = {
        "fp32": dict.fromkeys(nodes_of, 40.0),
        "int8": {"first": 10.0, "second": 5.0, "third": 6.0},
        "bf16": {"first": 20.0, "third": 22.0},
    }
    found = measured(nodes_of, homes, own, times)
    bytes_, floats, halves = "int8", "fp32", "bf16"
    alternating = [(floats, bytes_), (bytes_, floats), (floats, halves), (halves, floats)]
    alternating += [(bytes_, halves), (halves, bytes_)]
    assert asked == [
        {"first": a, "second": floats if b == halves else b, "third": b} for a, b in alternating
    ]
    # Each of two neighbours has half of what both cost; some save time, as steps between count
    # for the layer before them.
    assert found.costs["first", "int8", "fp32"] == (20.0, 2)
    assert found.costs["first", "fp32", "int8"] == (10.0, 2)
    assert found.costs["second", "fp32", "int8"] == (-4.0, 1)
    assert found.costs["third", "int8", "fp32"] == (1.0, 1)
    assert found.ns({"first": "int8"}) == 20.0 - 4.0 + 0.0
    assert found.ns({"second": "int8"}) == 5.0  # half of the neighbours of the first one
    assert found.ns(homes["int8"]) == found.ns({}) == 0.0
    # The second one is float32 where all others are bfloat16: a border for it, none for them.
    assert found.ns(homes["bf16"]) == -4.0
    assert found.costs["first", "bf16", "fp32"] == (4.0, 1)
    assert found.ns({"first": "bf16"}) == 4.0 - 4.0
    assert found.ns({"first": "bf16", "third": "int8"}) == 2.0 - 4.0 + 1.0
    options = {
        name: [Option(each, 0, row[name]) for each, row in own.items() if name in row]
        for name in nodes_of
    }
    mix = {"first": "int8", "third": "int8"}
    taken = {"first": 17.0, "second": 44.0, "third": 3.0}
    better = corrected(found, mix, options, taken)
    # third has no border
    assert total_ns(mix, options, better) == 17 + 44 + own["int8"]["third"]
    assert better.ns({"first": "int8"}) == 20.0 + 4.0  # neighbours of the first one are others
