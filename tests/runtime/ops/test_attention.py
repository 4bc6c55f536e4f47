"""Attention with all its attributes against onnxruntime, or onnx's reference."""

import itertools

import numpy as np
import pytest
import sardonyx
from onnx import TensorProto
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from sardonyx.reference.attention import Attention

from .conftest import build

F = np.float32
INF = F(np.inf)
SIZES = [  # batch, heads, queries, keys, elements of a head of keys, of values
    (2, 3, 5, 7, 4, 6),
    (1, 2, 1, 1, 1, 1),
    (1, 12, 33, 40, 32, 32),
    (3, 1, 2, 19, 16, 8),
    (2, 2, 70, 130, 17, 33),
]
OPEN = {
    "q": ("b", None, "s", None),
    "k": ("b", None, "t", None),
    "v": ("b", None, "t", None),
}


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, F)


def operands(batch, heads, queries, keys, size, width, shared=None):
    shared = shared or heads
    return {
        "q": normal(batch, heads, queries, size),
        "k": normal(batch, shared, keys, size),
        "v": normal(batch, shared, keys, width),
    }


def flat(feeds):
    """The same operands with heads side by side."""
    return {n: x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1) for n, x in feeds.items()}


def attention(*more, **attributes):
    return make_node("Attention", ["q", "k", "v", *more], ["y"], **attributes)


def open_dims(feeds, **more):
    """Batch and rows known at run time only."""
    return {
        name: [size if of is None else of for size, of in zip(feeds[name].shape, dims, strict=True)]
        for name, dims in OPEN.items()
    } | more


ATTRIBUTES = [
    {},
    {"scale": 0.3},
    {"scale": 1.0},
    {"softcap": 0.7},
    {"is_causal": 1},
    {"is_causal": 1, "softcap": 2.0, "scale": 0.5},
    {"softmax_precision": 1, "qk_matmul_output_mode": 2},
]


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("attributes", ATTRIBUTES, ids=str)
def test_attributes(check, attributes, opset):
    for sizes in SIZES:
        feeds = operands(*sizes)
        node = attention(**attributes)
        check([node], feeds, opset=opset, threads=[1, 4])
        check([node], feeds, opset=opset, dims=open_dims(feeds))


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("kind", ["float", "far", "bool", "infinite"])
@pytest.mark.parametrize("axes", ["bhst", "b1st", "1hst", "hst", "1st", "st"])
def test_masks(check, axes, kind, causal):
    for sizes in SIZES:
        batch, heads, queries, keys = sizes[:4]
        of = {"b": batch, "h": heads, "s": queries, "t": keys, "1": 1}
        mask = normal(*(of[axis] for axis in axes), seed=1)
        some = normal(*mask.shape, seed=2) > 0
        some[..., 0, :] = False  # all of a row
        if kind == "bool":
            mask = some
        elif kind != "float":
            mask[~some] = -INF if kind == "infinite" else -3e38
        node, feeds = attention("m", is_causal=causal), operands(*sizes)
        check([node], feeds | {"m": mask}, opset=24)
        check([node], feeds, {"m": mask}, opset=24)
        open_mask = [axis if axis in "bst" else of[axis] for axis in axes]
        check(
            [node], feeds | {"m": mask}, opset=24, dims=open_dims(feeds, m=open_mask), threads=[3]
        )


@pytest.mark.parametrize("axes", ["b11t", "1h1t", "1t", "t", "h1t", "bhs1"])
def test_masks_that_onnxruntime_refuses(check, axes):
    """They are broadcast like any operand."""
    sizes = (2, 3, 5, 7, 4, 6) if axes[-1] == "t" else (2, 3, 5, 1, 4, 6)
    of = dict(zip("bhst", sizes, strict=False)) | {"1": 1}
    feeds = operands(*sizes)
    mask = normal(*(of[axis] for axis in axes), seed=1)
    whole = np.ascontiguousarray(
        np.broadcast_to(mask, np.broadcast_shapes(mask.shape, (5, of["t"])))
    )
    for causal in (0, 1):
        expected = check([attention("m", is_causal=causal)], feeds | {"m": whole}, opset=24)
        wanted = [expected.run(None, feeds | {"m": whole})]
        check([attention("m", is_causal=causal)], feeds | {"m": mask}, opset=24, wanted=wanted)


