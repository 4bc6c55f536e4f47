"""Masks that arithmetic on scores writes: attention all the same, where nothing else changes."""

import numpy as np
import pytest

F = np.float32
INPUTS = {"q": ("b", 3, "s", 8), "k": ("b", 3, "t", 8), "v": ("b", 3, "t", 5)}
SCORES = [("Transpose", "k", "kt", {"perm": [0, 1, 3, 2]}), ("MatMul", "q kt", "n"),
          ("Mul", "n c", "s")]  # fmt: skip
SHARES = [("Softmax", "m", "p"), ("MatMul", "p v", "y")]
KEEP = {"keep": (("b", 1, "s", "t"), np.bool_)}


def feeds():
    rng = np.random.default_rng(2)
    shapes = {"q": (2, 3, 4, 8), "k": (2, 3, 6, 8), "v": (2, 3, 6, 5)}
    arrays = {name: rng.standard_normal(shape, F) for name, shape in shapes.items()}
    keep = rng.random((2, 1, 4, 6)) < 0.6
    keep[0, :, 0] = False  # nothing
    return arrays | {"keep": keep}


def attention(graph, mask, **constants):
    return graph([*SCORES, *mask, *SHARES], INPUTS | KEEP, c=F(0.5), **constants)


@pytest.mark.parametrize("order", ["f", "one"])
@pytest.mark.parametrize("number", [F(1e9), F(1e30)])
def test_a_mask_may_be_subtracted(graph, optimized, number, order):
    """As XLNet and Keras do it."""
    flag = [("Not", "keep", "drop"), ("Cast", "drop", "g", {"to": 1})]
    if order == "one":
        flag = [("Cast", "keep", "f", {"to": 1}), ("Sub", "one f", "g")]
    constants = {"one": F(1)} if order == "one" else {}
    mask = [*flag, ("Mul", "g low", "l"), ("Sub", "s l", "m")]
    model = attention(graph, mask, low=number, **constants)
    left, _ = optimized(model, feeds=feeds())
    assert left.count("Attention") == 1 and "Softmax" not in left


def test_scores_without_their_largest_stay_a_softmax(graph, optimized):
    mask = [("ReduceMax", "s last", "l", {"keepdims": 1}), ("Sub", "s l", "m")]
    nodes = [*SCORES, *mask, *SHARES]
    values = {name: array for name, array in feeds().items() if name != "keep"}
    left, _ = optimized(graph(nodes, INPUTS, c=F(0.5), last=np.array([-1])), feeds=values)
    assert "Softmax" in left and "Attention" not in left


@pytest.mark.parametrize("where", ["keep s d", "keep d s"])
@pytest.mark.parametrize("kind", ["Add", "Sub"])
def test_a_number_may_be_added_where_scores_are_masked(graph, optimized, kind, where):
    """As Keras' Attention."""
    number = F(-1e9 if kind == "Add" else 1e9)
    mask = [(kind, "s number", "d"), ("Where", where, "m")]
    left, _ = optimized(attention(graph, mask, number=number), feeds=feeds())
    assert left.count("Attention") == 1 and "Softmax" not in left


SELECTED = [("Cast", "keep", "f", {"to": 1}), ("Mul", "s f", "sf"), ("Sub", "one f", "g")]


@pytest.mark.parametrize("kind", ["Add", "Sub"])
def test_masks_may_be_factors(graph, optimized, kind):
    """As GPT: scores times 1 or 0, and a number times 0 or 1."""
    mask = [*SELECTED, ("Mul", "g number", "l"), (kind, "sf l", "m")]
    number = F(-1e10 if kind == "Add" else 1e10)
    left, _ = optimized(attention(graph, mask, number=number, one=F(1)), feeds=feeds())
    assert left.count("Attention") == 1 and "Softmax" not in left


def test_masks_may_be_factors_with_their_opposite(graph, optimized):
    """As tf2onnx's Where of old opsets: scores times a bool, and a number times its opposite."""
    opposite = [("Not", "keep", "drop"), ("Cast", "drop", "g", {"to": 1})]
    mask = [*SELECTED[:2], *opposite, ("Mul", "number g", "l"), ("Add", "sf l", "m")]
    left, _ = optimized(attention(graph, mask, number=F(-1e10)), feeds=feeds())
    assert left.count("Attention") == 1 and "Softmax" not in left


@pytest.mark.parametrize("change", ["near", "positive", "other", "half", "no bool"])
def test_factors_that_select_nothing_stay(graph, optimized, change):
    number = {"near": F(-1e4), "positive": F(1e10)}.get(change, F(-1e10))
    mask = [*SELECTED, ("Mul", "g number", "l"), ("Add", "sf l", "m")]
    inputs, values = INPUTS | KEEP, feeds()
    if change == "other":  # not the scores' own mask
        mask[2] = ("Sub", "one h", "g")
        mask.insert(2, ("Cast", "more", "h", {"to": 1}))
        inputs, values = inputs | {"more": KEEP["keep"]}, values | {"more": ~values["keep"]}
    if change == "no bool":
        mask[0] = ("Mul", "keep one", "f")
        inputs = inputs | {"keep": ("b", 1, "s", "t")}
        values["keep"] = values["keep"].astype(F) / 2
    constants = {"one": F(0.5 if change == "half" else 1), "number": number, "c": F(0.5)}
    left, _ = optimized(graph([*SCORES, *mask, *SHARES], inputs, **constants), feeds=values)
    assert left.count("Mul") >= 2
