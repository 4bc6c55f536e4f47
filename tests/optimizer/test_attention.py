"""Attention written out in any of its forms becomes one operator; what computes more stays."""

import math

import numpy as np
import pytest
from sardonyx.optimizer import optimize, optimize_with_report
from sardonyx.optimizer.verify import run_reference

F = np.float32
LOWEST = np.finfo(F).min
B, H, S, T = 2, 3, 4, 6
QUERIES, KEYS, VALUES = ("b", 3, "s", 8), ("b", 3, "t", 8), ("b", 3, "t", 5)
INPUTS = {"q": QUERIES, "k": KEYS, "v": VALUES}
TRANSPOSE = ("Transpose", "k", "kt", {"perm": [0, 1, 3, 2]})
SCORES = [TRANSPOSE, ("MatMul", "q kt", "s")]
WEIGHTED_SUM = [("Softmax", "m", "p"), ("MatMul", "p v", "y")]
GUARDED = [
    ("Softmax", "m", "p"),
    ("IsNaN", "p", "n"),
    ("Where", "n zero p", "g"),
    ("MatMul", "g v", "y"),
]
GUARD = {"zero": F(0)}


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, F)


def feeds(**more):
    return {"q": normal(B, H, S, 8), "k": normal(B, H, T, 8), "v": normal(B, H, T, 5), **more}


def holes(*shape):
    """A mask of bools: something is masked everywhere, and the first row throughout."""
    mask = np.random.default_rng(3).random(shape) < 0.6
    mask[0, ..., 0 if shape[-2] > 1 else slice(None), :] = False
    return mask


@pytest.mark.parametrize(
    "nodes",
    [
        [*SCORES, ("Mul", "s c", "m")],
        [*SCORES, ("Mul", "c s", "m")],
        [*SCORES, ("Div", "s d", "m")],
        [("Mul", "q c", "a"), TRANSPOSE, ("MatMul", "a kt", "m")],
        [("Div", "q d", "a"), TRANSPOSE, ("MatMul", "a kt", "m")],
        [TRANSPOSE, ("Mul", "kt c", "a"), ("MatMul", "q a", "m")],
        [("Mul", "k c", "a"), ("Transpose", "a", "kt", TRANSPOSE[3]), ("MatMul", "q kt", "m")],
        [
            ("Mul", "q r", "a"),
            TRANSPOSE,
            ("Mul", "kt r", "b"),
            ("MatMul", "a b", "m"),
        ],
    ],
)
def test_a_scale_anywhere_is_its_attribute(graph, optimized, nodes):
    numbers = {"c": F(0.25), "d": F(4), "r": F([0.5])}
    used = {
        name: array for name, array in numbers.items() if any(name in n[1].split() for n in nodes)
    }
    assert optimized(graph([*nodes, *WEIGHTED_SUM], INPUTS, **used), feeds=feeds())[0] == [
        "Attention"
    ]


def test_no_scale_is_one(graph, optimized):
    model = graph([*SCORES[:1], ("MatMul", "q kt", "m"), *WEIGHTED_SUM], INPUTS)
    assert optimized(model, feeds=feeds())[0] == ["Attention"]


@pytest.mark.parametrize("weighted_sum", [WEIGHTED_SUM, GUARDED])
@pytest.mark.parametrize("low", [LOWEST, F(-1e9), F(-np.inf)])
@pytest.mark.parametrize("shape", [("b", 1, "s", "t"), ("b", 3, "s", "t"), ("s", "t")])
def test_masks_of_bools_keep_their_meaning_where_all_is_masked(
    graph, optimized, weighted_sum, low, shape
):
    """Equal shares for a low number, NaN for -inf; zeros for -inf where NaN are caught."""
    nodes = [("Where", "keep zero low", "mask"), *SCORES, ("Add", "s mask", "m"), *weighted_sum]
    inputs = {**INPUTS, "keep": (shape, np.bool_)}
    model = graph(nodes, inputs, zero=F(0), low=low)
    own = tuple({"b": B, "s": S, "t": T}.get(n, n) for n in shape)
    keep = holes(*own) if len(own) == 4 else holes(1, *own)[0]
    left, _ = optimized(model, feeds=feeds(keep=keep))
    assert left.count("Attention") == 1 and "Softmax" not in left
    assert ("Max" in left) == (low == LOWEST)
    assert ("ReduceMax" in left) == (low == -np.inf and weighted_sum is WEIGHTED_SUM)
    assert "Expand" not in left


