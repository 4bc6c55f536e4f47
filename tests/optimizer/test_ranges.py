"""Intervals of the values of a tensor, whatever the inputs are."""

import numpy as np
import pytest
from sardonyx.optimizer.intervals import LOWEST, Interval
from sardonyx.optimizer.ranges import value_range

F = np.float32
WORDS = {"i": (("n",), np.int32), "b": (("n",), np.bool_), "x": ("n",)}
MOST = -float(LOWEST)
INTS = {"to": 1}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("Cast", "b", "y", INTS)], Interval(0, 1)),
        ([("Cast", "i", "y", INTS)], Interval(-(2.0**31), 2.0**31 - 1)),
        ([("Cast", "b", "f", INTS), ("Sub", "one f", "y")], Interval(0, 1)),
        ([("Cast", "b", "f", INTS), ("Mul", "f minus", "y")], Interval(-5, 0)),
        ([("Cast", "b", "f", INTS), ("Add", "f minus", "y")], Interval(-5, -4)),
        ([("Where", "b one minus", "y")], Interval(-5, 1)),
        ([("Where", "b one infinite", "y")], Interval(0, 1, True)),
        ([("Where", "b one lowest", "y")], Interval(-MOST, 1)),
        ([("Where", "b minus lowest", "w"), ("Add", "w w", "y")], Interval(-MOST, -10, True)),
        ([("Where", "b one lowest", "w"), ("Max", "w minus", "y")], Interval(-5, 1)),
        ([("Where", "b one infinite", "w"), ("Max", "w minus", "y")], Interval(0, 1)),
        ([("Where", "b one infinite", "w"), ("Mul", "w one", "y")], Interval(0, 1, True)),
        ([("Cast", "b", "f", INTS), ("Concat", "f three", "y", {"axis": 0})], Interval(0, 3)),
        ([("Gather", "table i", "g"), ("Unsqueeze", "g zero", "y")], Interval(-2, 7)),
        # Nothing is known of:
        ([("Identity", "x", "y")], None),
        ([("Where", "b x one", "y")], None),
        ([("Exp", "one", "y")], None),
        ([("Cast", "b", "f", INTS), ("Mul", "f infinite", "y")], None),  # 0 * -inf
        ([("Where", "b one infinite", "w"), ("Sub", "one w", "y")], None),  # +inf
        ([("Cast", "i", "f", INTS), ("Mul", "f huge", "y")], None),  # overflows
        ([("Where", "b one nan", "y")], None),
    ],
)
def test_ranges(graph, nodes, expected):
    constants = {
        "one": F(1), "minus": F(-5), "three": F([3]), "infinite": F(-np.inf), "lowest": LOWEST,
        "huge": F(1e38), "nan": F(np.nan), "table": F([-2, 7, 0]), "zero": np.array([0]),
    }  # fmt: skip
    read = {name for node in nodes for name in node[1].split()}
    model = graph(nodes, {name: WORDS[name] for name in WORDS if name in read},
                  **{name: array for name, array in constants.items() if name in read})  # fmt: skip
    assert value_range(model.graph.outputs[0]) == expected


def test_long_chains_end(graph):
    """They are not followed without end, and shared parts not again and again."""
    nodes = [("Cast", "b", "v0", INTS)]
    nodes += [("Add", f"v{i} v{i}", f"v{i + 1}") for i in range(40)]
    model = graph(nodes, {"b": WORDS["b"]})
    assert value_range(model.graph.outputs[0]) == Interval(0, 2.0**40)
    nodes += [("Add", f"v{i} one", f"v{i + 1}") for i in range(40, 3000)]
    model = graph(nodes, {"b": WORDS["b"]}, one=F(1))
    assert value_range(model.graph.outputs[0]) is None
