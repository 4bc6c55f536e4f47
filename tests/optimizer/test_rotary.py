"""Rotary embedding written out becomes one operator; other turns of rows stay."""

import numpy as np
import pytest

F = np.float32
NUMBERS = {
    "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "three": np.array([3]),
    "four": np.array([4]), "all": np.array([2**63 - 1]), "last": np.array([-1]),
    "n0": np.array(0), "n1": np.array(1), "halves": np.array([4, 4]), "eight": np.array([8]),
    "flat": np.array([0, 0, 0, 8]), "by_pairs": np.array([0, 0, 0, 4, 2]),
    "twice": np.array([1, 1, 1, 1, 2]), "front": np.array([-1, 1, 5, 8]),
}  # fmt: skip


def angles(table, scaled=False, axis="one"):
    """Tables of cosines and sines of what has each angle twice."""
    nodes = []
    for kind, short in (("Cos", "c"), ("Sin", "s")):
        nodes += [
            (kind, table, f"{short}0"),
            *([("Mul", f"{short}0 scale", f"{short}1")] if scaled else []),
            ("Unsqueeze", f"{short}{int(scaled)} {axis}", kind.lower()),
        ]
    return nodes


HALVES = [("Concat", "f f", "t", {"axis": -1})]
NEIGHBOURS = [("Unsqueeze", "f last", "fu"), ("Concat", "fu fu", "ft", {"axis": -1}),
              ("Reshape", "ft table", "t")]  # fmt: skip
SUM = [("Mul", "x cos", "xc"), ("Mul", "sin r", "rs"), ("Add", "xc rs", "y")]


def two_slices(first="zero four", second="four all", order="n a", axis=-1):
    return [
        ("Slice", f"x {first} last", "a"),
        ("Slice", f"x {second} last", "b"),
        ("Neg", "b", "n"),
        ("Concat", order, "r", {"axis": axis}),
    ]


STACKED = [("Unsqueeze", "n last", "nu"), ("Unsqueeze", "a last", "au"),
           ("Concat", "nu au", "st", {"axis": -1}), ("Reshape", "st flat", "r")]  # fmt: skip
WAYS = {
    "slices": (0, two_slices()),
    "slices along axis 3": (0, two_slices(axis=3)),
    "split": (0, [("Split", "x halves", "a b", {"axis": 3}), ("Neg", "b", "n"),
                  ("Concat", "n a", "r", {"axis": -1})]),
    "split of all negated": (0, [("Neg", "x", "m"),
                                 ("Split", "m", "ma n", {"axis": -1, "num_outputs": 2}),
                                 ("Slice", "x zero four last", "a"),
                                 ("Concat", "n a", "r", {"axis": -1})]),
    "stacked halves": (0, [("Split", "x halves", "a b", {"axis": 3}), ("Neg", "b", "n"),
                           ("Unsqueeze", "n three", "nu"), ("Unsqueeze", "a three", "au"),
                           ("Concat", "nu au", "st", {"axis": 3}), ("Reshape", "st flat", "r")]),
    "every second": (1, [("Slice", "x zero all last two", "a"),
                         ("Slice", "x one all last two", "b"), ("Neg", "b", "n"), *STACKED]),
    "unbound": (1, [("Reshape", "x by_pairs", "p"), ("Gather", "p n0", "a", {"axis": -1}),
                    ("Gather", "p n1", "b", {"axis": 4}), ("Neg", "b", "n"), *STACKED]),
    "split pairs": (1, [("Reshape", "x by_pairs", "p"), ("Neg", "p", "np"),
                        ("Slice", "np one two last", "nu"), ("Slice", "p zero one last", "au"),
                        ("Concat", "nu au", "st", {"axis": 4}), ("Reshape", "st flat", "r")]),
}  # fmt: skip


def model_of(graph, tables, ways, inputs, **more):
    table = np.array([0, 0, 8])
    return graph([*tables, *ways, *SUM], inputs, **NUMBERS, scale=F(1.5), table=table, **more)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("batch", [1, "b"])