def test_nan_among_queries_shows_though_a_guard_hid_it(graph):
    """The one case in which results differ: PyTorch itself has no guard, only its exporter."""
    model = graph([*SCORES[:1], ("MatMul", "q kt", "m"), *GUARDED], INPUTS, **GUARD)
    values = feeds()
    values["q"][0, 0, 0, 0] = np.nan
    (hidden,), (shown,) = (run_reference(m, values) for m in (model, optimize(model)))
    assert not hidden[0, 0, 0].any() and np.isnan(shown[0, 0, 0]).all()
    np.testing.assert_allclose(shown[0, 0, 1:], hidden[0, 0, 1:], rtol=1e-4)


@pytest.mark.parametrize("order", ["keep s low", "keep low s"])
@pytest.mark.parametrize("low", [LOWEST, F(-1e9), F(-np.inf)])
@pytest.mark.parametrize("weighted_sum", [WEIGHTED_SUM, GUARDED])
def test_scores_may_be_replaced_by_a_low_number(graph, optimized, order, low, weighted_sum):
    nodes = [*SCORES, ("Where", order, "m"), *weighted_sum]
    weights = {"low": low} | (GUARD if weighted_sum is GUARDED else {})
    model = graph(nodes, {**INPUTS, "keep": (("b", 1, "s", "t"), np.bool_)}, **weights)
    left, _ = optimized(model, feeds=feeds(keep=holes(B, 1, S, T)))
    assert left.count("Attention") == 1 and "Softmax" not in left


@pytest.mark.parametrize("shape", [("b", 1, 1, "t"), (1, "t"), ("t",), ("b", 3, 1, "t")])
def test_a_mask_gets_its_axis_of_queries(graph, optimized, shape):
    """As BERT has it: (1 - mask) * -10000, for the keys only."""
    nodes = [
        ("Cast", "mask", "f", {"to": 1}),
        ("Sub", "one f", "r"),
        ("Mul", "r low", "a"),
        *SCORES,
        ("Div", "s d", "scaled"),
        ("Add", "scaled a", "m"),
        *WEIGHTED_SUM,
    ]
    model = graph(
        nodes, {**INPUTS, "mask": (shape, np.int64)}, one=F(1), low=F(-10000), d=F(math.sqrt(8))
    )
    own = tuple({"b": B, "t": T}.get(n, n) for n in shape)
    left, _ = optimized(model, feeds=feeds(mask=np.int64(normal(*own) > 0)))
    assert left[-2:] == ["Expand", "Attention"]


def test_a_number_for_a_mask(graph, optimized):
    model = graph([*SCORES, ("Add", "s mask", "m"), *WEIGHTED_SUM], INPUTS, mask=F(3))
    assert optimized(model, feeds=feeds())[0][-2:] == ["Expand", "Attention"]


def test_a_constant_mask_may_hold_infinities_if_every_query_has_a_key(graph, optimized):
    shapes = {"q": (2, 3, 4, 8), "k": (2, 3, 4, 8), "v": (2, 3, 4, 5)}
    for diagonal, left in ((1, ["Attention"]), (0, ["Attention", "Where"])):
        mask = np.where(np.triu(np.ones((4, 4)), diagonal), F(-np.inf), F(0)).astype(F)
        mask[0] = mask[0] if diagonal else -np.inf
        model = graph([*SCORES, ("Add", "s mask", "m"), *WEIGHTED_SUM], shapes, mask=mask)
        operators = optimized(model)[0]
        assert operators == left