def test_a_mask_of_the_lowest_number_makes_equal_shares(check):
    """As the standard has it; onnxruntime makes zeros."""
    feeds = operands(2, 3, 5, 7, 4, 6)
    mask = np.full((5, 7), np.finfo(F).min)
    mean = np.broadcast_to(feeds["v"].mean(2, keepdims=True), (2, 3, 5, 6))
    check([attention("m")], feeds | {"m": mask}, opset=24, wanted=[[mean]])


@pytest.mark.parametrize("opset", [23, 24])
def test_queries_with_nothing_to_attend_to_are_zeros_without_further_steps(check, opset):
    feeds = operands(2, 3, 5, 40, 4, 6)
    some = normal(5, 40) > 0
    some[[1, 3]] = False
    plain = check([attention("m")], feeds | {"m": normal(5, 40)}, opset=24).engine.program
    for mask in (np.where(some, normal(5, 40), -INF), some):
        session = check([attention("m")], feeds | {"m": mask}, opset=opset)
        (result,) = session.run(None, feeds | {"m": mask})
        assert not result[:, :, [1, 3]].any() and result[:, :, [0, 2, 4]].any()
        assert len(session.engine.program.kernels) <= len(plain.kernels) + (mask.dtype == bool)
    unknown = np.where(some, normal(5, 40), np.nan).astype(F)
    check(
        [attention("m")], feeds | {"m": unknown}, opset=24, wanted=[[np.full_like(result, np.nan)]]
    )


@pytest.mark.parametrize("shared", [1, 2, 3])
def test_heads_that_share_keys(check, shared):
    for batch, _, *rest in SIZES:
        feeds = operands(batch, 6, *rest, shared=shared)
        check([attention()], feeds, opset=24, threads=[1, 4])
        check([attention(is_causal=1)], feeds, opset=24, dims=open_dims(feeds))
        mask = normal(batch, 6, rest[0], rest[1], seed=1)
        check([attention("m")], feeds | {"m": mask}, opset=24)


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("shared", [2, 4])
def test_heads_side_by_side(check, shared, opset):
    for batch, _, *rest in SIZES:
        feeds = flat(operands(batch, 4, *rest, shared=shared))
        heads = {"q_num_heads": 4, "kv_num_heads": shared}
        dims = {name: [dims[0], dims[2], x.shape[2]] for (name, dims), x in
                zip(OPEN.items(), feeds.values(), strict=True)}  # fmt: skip
        check([attention(**heads)], feeds, opset=opset)
        check([attention(**heads, is_causal=1, scale=0.2)], feeds, opset=opset, dims=dims)
        keep = normal(batch, 1, rest[0], rest[1], seed=1) > 0
        keep[..., 0, :] = False
        check([attention("m", **heads)], feeds | {"m": keep}, opset=opset, threads=[1, 4])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("heads", "shared", "queries", "keys"), [(3, 3, 257, 150), (6, 2, 90, 37)])
def test_keys_of_heads_side_by_side_are_copied_for_many_queries(
    check, batch, heads, shared, queries, keys
):
    """Rows of queries of the heads that share keys count together."""
    feeds = flat(operands(batch, heads, queries, keys, 9, 20, shared=shared))
    sides = {"q_num_heads": heads, "kv_num_heads": shared}
    dims = {n: [None, None, x.shape[2]] for n, x in feeds.items()}
    dims = {
        n: [f"{n}{i}" if d is None else d for i, d in enumerate(own)] for n, own in dims.items()
    }
    check([attention(**sides)], feeds, opset=24, threads=[1, 4])
    check([attention(**sides, is_causal=1)], feeds, opset=24, dims=dims, threads=[1, 4])
    lengths = np.array([keys - 5 * b for b in range(batch)])
    node = make_node("Attention", [*"qkv", "", "", "", "n"], ["y"], **sides)
    feeds |= {"n": lengths}
    check([node], feeds, opset=24, wanted=reference(node, feeds), threads=[1, 4])