@pytest.mark.parametrize("way", WAYS)
def test_turned_pairs_are_one_operator(graph, optimized, batch, way, scaled):
    interleaved, nodes = WAYS[way]
    tables = [*(NEIGHBOURS if interleaved else HALVES), *angles("t", scaled)]
    inputs = {"x": ("b", 3, "s", 8), "f": (batch, "s", 4)}
    left, _ = optimized(model_of(graph, tables, nodes, inputs), b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and not {"Neg", "Add", "Concat"} & set(left) - (
        {"Concat"} if batch == 1 else set()
    )
    assert ("Expand" in left) == (batch == 1)


TABLES = {
    "repeated": [("Unsqueeze", "f last", "fu"), ("Expand", "fu pairs", "ft"),
                 ("Reshape", "ft table", "t")],
    "tiled": [("Unsqueeze", "f last", "fu"), ("Tile", "fu tiles", "ft"),
              ("Reshape", "ft table", "t")],
    "of halves": [("Concat", "f f", "h", {"axis": -1}), ("Slice", "h zero four last", "g"),
                  ("Unsqueeze", "g last", "gu"), ("Concat", "gu gu", "gt", {"axis": -1}),
                  ("Reshape", "gt table", "t")],
    "looked up": [("Gather", "stored places", "t", {"axis": 0})],
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_tables_may_be_made_otherwise(graph, optimized, table):
    inputs = {"x": ("b", 3, "s", 8), "f": ("b", "s", 4)}
    if table == "looked up":
        inputs = {"x": ("b", 3, "s", 8), "places": (("b", "s"), np.int64)}
    stored = np.repeat(np.random.default_rng(0).standard_normal((9, 4)), 2, 1).astype(F)
    model = model_of(
        graph, [*TABLES[table], *angles("t")], WAYS["every second"][1], inputs, stored=stored,
        pairs=np.array([1, 1, 1, 2]), tiles=np.array([1, 1, 1, 2]),
    )  # fmt: skip
    feeds = None
    if table == "looked up":
        places = np.arange(10).reshape(2, 5) % 9
        feeds = {
            "x": np.random.default_rng(1).standard_normal((2, 3, 5, 8)).astype(F),
            "places": places,
        }
    left, _ = optimized(model, feeds=feeds, b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and "Neg" not in left


@pytest.mark.parametrize("way", ["split", "every second"])
def test_heads_may_come_behind_positions(graph, optimized, way):
    interleaved, nodes = WAYS[way]
    tables = [*(NEIGHBOURS if interleaved else HALVES), *angles("t", axis="two")]
    inputs = {"x": ("b", "s", 3, 8), "f": ("b", "s", 4)}
    left, _ = optimized(model_of(graph, tables, nodes, inputs), b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and left.count("Transpose") == 2


def test_tables_may_be_for_all_rows(graph, optimized):
    """As where the rows of heads are of the batch, and batches are positions (ChatGLM)."""
    inputs = {"x": ("s", "b", 3, 8), "f": ("s", 1, 4)}
    model = model_of(graph, [*HALVES, *angles("t", axis="two")], WAYS["split"][1], inputs)
    left, _ = optimized(model, b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and left.count("Expand") == 2


@pytest.mark.parametrize("interleaved", [0, 1])
def test_two_sums_put_together_are_one_operator(graph, optimized, interleaved):
    take = [("Split", "x halves", "a b", {"axis": -1})]
    join = [("Concat", "p q", "y", {"axis": -1})]
    if interleaved:
        take = WAYS["every second"][1][:2]
        join = [("Unsqueeze", "p last", "pu"), ("Unsqueeze", "q last", "qu"),
                ("Concat", "pu qu", "st", {"axis": -1}), ("Reshape", "st flat", "y")]  # fmt: skip
    nodes = [
        *angles("f"), *take,
        ("Mul", "a cos", "ac"), ("Mul", "b sin", "bs"), ("Sub", "ac bs", "p"),
        ("Mul", "b cos", "bc"), ("Mul", "sin a", "as"), ("Add", "as bc", "q"), *join,
    ]  # fmt: skip
    inputs = {"x": ("b", 3, "s", 8), "f": ("b", "s", 4)}
    left, _ = optimized(graph(nodes, inputs, **NUMBERS), b=2, s=5)
    assert left.count("RotaryEmbedding") == 1 and not {"Sub", "Add"} & set(left)
    if interleaved:  # neighbours that become halves are another order
        join = [("Concat", "p q", "y", {"axis": -1})]
        left, _ = optimized(graph([*nodes[:-4], *join], inputs, **NUMBERS), b=2, s=5)
        assert "RotaryEmbedding" not in left


@pytest.mark.parametrize("order", ["turned rest", "rest turned"])
@pytest.mark.parametrize("axis", ["one", "two"])
@pytest.mark.parametrize("way", ["slices", "every second"])
def test_only_the_first_elements_may_be_turned(graph, optimized, way, axis, order):
    interleaved, nodes = WAYS[way]
    nodes = [
        *(NEIGHBOURS if interleaved else HALVES), *angles("t", axis=axis),
        ("Slice", "whole zero eight last", "x"), ("Slice", "whole eight all last", "rest"),
        *nodes, *SUM[:2], ("Add", "xc rs", "t2"),
        ("Concat", order.replace("turned", "t2"), "y", {"axis": -1}),
    ]  # fmt: skip
    shape = ("b", 3, "s", 14) if axis == "one" else ("b", "s", 3, 14)
    model = graph(nodes, {"whole": shape, "f": ("b", "s", 4)}, table=np.array([0, 0, 8]), **NUMBERS)
    left, _ = optimized(model, b=2, s=5)
    assert left.count("RotaryEmbedding") == 1
    assert ("Slice" in left) == ("Concat" in left) == (order == "rest turned")


@pytest.mark.parametrize(
    ("way", "tables"),
    [
        ("slices", HALVES),
        ("every second", NEIGHBOURS),
    ],
)
@pytest.mark.parametrize("change", ["order", "parts", "sign", "tables", "rows"])
def test_other_turns_stay(graph, optimized, way, tables, change):
    nodes, inputs = list(WAYS[way][1]), {"x": (2, 3, "s", 8), "f": (2, "s", 4)}
    if change == "order":
        names = {"n a": "a n", "nu au": "au nu"}
        nodes = [(kind, names.get(text, text), *more) for kind, text, *more in nodes]
    elif change == "parts":
        nodes[0] = (nodes[0][0], nodes[1][1], *nodes[0][2:])
    elif change == "sign":
        nodes[2] = ("Abs", "b", "n")
    elif change == "tables":
        tables = NEIGHBOURS if tables is HALVES else HALVES
    else:
        inputs["x"] = (2, 3, 1, 8)
    left, _ = optimized(model_of(graph, [*tables, *angles("t")], nodes, inputs), s=5)
    assert "RotaryEmbedding" not in left


@pytest.mark.parametrize("g", ["other", "scaled"])
def test_tables_whose_angles_differ_stay(graph, optimized, g):
    inputs = {"x": (2, 3, "s", 8), "f": (2, "s", 4), "other": (2, "s", 4)}
    nodes = [("Mul", "f scale", "scaled"), ("Concat", f"f {g}", "t", {"axis": -1}), *angles("t")]
    left, report = optimized(model_of(graph, nodes, WAYS["slices"][1], inputs), s=5)
    assert "RotaryEmbedding" not in left
    assert any("angles of the elements of a pair differ" in text for text in report.explanations)