@pytest.mark.parametrize("axes", [2, 3])
def test_without_batch_or_heads(graph, optimized, axes):
    transpose = ("Transpose", "k", "kt", {"perm": [0, 2, 1][:axes] if axes == 3 else [1, 0]})
    nodes = [
        transpose,
        ("MatMul", "q kt", "s"),
        ("Where", "keep zero low", "mask"),
        ("Add", "s mask", "m"),
        *WEIGHTED_SUM,
    ]
    lead = ("n",) * (axes - 2)
    inputs = {"q": (*lead, "s", 8), "k": (*lead, "t", 8), "v": (*lead, "t", 5)}
    model = graph(nodes, inputs | {"keep": ((*lead, "s", "t"), np.bool_)}, zero=F(0), low=F(-1e9))
    left, _ = optimized(model, feeds={
        "q": normal(*(3,) * (axes - 2), S, 8), "k": normal(*(3,) * (axes - 2), T, 8),
        "v": normal(*(3,) * (axes - 2), T, 5), "keep": normal(*(3,) * (axes - 2), S, T) > 0,
    })  # fmt: skip
    assert left == ["Where", "Unsqueeze", "Unsqueeze", "Unsqueeze", "Attention", "Squeeze"]


def test_keys_transposed_together_with_their_heads(graph, optimized):
    """The transpose to heads and that of keys are one; it is taken apart."""
    nodes = [
        ("Transpose", "q", "qh", {"perm": [0, 2, 1, 3]}),
        ("Transpose", "k", "kt", {"perm": [0, 2, 3, 1]}),
        ("Transpose", "v", "vh", {"perm": [0, 2, 1, 3]}),
        ("MatMul", "qh kt", "m"),
        ("Softmax", "m", "p"),
        ("MatMul", "p vh", "y"),
    ]
    inputs = {name: ("b", rows, 3, 8) for name, rows in (("q", "s"), ("k", "t"), ("v", "t"))}
    left, _ = optimized(graph(nodes, inputs), s=4, t=5)
    assert left == ["Transpose"] * 3 + ["Attention"]


def test_one_head_of_keys_for_all_queries(graph, optimized):
    model = graph([*SCORES[:1], ("MatMul", "q kt", "m"), *WEIGHTED_SUM],
                  {"q": QUERIES, "k": ("b", 1, "t", 8), "v": ("b", 1, "t", 5)})  # fmt: skip
    values = {**feeds(), "k": normal(B, 1, T, 8), "v": normal(B, 1, T, 5)}
    assert optimized(model, feeds=values)[0] == ["Attention"]


def repeated(name):
    return [
        ("Unsqueeze", f"{name} two", f"{name}1"),
        ("Expand", f"{name}1 five", f"{name}5"),
        ("Reshape", f"{name}5 four", f"{name}r"),
    ]


def test_repeated_heads_are_shared(graph, optimized):
    nodes = [
        *repeated("k"),
        *repeated("v"),
        ("Transpose", "kr", "kt", TRANSPOSE[3]),
        ("MatMul", "q kt", "m"),
        ("Softmax", "m", "p"),
        ("MatMul", "p vr", "y"),
    ]
    inputs = {"q": (2, 6, 4, 8), "k": (2, 3, 5, 8), "v": (2, 3, 5, 8)}
    sizes = {
        "two": np.int64([2]),
        "five": np.int64([2, 3, 2, 5, 8]),
        "four": np.int64([2, 6, 5, 8]),
    }
    assert optimized(graph(nodes, inputs, **sizes))[0] == ["Attention"]
    # In another order they are not the heads that Attention would take.
    moved = {**sizes, "two": np.int64([1]), "five": np.int64([2, 2, 3, 5, 8])}
    assert "Expand" in optimized(graph(nodes, inputs, **moved))[0]


def plain(**changes):
    """A model that would be fused, but for some changes."""
    parts = {
        "transpose": TRANSPOSE,
        "product": ("MatMul", "q kt", "s"),
        "scale": ("Mul", "s c", "c1"),
        "mask": ("Add", "c1 mask", "m"),
        "softmax": ("Softmax", "m", "p"),
        "last": ("MatMul", "p v", "y"),
    }
    return [node for node in (parts | changes).values() if node is not None]


