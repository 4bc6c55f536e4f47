"""Attention as paddle2onnx writes it: packed projections, scales as Mul and Add, Squeeze."""

import numpy as np
import pytest

F = np.float32
WIDTH, HEADS = 12, 3
PROJECTED = [("MatMul", "x w", "m"), ("Add", "m b", "p")]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, F) / 2


def scaled(name, result):
    """Paddle's scale operator."""
    return [("Mul", f"{name} c", f"{result}1"), ("Add", f"{result}1 nothing", result)]


def packed(unpack):
    """SVTR and ViT: (3, batch, heads, rows, size)."""
    nodes = [*PROJECTED, ("Reshape", "p five", "r"),
             ("Transpose", "r", "t", {"perm": [2, 0, 3, 1, 4]})]  # fmt: skip
    if unpack == "slices":
        for i, name in enumerate("qkv"):
            nodes += [("Slice", f"t n{i} n{i + 1} n0", f"{name}0"),
                      ("Squeeze", f"{name}0 n0", name)]  # fmt: skip
    elif unpack == "split":
        nodes.append(("Split", "t", "q0 k0 v0", {"axis": 0, "num_outputs": 3}))
        nodes += [("Squeeze", f"{name}0 n0", name) for name in "qkv"]
    else:
        nodes += [("Gather", f"t s{i}", name) for i, name in enumerate("qkv")]
    return nodes


def apart():
    """nn.MultiHeadAttention: projections of their own."""
    nodes = []
    for name in "qkv":
        nodes += [("MatMul", f"x w{name}", f"{name}0"), ("Add", f"{name}0 b{name}", f"{name}1"),
                  ("Reshape", f"{name}1 four", f"{name}2"),
                  ("Transpose", f"{name}2", name, {"perm": [0, 2, 1, 3]})]  # fmt: skip
    return nodes


WEIGHTS = {
    "w": normal(WIDTH, 3 * WIDTH),
    "b": normal(3 * WIDTH),
    **{f"w{n}": normal(WIDTH, WIDTH, seed=i) for i, n in enumerate("qkv")},
    **{f"b{n}": normal(WIDTH, seed=i) for i, n in enumerate("qkv")},
    **{f"n{i}": np.array([i]) for i in range(4)}, **{f"s{i}": np.array(i) for i in range(3)},
    "five": np.array([0, -1, 3, HEADS, 4]), "four": np.array([0, -1, HEADS, 4]),
    "back": np.array([0, -1, WIDTH]), "c": F([0.5]), "nothing": F([0]), "one": F([1]),
    "low": F([-1e4]), "keep_share": F([0.9]), "axes": np.array([1, 2]),
}  # fmt: skip
SCORES = [("Transpose", "k", "kt", {"perm": [0, 1, 3, 2]}), ("MatMul", "u kt", "s")]
RESULT = [
    ("Softmax", "z", "a", {"axis": -1}),
    ("MatMul", "a v", "o"),
    ("Transpose", "o", "ot", {"perm": [0, 2, 1, 3]}),
    ("Reshape", "ot back", "y"),
]


def model_of(graph, nodes, **inputs):
    names = {name for node in nodes for name in node[1].split()}
    weights = {name: value for name, value in WEIGHTS.items() if name in names}
    return graph(nodes, {"x": ("b", "s", WIDTH)} | inputs, **weights)


PARTS = {
    "slices": packed("slices"),
    "split": packed("split"),
    "gathers": packed("gathers"),
    "apart": apart(),
}


@pytest.mark.parametrize("where", ["queries", "scores"])
@pytest.mark.parametrize("parts", PARTS)
def test_attention_is_one_operator(graph, optimized, parts, where):
    nodes = [*PARTS[parts], *scaled("q", "u"), *SCORES, ("Identity", "s", "z"), *RESULT]
    if where == "scores":
        nodes = [*PARTS[parts], ("Identity", "q", "u"), *SCORES, *scaled("s", "z"), *RESULT]
    left, _ = optimized(model_of(graph, nodes), b=2, s=5)
    assert left.count("Attention") == 1 and "Softmax" not in left


def test_a_mask_of_ernie_is_added(graph, optimized):
    mask = [("Sub", "one mask", "m1"), ("Mul", "m1 low", "m2"), ("Unsqueeze", "m2 axes", "m3")]
    nodes = [*mask, *apart(), *scaled("q", "u"), *SCORES, ("Add", "s m3", "z"), *RESULT]
    feeds = {"x": normal(2, 5, WIDTH), "mask": np.ones((2, 5), F)}
    feeds["mask"][0, 3:] = 0
    left, _ = optimized(model_of(graph, nodes, mask=("b", "s")), feeds=feeds)
    assert left.count("Attention") == 1 and "Softmax" not in left


def test_shares_that_dropout_scales_down(graph, optimized):
    """``downscale_in_infer``: shares are multiplied by what dropout would keep."""
    result = [RESULT[0], ("Mul", "a keep_share", "a2"), ("MatMul", "a2 v", "o"), *RESULT[2:]]
    nodes = [*apart(), *scaled("q", "u"), *SCORES, ("Identity", "s", "z"), *result]
    left, _ = optimized(model_of(graph, nodes), b=2, s=5)
    assert left.count("Attention") == 1 and "Softmax" not in left
    model = model_of(graph, [*nodes[:-4], ("Mul", "a x_share", "a2"), *nodes[-3:]], x_share=(1,))
    assert "Softmax" in optimized(model, b=2, s=5)[0]  # no number that is known
