"""Rotary embedding written out becomes one operator; other turns of rows stay."""

import numpy as np
import pytest

F = np.float32
HALVES = {"zero": np.array([0]), "four": np.array([4]), "all": np.array([2**63 - 1]),
          "last": np.array([-1]), "one": np.array([1])}  # fmt: skip


def angles(scaled=False):
    """Tables of both halves, as LLaMA's exports have them."""
    tables = []
    for kind, short in (("Cos", "c"), ("Sin", "s")):
        tables += [
            (kind, "two", f"{short}0"),
            *([("Mul", f"{short}0 scale", f"{short}1")] if scaled else []),
            ("Unsqueeze", f"{short}{int(scaled)} one", kind.lower()),
        ]
    return [("Concat", "f f", "two", {"axis": -1}), *tables]


def turned(order="n a", first="zero four", second="four all", axis=-1):
    return [
        ("Slice", f"x {first} last", "a"),
        ("Slice", f"x {second} last", "b"),
        ("Neg", "b", "n"),
        ("Concat", order, "r", {"axis": axis}),
        ("Mul", "x cos", "xc"),
        ("Mul", "sin r", "rs"),
        ("Add", "xc rs", "y"),
    ]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("batch", [1, "b"])
@pytest.mark.parametrize("axis", [-1, 3])
def test_turned_halves_are_one_operator(graph, optimized, batch, axis, scaled):
    inputs = {"x": ("b", 3, "s", 8), "f": (batch, "s", 4)}
    weights = {**HALVES, "scale": F(1.5)} if scaled else HALVES
    model = graph([*angles(scaled), *turned(axis=axis)], inputs, **weights)
    left, _ = optimized(model, b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and "Neg" not in left and "Add" not in left
    assert ("Expand" in left) == (batch == 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order": "a n"}, None),
        ({"first": "one four"}, None),
        ({"first": "four all", "second": "zero four"}, "does not take halves"),
    ],
)
def test_other_turns_stay(graph, optimized, change, reason):
    inputs = {"x": (2, 3, "s", 8), "f": (2, "s", 4)}
    if "one" in change.get("first", ""):
        inputs["f"] = (2, "s", 4)
        change = {"first": "one five", "second": "four all"}
    model = graph([*angles(), *turned(**change)], inputs, **HALVES, five=np.array([5]))
    left, report = optimized(model, s=5)
    assert "RotaryEmbedding" not in left
    assert reason is None or any(reason in text for text in report.explanations)


def test_tables_whose_halves_differ_stay(graph, optimized):
    inputs = {"x": (2, 3, "s", 8), "f": (2, "s", 4), "g": (2, "s", 4)}
    nodes = [("Concat", "f g", "two", {"axis": -1}), *angles()[1:], *turned()]
    left, report = optimized(graph(nodes, inputs, **HALVES), s=5)
    assert "RotaryEmbedding" not in left
    assert any("halves are not equal" in text for text in report.explanations)


def test_rows_that_broadcast_stay(graph, optimized):
    inputs = {"x": (2, 3, 1, 8), "f": (2, "s", 4)}
    assert (
        "RotaryEmbedding" not in optimized(graph([*angles(), *turned()], inputs, **HALVES), s=5)[0]
    )