MISSES = [
    ({"softmax": ("Softmax", "m", "p", {"axis": 2})}, {}, {}, "not along the keys"),
    ({}, {}, {"c": F(-1)}, "not positive"),
    ({}, {}, {"c": F(0)}, "not positive"),
    ({}, {}, {"c": normal(4, 1)}, "not one number"),
    ({"mask": ("Where", "keep c1 low", "m")}, {"keep": (("s", "t"), np.bool_)}, {"low": F(-100)},
     "not far below"),
    ({"mask": ("Unsqueeze", "c1 first", "m"), "product": ("MatMul", "q kt", "s")}, {},
     {"first": np.array([0])}, None),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "inputs", "weights", "reason"), MISSES)
def test_what_is_not_fused_says_why(graph, optimized, changes, inputs, weights, reason):
    is_plain = inputs.keys() & {"mask", "keep"} or "first" in weights
    constants = {"c": F(0.5)} | ({} if is_plain else {"mask": F([0])})
    nodes, values = plain(**changes), feeds()
    if "keep" in inputs:
        values["keep"] = normal(S, T) > 0
    left, report = optimized(graph(nodes, INPUTS | inputs, **constants | weights), feeds=values)
    assert "Attention" not in left and "Softmax" in left
    texts = [text for text in report.explanations if text.startswith("attention not fused")]
    assert reason is None or (len(texts) == 1 and reason in texts[0])


def special(*shape):
    """A mask with rows of -inf, of the lowest number, of both, and with NaN and +inf."""
    mask = 3 * normal(*shape)
    rows = mask.reshape(-1, shape[-1])
    rows[0], rows[1], rows[2, 1:] = -np.inf, LOWEST, -np.inf
    rows[3], rows[3, 0], rows[4, 0] = -np.inf, LOWEST, -np.inf
    rows[5, 2], rows[6, 1] = np.nan, np.inf
    return mask


@pytest.mark.parametrize("shape", [(B, H, S, T), (B, 1, S, T), (H, S, T)])
def test_what_is_added_may_hold_anything(graph, optimized, shape):
    names = ("b" if shape[0] == B else 3, 3, "s", "t")[-len(shape) :]
    names = tuple(1 if size == 1 else name for name, size in zip(names, shape, strict=True))
    model = graph(plain(), {**INPUTS, "mask": names}, c=F(0.5))
    left, _ = optimized(model, feeds=feeds(mask=special(*shape)))
    assert "Softmax" not in left and left.count("Attention") == left.count("ReduceMax") == 1


def test_a_constant_mask_may_hold_both_infinity_and_the_lowest_number(graph, optimized):
    mask = F([LOWEST, -np.inf, 0, 0, 0, 0])
    assert "Attention" in optimized(graph(plain(), INPUTS, c=F(1), mask=mask), feeds=feeds())[0]


@pytest.mark.parametrize("ones", ["q", "k", "v", "qk", "kv", "mask", "qmask", ""])
def test_operands_that_may_broadcast_are_expanded(graph, optimized, ones):
    """Whose batch is 1 shows when the model runs."""
    shapes = {name: (f"{name}_batch", 3, *INPUTS[name][2:]) for name in "qkv"}
    shapes["mask"] = ("mask_batch", 1, "rows", "columns")
    model = graph(plain(), shapes, c=F(0.5))
    values = feeds(mask=normal(B, 1, S, T))
    for name in ("q", "k", "v", "mask"):
        if name in ones:
            values[name] = values[name][:1]
    if "mask" in ones:
        values["mask"] = values["mask"][:, :, :1]
    left, _ = optimized(model, feeds=values)
    assert left.count("Attention") == 1 and left.count("Expand") == 4
    assert "Softmax" not in left


def test_keys_of_another_order_are_transposed(graph, optimized):
    nodes = plain(transpose=("Identity", "k", "kt"))
    model = graph(nodes, INPUTS | {"k": ("b", 3, 8, "t")}, c=F(0.5), mask=F([0]))
    values = feeds()
    left, _ = optimized(model, feeds=values | {"k": values["k"].swapaxes(2, 3)})
    assert left.count("Attention") == left.count("Transpose") == 1