def test_operands_as_they_lie_after_a_transpose(check):
    turns = [make_node("Transpose", [f"{n}0"], [n], perm=[0, 2, 1, 3]) for n in "qkv"]
    back = make_node("Transpose", ["y"], ["z"], perm=[0, 2, 1, 3])
    feeds = {f"{n}0": x.swapaxes(1, 2).copy() for n, x in operands(2, 3, 5, 7, 4, 6).items()}
    check([*turns, attention(), back], feeds, opset=24, threads=[1, 4])


def test_one_model_for_all_sizes(check):
    feeds = [operands(b, 3, s, t, 8, 8) for b, s, t in ((1, 1, 1), (2, 5, 7), (1, 40, 33))]
    check([attention()], feeds, opset=24, threads=[1, 2])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values(check, special):
    for name in "qkv":
        feeds = operands(1, 2, 3, 4, 5, 6)
        feeds[name][0, 1, 2, 3] = special
        check([attention()], feeds, opset=24)


def test_double_is_what_the_standard_defines_it_by(check):
    """Also where nothing but the softmax is in it; narrower ones are of float32."""
    feeds = operands(1, 2, 3, 4, 5, 6)
    doubles = {name: x.astype(np.float64) for name, x in feeds.items()}
    check([attention()], doubles, opset=24)
    for precision in (TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        check([attention(softmax_precision=precision)], feeds, opset=24)


@pytest.mark.parametrize("mode", [0, 3])
def test_scores_of_double_without_caches(check, mode):
    """The standard's body does not make the outputs between, for which nobody asks."""
    feeds = {name: x.astype(np.float64) for name, x in operands(1, 2, 3, 4, 5, 6).items()}
    node = make_node("Attention", [*"qkv"], ["y", "", "", "s"], qk_matmul_output_mode=mode)
    check([node], feeds, opset=24, wanted=reference(node, feeds), tolerance=1e-6)


@pytest.mark.parametrize("kind", [F, np.float16])
def test_scores_of_inputs_of_unknown_rank_are_no_scalar(kind):
    feeds = {name: x.astype(kind) for name, x in operands(1, 2, 3, 4, 5, 6).items()}
    node = make_node("Attention", [*"qkv"], ["y", "", "", "s"])
    model = build([node], [feeds], outputs=["y", "s"], opset=24)
    for info in model.graph.input:
        info.type.tensor_type.ClearField("shape")
    session = sardonyx.Session(model, threads=1)
    wanted = reference(node, feeds)[0]
    for _ in range(3):  # on the host, then by a program for these ranks
        for found, right in zip(session.run(None, feeds), wanted, strict=True):
            assert (found.shape, found.dtype) == (right.shape, kind)
            np.testing.assert_allclose(found, right, 4e-3, 4e-3)


# --- caches, windows, lengths and scores: onnx's reference has all of them ----------------------


def reference(node, feeds, opset=24):
    """Results that are given names, of onnx's reference and of the mended one for scores."""
    model = build([node], [feeds], outputs=[name for name in node.output if name], opset=opset)
    return [ReferenceEvaluator(model, new_ops=[Attention]).run(None, feeds)]


@pytest.mark.parametrize("dims", [None, (None,) * 3])
def test_sizes_on_the_host_are_those_of_the_results(check, dims):
    """Not those that onnx infers, which leaves out a cache, and heads of open sizes."""
    shapes = {
        "q": (2, 2, 16),
        "k": (2, 1, 16),
        "v": (2, 1, 2),
        "p": (2, 2, 2, 8),
        "u": (2, 2, 2, 1),
    }
    feeds = {name: normal(*shape).astype(np.float32) for name, shape in shapes.items()}
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    node = make_node("Attention", [*"qkv", "", "p", "u"], ["y", "a", "b", "s"], **heads)
    opens = {"dims": dict.fromkeys("qkv", dims)} if dims else {}
    wanted = reference(node, feeds)
    host = {"Attention"} if dims else set()  # a scale that follows from an open size
    check([node], feeds, opset=24, host=host, wanted=wanted, **opens)


def test_open_sizes_of_results_are_not_zero():
    """As onnx infers them: a Slice of scores would keep all, and a product would be refused."""
    feeds = {name: normal(2, n, 8, seed=n) for name, n in zip("qkv", (3, 7, 7), strict=True)}
    heads = {"q_num_heads": 2, "kv_num_heads": 2, "scale": 0.3}
    node = make_node("Attention", [*"qkv"], ["a", "", "", "s"], **heads)
    weights = {"w": normal(8, 5), "b": np.array([0]), "e": np.array([4]), "x": np.array([3])}
    nodes = [node, make_node("MatMul", ["a", "w"], ["y"]), make_node("Slice", [*"sbex"], ["t"])]
    dims = dict.fromkeys("qkv", (None,) * 3)
    model = build(nodes, [feeds], weights, outputs=["y", "t"], dims=dims, opset=24)
    found = sardonyx.Session(model, threads=1).run(None, feeds)
    (y, scores), *_ = reference(node, feeds)
    np.testing.assert_allclose(found[0], y @ weights["w"], 1e-4, 1e-4)
    np.testing.assert_allclose(found[1], scores[..., :4], 1e-4, 1e-4)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("attributes", ATTRIBUTES[:5], ids=str)
def test_scores(check, attributes, mode):
    for sizes in SIZES:
        feeds = operands(*sizes)
        mask = normal(*sizes[:4], seed=1)
        mask[..., :1, :] = -INF
        node = make_node(
            "Attention", [*"qkv", "m"], ["y", "", "", "s"], **attributes, qk_matmul_output_mode=mode
        )
        feeds["m"] = mask
        check([node], feeds, opset=24, wanted=reference(node, feeds), threads=[1, 3])


@pytest.mark.parametrize("flattened", [False, True])
@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"is_causal": 1, "softcap": 2.0}])
@pytest.mark.parametrize("outputs", [["y"], ["y", "k2", "v2"], ["y", "k2", "v2", "s"]])
@pytest.mark.parametrize("before", [0, 1, 40])
def test_caches(check, before, outputs, attributes, flattened):
    for batch, heads, queries, keys, size, width in SIZES:
        feeds = operands(batch, 2 * heads, queries, keys, size, width, shared=heads)
        past = {"pk": normal(batch, heads, before, size), "pv": normal(batch, heads, before, width)}
        mask = {"m": normal(queries, before + keys, seed=3)}
        more = {"q_num_heads": 2 * heads, "kv_num_heads": heads} if flattened else {}
        node = make_node("Attention", [*"qkv", "m", *past], outputs, **attributes, **more)
        feeds = (flat(feeds) if flattened else feeds) | mask | past
        wanted = reference(node, feeds)
        check([node], feeds, outputs=outputs, opset=24, wanted=wanted, threads=[1, 4])
        open_cache = {name: ["b", heads, "p", x.shape[3]] for name, x in past.items()}
        check([node], feeds, outputs=outputs, opset=24, wanted=wanted, dims=open_cache)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("masked", ["", "m"])