def test_weights_are_no_keys(graph, optimized):
    """Products of weights are better as they are: packed once."""
    nodes = [("MatMul", "q w", "m"), ("Softmax", "m", "p"), ("MatMul", "p u", "y")]
    model = graph(nodes, {"q": QUERIES}, w=normal(8, 6), u=normal(6, 5))
    assert "Attention" not in optimized(model, feeds={"q": normal(B, H, S, 8)})[0]


TERMS = {
    "below the scale": [("Add", "s b", "a"), ("Mul", "a c", "e")],
    "above it": [("Mul", "s c", "a"), ("Add", "b a", "e")],
    "without one": [("Add", "s b", "e")],
}


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("masked", ["Add", "kept", "dropped", "nothing"])
@pytest.mark.parametrize("guard", [False, True])
def test_relative_positions_and_a_mask(graph, optimized, terms, masked, guard):
    mask = {
        "Add": ("Add", "e mask", "m"),
        "kept": ("Where", "keep e low", "m"),
        "dropped": ("Where", "keep low e", "m"),
        "nothing": ("Identity", "e", "m"),
    }[masked]
    inputs = {**INPUTS, "b": ("b", 3, "s", "t")}
    inputs |= {"mask": ("b", 1, "s", "t")} if masked == "Add" else {}
    inputs |= {"keep": (("b", 1, "s", "t"), np.bool_)} if mask[0] == "Where" else {}
    constants = {"c": F(0.5)} if terms != "without one" else {}
    constants |= {"low": LOWEST if masked == "kept" else F(-np.inf)} if mask[0] == "Where" else {}
    nodes = [*SCORES, *TERMS[terms], mask, *(GUARDED if guard else WEIGHTED_SUM)]
    values = feeds(b=normal(B, 3, S, T))
    if masked == "Add":
        values["mask"] = np.where(holes(B, 1, S, T), F(0), LOWEST)
    if mask[0] == "Where":
        values["keep"] = holes(B, 1, S, T)
    left, _ = optimized(graph(nodes, inputs, **constants, **GUARD if guard else {}), feeds=values)
    assert left.count("Attention") == 1 and "Softmax" not in left


@pytest.mark.parametrize("heads", [[-1, 3, 4, 6], [2, 3, 4, -1], "b"])
@pytest.mark.parametrize("where", ["scores", "sum"])
def test_matrices_that_get_their_heads_later(graph, optimized, heads, where):
    """As in BLOOM (alibi by baddbmm) and DeBERTa: products of matrices of batch times heads."""
    shapes = {"q": (6, 4, 8), "k": (6, 6, 8), "v": (6, 6, 5), "b": (6, 1, 6)}
    if heads == "b":
        heads = [-1, 3, 4, 6]
        shapes = {name: ("n", *shape[1:]) for name, shape in shapes.items()}
    nodes = [
        ("Transpose", "k", "kt", {"perm": [0, 2, 1]}),
        ("MatMul", "q kt", "s"),
        ("Mul", "s c", "e"),
        ("Add", "b e", "a"),
        ("Reshape", "a heads" if where == "sum" else "e heads", "h"),
        ("Where", "keep h low", "m"),
        ("Softmax", "m", "p"),
        ("Reshape", "p flat", "f"),
        ("MatMul", "f v", "y"),
    ]
    if where == "scores":
        nodes.pop(3)
        del shapes["b"]
    inputs = {**shapes, "keep": ((2, 1, 4, 6), np.bool_)}
    model = graph(nodes, inputs, c=F(0.5), low=LOWEST, heads=np.array(heads),
                  flat=np.array([-1, 4, 6]))  # fmt: skip
    values = {name: normal(6, *shape[1:], seed=ord(name)) for name, shape in shapes.items()}
    left, _ = optimized(model, feeds=values | {"keep": holes(2, 1, 4, 6)})
    assert left.count("Attention") == 1 and "Softmax" not in left