def test_lengths(check, masked, causal):
    """Keys from a length on do not count, whatever is there; a mask may end with the last."""
    for batch, *rest in SIZES:
        feeds = operands(batch, *rest)
        queries, keys = rest[1:3]
        lengths = np.array([max(1, keys - 2 * b) for b in range(batch)])
        feeds |= {"m": normal(queries, lengths.max())} if masked else {}
        feeds["n"] = lengths
        node = make_node("Attention", [*"qkv", masked, "", "", "n"], ["y"], is_causal=causal)
        check([node], feeds, opset=24, wanted=reference(node, feeds), threads=[1, 4])


@pytest.mark.parametrize("left", [-1, 0, 2, 30])
@pytest.mark.parametrize("right", [-1, 0, 3])
@pytest.mark.parametrize("causal", [0, 1])
def test_windows(check, left, right, causal):
    window = {"left_window_size": left, "right_window_size": right, "is_causal": causal}
    for sizes in SIZES:
        batch, heads, _, keys, size, width = sizes
        feeds = operands(*sizes)
        node = attention(**window)
        check([node], feeds, opset=25, wanted=reference(node, feeds, 25))
        past = {"pk": normal(batch, heads, 3, size), "pv": normal(batch, heads, 3, width)}
        node = make_node("Attention", [*"qkv", "", *past], ["y"], **window)
        check([node], feeds | past, opset=25, wanted=reference(node, feeds | past, 25))
        lengths = {"n": np.full(batch, max(1, keys - 1))}
        node = make_node("Attention", [*"qkv", "", "", "", "n"], ["y"], **window)
        check([node], feeds | lengths, opset=25, wanted=reference(node, feeds | lengths, 25))


def test_scores_of_minus_infinity_in_the_first_block(check):
    """Keys that get no weight, and others a block later that get all of it."""
    for queries in (1, 7, 20):
        feeds = operands(1, 2, queries, 300, 16, 16)
        feeds["q"] = np.abs(feeds["q"])
        feeds["k"][:, :, :200] = -INF
        check([attention()], feeds, opset=24, wanted=reference(attention(), feeds))


def test_masks_that_lack_keys(check):
    for queries, keys in itertools.product((3, 20), (1, 9, 17, 40)):
        feeds = operands(1, 2, queries, 40, 5, 6)
        mask = {"m": normal(queries, keys)}
        wanted = [[padded(feeds, mask["m"])]]
        check([attention("m")], feeds | mask, opset=24, wanted=wanted)
        check([attention("m")], feeds | mask, opset=24, wanted=wanted, dims={"m": [queries, "n"]})


@pytest.mark.parametrize("length", [-1, 8])
def test_lengths_out_of_range(length):
    feeds = operands(1, 2, 3, 7, 5, 6) | {"n": np.array([length])}
    node = make_node("Attention", [*"qkv", "", "", "", "n"], ["y"])
    session = sardonyx.Session(build([node], [feeds], opset=24), optimize="none")
    with pytest.raises(
        sardonyx.SardonyxError,
        match=rf"attention.*index {length} out of range in 'n': expected 0 to 7$",
    ):
        session.run(None, feeds)


def padded(feeds, mask):
    """Result with a mask that lacks keys: they are masked."""
    more = np.pad(mask, ((0, 0), (0, feeds["k"].shape[2] - mask.shape[1])),
                  constant_values=-np.inf)  # fmt: skip
    return reference(attention("m"), feeds | {"m": more})[0][0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": (2, 2, 4, 5), "v": (2, 2, 4, 6)}, "batch"),
        ({"k": (1, 2, 4, 7)}, "sizes of heads"),
        ({"v": (1, 2, 3, 6)}, "rows"),
        ({"m": (3, 5)}, "keys of the mask"),
        ({"pk": (1, 2, 9, 5), "pv": (1, 2, 8, 6)}, "keys and values"),
        ({"pk": (1, 2, 9, 4), "pv": (1, 2, 9, 6)}, "sizes of 'pk'"),
        ({"pk": (2, 2, 9, 5), "pv": (2, 2, 9, 6)}, "sizes of 'pk'"),
    ],
)
def test_sizes_that_do_not_fit(refused, changes, reason):
    shapes = {n: x.shape for n, x in operands(1, 2, 3, 4, 5, 6).items()} | changes
    feeds = {name: normal(*shape) for name, shape in shapes.items()}
    dims = {
        name: [size if axis == x.ndim - 3 else f"{name}{axis}" for axis, size in enumerate(x.shape)]
        for name, x in feeds.items()
    }
    more = ["m" if "m" in changes else "", *(["pk", "pv"] if "pk" in changes else [])]
    nodes = [attention(*more, scale=1.0)]
    assert reason in refused(nodes, feeds, opset=24, dims=dims)


def test_scores_of_no_kind_are_refused(refused):
    node = make_node("Attention", [*"qkv"], ["y", "", "", "s"], qk_matmul_output_mode=4)
    assert "qk_matmul_output_mode" in refused([node], operands(1, 2, 3, 4, 5, 6), opset=24)


@pytest.mark.parametrize("names", [{}, {name: ["b", f"h{name}", "s", "d"] for name in "qkv"}])
def test_heads_that_do_not_divide_are_refused(names):
    feeds = operands(1, 4, 3, 5, 8, 8)
    for shared in (3, 8, 0):
        other = {"q": feeds["q"]} | {n: normal(1, shared, 3, 8) for n in "kv"}
        model = build([attention(scale=0.5)], [other], dims=names, opset=23)
        with pytest.raises(sardonyx.SardonyxError, match="Attention"):
            sardonyx.Session(model, threads=1).run(None, other)
    none = {name: normal(1, 0, 3, 8) for name in "qkv"}
    model = build([attention(scale=0.5)], [none], dims=names, opset=23)
    assert sardonyx.Session(model, threads=1).run(None, none)[0].shape == (1, 0, 3, 8)