@pytest.mark.parametrize("low", [LOWEST, F(-1e9)])
@pytest.mark.parametrize(("order", "zeroed"), [("keep s low", "keep p zero"),
                                               ("drop low s", "drop zero p")])  # fmt: skip
def test_shares_may_be_made_zero_where_scores_are_masked(graph, optimized, low, order, zeroed):
    """As in Keras' Softmax: rows that are masked throughout give zeros."""
    flag = order.split()[0]
    nodes = [*SCORES, ("Where", order, "m"), ("Softmax", "m", "p"), ("Where", zeroed, "g"),
             ("MatMul", "g v", "y")]  # fmt: skip
    inputs = {**INPUTS, flag: (("b", 1, "s", "t"), np.bool_)}
    keep = holes(B, 1, S, T)
    left, _ = optimized(graph(nodes, inputs, low=low, **GUARD),
                        feeds=feeds(**{flag: keep if flag == "keep" else ~keep}))  # fmt: skip
    assert left.count("Attention") == 1 and "Softmax" not in left
    other = {**inputs, "other": (("b", 1, "s", "t"), np.bool_)}
    nodes[-2] = ("Where", "other p zero", "g")
    left, _ = optimized(graph(nodes, other, low=low, **GUARD),
                        feeds=feeds(**{flag: keep, "other": ~keep}))  # fmt: skip
    assert "Softmax" in left


@pytest.mark.parametrize("softmax", ["before", "behind"])
def test_scores_of_which_the_keys_come_first(graph, optimized, softmax):
    """As TensorFlow's Einsum leaves them in Keras' MultiHeadAttention with dropout."""
    nodes = [
        ("Transpose", "k", "kh", {"perm": [0, 2, 1, 3]}),
        ("Transpose", "q", "qh", {"perm": [0, 2, 3, 1]}),
        ("Transpose", "v", "vh", {"perm": [0, 2, 1, 3]}),
        ("MatMul", "kh qh", "s"),
        ("Softmax", "s", "p0", {"axis": 2}),
        ("Transpose", "p0", "p", {"perm": [0, 1, 3, 2]}),
        ("MatMul", "p vh", "y"),
    ]
    if softmax == "behind":
        nodes[4:6] = [("Transpose", "s", "m", {"perm": [0, 1, 3, 2]}), ("Softmax", "m", "p")]
    inputs = {name: ("b", rows, 3, 8) for name, rows in (("q", "s"), ("k", "t"), ("v", "t"))}
    left, _ = optimized(graph(nodes, inputs), s=4, t=5)
    assert left == ["Transpose"] * 3 + ["Attention"]
    if softmax == "before":
        nodes[4] = ("Softmax", "s", "p0")
        assert "Softmax" in optimized(graph(nodes, inputs), s=4, t=5)[0]


@pytest.mark.parametrize("low", [LOWEST, F(-np.inf), F(-1e9)])
@pytest.mark.parametrize("order", ["keep s low", "drop low s"])
def test_masks_that_replace_and_add(graph, optimized, low, order):
    """As in GPT-Neo: causal order by Where, then what is padding by Add."""
    nodes = [*SCORES, ("Where", order, "m0"), ("Add", "m0 mask", "m"), *WEIGHTED_SUM]
    flag = order.split()[0]
    model = graph(nodes, {**INPUTS, flag: ((1, 1, "s", "t"), np.bool_),
                          "mask": ("b", 1, 1, "t")}, low=low)  # fmt: skip
    values = feeds(mask=np.where(holes(B, 1, 1, T), F(0), LOWEST))
    values[flag] = np.tri(S, T, dtype=bool)[None, None]
    if flag == "drop":
        values[flag] = ~values[flag]
    left, report = optimized(model, feeds=values)
    assert ("Softmax" in left) == (low == F(-1e9))
    reasons = [text for text in report.explanations if "not the lowest number" in text]
    assert bool(reasons) == (low == F(-1e9))


@pytest.mark.parametrize("scales", [normal(3, 1, 1), np.abs(normal(1, 3, 1, 1)), -F([[[2]]] * 3)])
def test_heads_may_have_scales_of_their_own(graph, optimized, scales):
    model = graph(plain(), {**INPUTS, "mask": ("b", 3, "s", "t")}, c=scales)
    left, _ = optimized(model, feeds=feeds(mask=normal(B, H, S, T)))
    assert left.count("Attention") == left.count("Mul") == 1 and "Softmax" not in left


def test_scales_that_broadcast_the_queries_stay(graph, optimized):
    inputs = INPUTS | {"q": ("b", 1, "s", 8), "k": ("b", 1, "t", 8), "v": ("b", 1, "t", 5)}
    model = graph(plain(), inputs, c=normal(3, 1, 1), mask=F([0]))
    values = {name: x[:, :1] for name, x in feeds().items()}
    assert "Softmax" in optimized(model, feeds=values)[0]


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("images", [2, "b"])
def test_masks_of_windows(graph, optimized, images, heads):
    """As in Swin v2: biases of heads, then the mask of each window of an image."""
    inputs = {"x": (images, 5, 4, heads * 8)}
    nodes = [
        *(("Reshape", "x split", f"{n}0") for n in "qkv"),
        *(("Transpose", f"{n}0", n, {"perm": [0, 2, 1, 3]}) for n in "qkv"),
        *SCORES,
        ("Add", "s bias", "a"),
        ("Reshape", "a apart", "w"),
        ("Add", "w mask", "wm"),
        ("Reshape", "wm back", "m"),
        *WEIGHTED_SUM,
    ]
    mask = np.where(normal(1, 5, 1, 4, 4) > 0, F(0), F(-100))
    model = graph(nodes, inputs, split=np.array([-1, 4, heads, 8]), bias=normal(1, heads, 4, 4),
                  apart=np.array([-1, 5, heads, 4, 4]), mask=mask,
                  back=np.array([-1, heads, 4, 4]))  # fmt: skip
    left, _ = optimized(model, feeds={"x": normal(2, 5, 4, heads * 8)})
    assert left.count("Attention") == 1 and "Softmax" not in left


def test_masks_for_parts_of_windows_stay(graph, optimized):
    nodes = [("Reshape", "x apart", "w"), ("Add", "w mask", "wm"), ("Reshape", "wm back", "m"),
             ("Softmax", "m", "y")]  # fmt: skip
    shapes = {"apart": np.array([2, 5, 3, 2, 2]), "back": np.array([10, 3, 4])}
    model = graph(nodes, {"x": (10, 3, 4)}, mask=normal(1, 5, 1, 2, 2), **shapes)
    left, _ = optimized(model, feeds={"x": normal(10, 3, 4)})
    assert left.count("Reshape") == 2


@pytest.mark.parametrize("unknown", ["q", "k", "v"])
def test_operands_of_unknown_rank_stay(graph, unknown):
    inputs = {"q": ("s", 8), "k": ("t", 8), "v": ("t", 5)} | {unknown: None}
    nodes = [("Transpose", "k", "kt", {"perm": [1, 0]}), ("MatMul", "q kt", "m"), *WEIGHTED_SUM]
    model, report = optimize_with_report(graph(nodes, inputs), explain=True)
    assert "Attention" not in [node.op_type for node in model.graph]
    assert any(f"rank of '{unknown}' is not known" in text for text in report.explanations)


def test_probabilities_that_are_an_output_stay(graph, optimized):
    model = graph([*SCORES[:1], ("MatMul", "q kt", "m"), *WEIGHTED_SUM], INPUTS, "y p")
    left, report = optimized(model, feeds=feeds())
    assert "Attention" not in left
    assert any("'p' is used elsewhere" in text for text in report.explanations)


def test_an_older_opset_has_no_attention(graph, optimized):
    model = graph([*SCORES[:1], ("MatMul", "q kt", "m"), *WEIGHTED_SUM], INPUTS, opset=22)
    left, report = optimized(model, feeds=feeds())
    assert "Attention" not in left
    assert any("needs opset 23" in text for text in report.explanations)


@pytest.mark.parametrize(
    "scale",
    [
        [("Div", "s number", "a")],
        [("Mul", "s number", "a")],
        [("Mul", "s number", "b"), ("Div", "b cap", "a")],
    ],
)
@pytest.mark.parametrize("masked", [[("Add", "c mask", "m")], [("Identity", "c", "m")]])
def test_a_cap_of_the_scores(graph, optimized, scale, masked):
    nodes = [*SCORES, *scale, ("Tanh", "a", "t"), ("Mul", "t cap", "c"), *masked, *WEIGHTED_SUM]
    mask = {"mask": normal(S, T)} if masked[0][0] == "Add" else {}
    inputs = {"q": (2, 3, S, 8), "k": (2, 3, T, 8), "v": (2, 3, T, 5)}
    model = graph(nodes, inputs, number=F(1.5), cap=F(3), **mask)
    assert optimized(model, feeds=feeds())[0] == ["Attention"]
    model = graph(nodes, inputs, number=F(1.5), cap=F(-3), **mask)
    assert "Attention" not in optimized(model, feeds=feeds())[0]


def test_keys_that_were_swapped_as_one_batch_of_matrices(graph, optimized):
    """As torch's exporter writes it: (batch x heads, keys, size) and back."""
    nodes = [
        ("Reshape", "k flat", "matrices"),
        ("Transpose", "matrices", "turned", {"perm": [0, 2, 1]}),
        ("Reshape", "turned back", "kt"),
        ("MatMul", "q kt", "m"),
        *WEIGHTED_SUM,
    ]
    inputs = {"q": (2, 3, "s", 8), "k": (2, 3, "t", 8), "v": (2, 3, "t", 5)}
    shapes = {"flat": np.array([6, -1, 8]), "back": np.array([2, 3, 8, -1])}
    assert "Attention" in optimized(graph(nodes, inputs, **shapes), feeds=feeds())[0]
    nodes[1] = ("Transpose", "matrices", "turned", {"perm": [1, 2, 0]})
    inputs["k"] = (2, 3, 6, 8)
    left = optimized(graph(nodes, inputs, **shapes), feeds=feeds())[0]
    assert left == ["Reshape", "Transpose", "Attention"]  # of whatever keys this order makes


def test_a_cache_with_a_causal_mask(graph, optimized):
    """Keys before and new ones are as many as the mask has, which is computed from both lengths."""
    nodes = [
        ("Concat", "pk k", "keys", {"axis": 2}),
        ("Concat", "pv v", "values", {"axis": 2}),
        ("Shape", "pk", "old", {"start": 2, "end": 3}),
        ("Shape", "q", "new", {"start": 2, "end": 3}),
        ("Squeeze", "old", "first"),
        ("Squeeze", "new", "count"),
        ("Add", "count first", "all"),
        ("Range", "zero all one", "columns"),
        ("Range", "zero count one", "numbers"),
        ("Add", "numbers first", "places"),
        ("Unsqueeze", "places axis", "rows"),
        ("LessOrEqual", "columns rows", "seen"),
        ("Reshape", "all vector", "length"),
        ("Concat", "new length", "target", {"axis": 0}),
        ("Expand", "seen target", "kept"),
        ("Where", "kept nothing low", "mask"),
        ("Transpose", "keys", "kt", {"perm": [0, 1, 3, 2]}),
        ("MatMul", "q kt", "s"),
        ("Add", "s mask", "m"),
        ("Softmax", "m", "p"),
        ("MatMul", "p values", "y"),
    ]
    inputs = {name: ("b", 3, "s", 8) for name in "qkv"}
    inputs |= {name: ("b", 3, "past", 8) for name in ("pk", "pv")}
    weights = {"zero": np.int64(0), "one": np.int64(1), "axis": np.array([1]),
               "vector": np.array([-1]), "nothing": F(0), "low": F(-1e9)}  # fmt: skip
    model = graph(nodes, inputs, **weights)
    values = {
        name: normal(B, H, S if name in "qkv" else T, 8, seed=ord(name[-1])) for name in inputs
    }
    left = optimized(model, feeds=values)[0]
    assert "Attention" in left and "Softmax" not in left
