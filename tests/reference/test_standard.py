"""What the standard says where onnxruntime is silent, or says other things."""

from __future__ import annotations

import re
import time

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from sardonyx.reference import OPERATORS

HALVES = [np.float16, ml_dtypes.bfloat16]
SUMS = ["ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"]


def run(name, *inputs, outputs=1, opset=22, domain="", **attributes):
    names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(name, names, results, domain=domain, **attributes)
    ports = [onnx.ValueInfoProto(name=n) for n in names if n]
    graph = helper.make_graph(
        [node], "standard", ports, [onnx.ValueInfoProto(name=n) for n in results]
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=imports)
    feeds = {n: v for n, v in zip(names, inputs, strict=True) if n}
    found = ReferenceEvaluator(model, new_ops=OPERATORS).run(None, feeds)
    return found if outputs > 1 else found[0]


def close(found, wanted, kind):
    """One rounding of the exact value."""
    assert found.dtype == kind
    exact = np.asarray(wanted, np.float64)
    step = np.finfo(np.float16).eps if kind == np.float16 else 2.0**-7
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=step, atol=1e-6)


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_of_halves_are_rounded_once(rng, name, kind):
    x = (rng.random((2, 5000)) * 3).astype(kind)
    wide = x.astype(np.float32)
    wanted = ReferenceEvaluator(
        helper.make_model(
            helper.make_graph(
                [helper.make_node(name, ["x", "a"], ["y"])],
                "wide",
                [onnx.ValueInfoProto(name="x"), onnx.ValueInfoProto(name="a")],
                [onnx.ValueInfoProto(name="y")],
            ),
            opset_imports=[helper.make_opsetid("", 22)],
        )
    ).run(None, {"x": wide.astype(np.float64), "a": np.array([1])})[0]
    close(run(name, x, np.array([1])), wanted, kind)


@pytest.mark.parametrize("kind", HALVES)
def test_every_norm_of_halves_keeps_its_statistics_wide(rng, kind):
    x = (rng.standard_normal((2, 4, 16, 16)) * 400 + 90).astype(kind)
    scale, bias = np.ones(4, kind), np.zeros(4, kind)
    wide = x.astype(np.float64)
    centred = wide - wide.mean((2, 3), keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-5)
    close(run("InstanceNormalization", x, scale, bias), wanted, kind)
    close(run("GroupNormalization", x, scale, bias, num_groups=4), wanted, kind)
    last = wide - wide.mean(-1, keepdims=True)
    wanted = last / np.sqrt((last**2).mean(-1, keepdims=True) + 1e-5)
    close(run("LayerNormalization", x, np.ones(16, kind)), wanted, kind)
    wanted = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5)
    close(run("RMSNormalization", x, np.ones(16, kind), opset=23), wanted, kind)


@pytest.mark.parametrize("kind", HALVES)
def test_products_of_halves_are_summed_wide(rng, kind):
    a, b = (rng.random(s).astype(kind) for s in ((3, 5000), (5000, 2)))
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    close(run("MatMul", a, b), wanted, kind)
    close(run("Gemm", a, b), wanted, kind)
    close(run("Einsum", a, b, equation="ij,jk->ik"), wanted, kind)


def test_reductions_of_nothing_and_of_infinities():
    minus = np.full((2, 3), -np.inf, np.float32)
    np.testing.assert_array_equal(
        run("ReduceLogSumExp", minus, np.array([1]), keepdims=0), [-np.inf] * 2
    )
    empty = np.zeros((2, 0), np.float32)
    np.testing.assert_array_equal(
        run("ReduceLogSumExp", empty, np.array([1]), keepdims=0), [-np.inf] * 2
    )
    assert run("ReduceSum", empty, np.array([1])).shape == (2, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, ml_dtypes.int4])
def test_quantizing_saturates_on_the_side_of_the_input(kind):
    x = np.array([0, 1e9, -1e9, 3e38, -3e38, np.inf, -np.inf], np.float32)
    y = run("QuantizeLinear", x, np.float32(1e-7).reshape(()), np.zeros((), kind))
    info = ml_dtypes.iinfo(kind) if kind is ml_dtypes.int4 else np.iinfo(kind)
    low, high = int(info.min), int(info.max)
    assert y.astype(np.int64).tolist() == [0, high, low, high, low, high, low]


@pytest.mark.parametrize("kind", [ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn])
def test_quantizing_to_six_bits_saturates(kind):
    x = np.array([0, 1, 1e9, -1e9, np.inf, -np.inf], np.float32)
    y = run("QuantizeLinear", x, np.float32(1).reshape(()), np.zeros((), kind), opset=28)
    high = float(ml_dtypes.finfo(kind).max)
    assert y.astype(np.float64).tolist() == [0, 1, high, -high, high, -high]


def test_quantizing_divides_in_the_type_of_the_scale():
    """4.25 in float16 is a tie of float8, which 4.2505 in float32 is not."""
    x, scale = np.array([2.5], np.float16), np.array(0.588, np.float16)
    zero = np.zeros((), ml_dtypes.float8_e4m3fn)
    quotient = (x / scale).astype(np.float32)
    found = run("QuantizeLinear", x, scale, zero, opset=23)
    assert found == quotient.astype(ml_dtypes.float8_e4m3fn)


def test_sequences_take_their_end_for_a_position():
    parts, new = [np.array([1.0]), np.array([2.0])], np.array([3.0])
    for at, wanted in ((2, [1, 2, 3]), (-2, [3, 1, 2]), (0, [3, 1, 2]), (None, [1, 2, 3])):
        index = None if at is None else np.array(at)
        assert [float(v[0]) for v in run("SequenceInsert", parts, new, index)] == wanted
    with pytest.raises(Exception, match="position 3"):
        run("SequenceInsert", parts, new, np.array(3))


def test_optional_values_may_be_missing():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    node = helper.make_node("Optional", [], ["o"], type=kind.optional_type.elem_type)
    asks = helper.make_node("OptionalHasElement", ["o"], ["y"])
    graph = helper.make_graph([node, asks], "g", [], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert not ReferenceEvaluator(model, new_ops=OPERATORS).run(None, {})[0]
    assert run("OptionalHasElement", np.ones(1), opset=18)


def test_accents_stay_and_stop_words_go():
    x = np.array(["Monday", "Été", "über"], object)
    found = run("StringNormalizer", x, case_change_action="LOWER", stopwords=["monday"])
    assert found.tolist() == ["été", "über"]
    upper = run("StringNormalizer", x, case_change_action="UPPER")
    assert upper.tolist() == ["MONDAY", "ÉTÉ", "ÜBER"]
    assert run("StringNormalizer", x[:1], stopwords=["Monday"], is_case_sensitive=1).tolist() == [
        ""
    ]


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*)*x", r"(\w+\s?)*!"])
def test_no_pattern_takes_exponential_time(pattern):
    begin = time.perf_counter()
    assert not run("RegexFullMatch", np.array(["a" * 400], object), pattern=pattern)[0]
    assert time.perf_counter() - begin < 20  # backtracking takes 2^400 steps


PATTERNS = [
    "[a-c ]+",
    "a*b?c{2,4}(d|e)*",
    r"\w+@\w+",
    "(?i:ab)c|x",
    "^ab$",
    r"\bab\b c",
    "[^x]*",
    "",
]


@pytest.mark.parametrize("pattern", [*PATTERNS, "(a|b)*a(a|b){9}"])
def test_patterns_match_as_those_of_python(pattern):
    """Also where more sets of states follow one another than are remembered."""
    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("abcde@AX "), n)) for n in rng.integers(0, 9, 300)]
    texts += ["".join(rng.choice(list("ab"), n)) for n in rng.integers(0, 60, 60)]
    texts += ["ab", "ab c", "abc", "a@b", "ccd", "abcccde"]
    found = run("RegexFullMatch", np.array(texts, object), pattern=pattern)
    assert found.tolist() == [re.fullmatch(pattern, text) is not None for text in texts]


def test_a_convolution_of_bytes_gives_int32():
    x, w = np.full((1, 1, 2, 5, 4), 255, np.uint8), np.full((1, 1, 1, 2, 3), 200, np.uint8)
    found = run("ConvInteger", x, w)
    assert found.dtype == np.int32
    assert found.reshape(-1)[0] == 255 * 200 * 6


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)a", "(?<!a)b"])
def test_patterns_that_look_around_are_refused(pattern):
    with pytest.raises(Exception, match="linear time"):
        run("RegexFullMatch", np.array(["a"], object), pattern=pattern)


def test_a_scan_without_steps_gives_nothing_of_the_right_shape():
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "se"],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "to"],
    )
    state, x = np.ones(2, np.float32), np.zeros((0, 2), np.float32)
    last, every = run("Scan", state, x, outputs=2, body=body, num_scan_inputs=1)
    assert last.tolist() == [1, 1]
    assert every.shape == (0, 2)


def test_resizing_reaches_the_edge_of_a_crop():
    """Coordinates that rounding pushes beyond the last pixel are not extrapolated."""
    x = np.arange(7, dtype=np.float32).reshape(1, 1, 7)
    for size in range(2, 40):
        roi = np.array([0, 0, 0.1, 1, 1, 1], np.float32)
        y = run(
            "Resize",
            x,
            roi,
            None,
            np.array([1, 1, size]),
            mode="linear",
            coordinate_transformation_mode="tf_crop_and_resize",
            extrapolation_value=-9.0,
        )
        assert y[0, 0, -1] == 6


def test_unique_of_any_type_in_order_of_appearance():
    x = np.array([3, 1, 2, 1], np.int64)
    y, first, inverse, counts = run("Unique", x, sorted=0, outputs=4)
    assert (y.tolist(), first.tolist()) == ([3, 1, 2], [0, 1, 2])
    assert (inverse.tolist(), counts.tolist()) == ([0, 1, 2, 1], [1, 2, 1])
    assert run("Unique", np.array(["b", "a", "b"], object), sorted=0).tolist() == ["b", "a"]
    rows = np.array([[2, 1], [0, 1], [2, 1]], np.float32)
    assert run("Unique", rows, sorted=0, axis=0).tolist() == [[2, 1], [0, 1]]


def test_numbers_as_text_have_no_empty_fraction():
    for x, wanted in (
        (np.array([1.0, -2.5, 1e10], np.float32), ["1", "-2.5", "1e+10"]),
        (np.array([0.1, 3.0], np.float64), ["0.1", "3"]),
        (np.array([True, False]), ["1", "0"]),
        (np.array([5, -7], np.int64), ["5", "-7"]),
        (np.array([0.5, 2], ml_dtypes.bfloat16), ["0.5", "2"]),
    ):
        assert run("Cast", x, to=TensorProto.STRING).tolist() == wanted


def test_scores_of_attention_are_those_before_the_cap(rng):
    q, k, v = (rng.standard_normal((1, 2, 3, 4)).astype(np.float32) for _ in range(3))
    *_, scores = run("Attention", q, k, v, outputs=4, opset=23, softcap=0.5, scale=1.0)
    np.testing.assert_allclose(scores, q @ k.swapaxes(2, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 1, 5), (1, 2, 1, 5), (1, 2, 3, 5)])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("is_bool", [False, True])
def test_a_mask_of_one_row_is_that_of_all_queries(rng, shape, causal, is_bool):
    q, k, v = (rng.standard_normal((1, 2, n, 4)).astype(np.float32) for n in (3, 5, 5))
    bias = rng.standard_normal(shape).astype(np.float32)
    mask = np.concatenate([bias[..., :1] < 9, bias[..., 1:] > 0], -1) if is_bool else bias
    y = run("Attention", q, k, v, mask, opset=23, is_causal=causal)
    added = np.where(mask, 0.0, -np.inf) if is_bool else mask
    later = np.triu(np.full((3, 5), -np.inf), 1) if causal else 0.0
    weights = np.exp(q.astype(float) @ k.swapaxes(2, 3) / 2 + added + later)
    wanted = weights / weights.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_random_numbers_have_their_distribution(kind):
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    like = np.zeros((200, 100), kind)
    for name in ("RandomNormal", "RandomNormalLike"):
        given = [like] if name.endswith("Like") else []
        shape = {} if given else {"shape": [200, 100], "dtype": code}
        y = run(name, *given, mean=2.0, scale=3.0, seed=1.0, **shape)
        assert y.dtype == kind
        assert y.shape == like.shape
        assert abs(y.astype(np.float64).mean() - 2) < 0.1
        assert abs(y.astype(np.float64).std() - 3) < 0.1
        np.testing.assert_array_equal(y, run(name, *given, mean=2.0, scale=3.0, seed=1.0, **shape))
    y = run("RandomUniformLike", like, low=-1.0, high=3.0)
    assert -1 <= y.min() < -0.9
    assert 2.9 < y.max() <= 3
    ones = run("Bernoulli", np.full((200, 100), 0.25, kind), dtype=TensorProto.INT64)
    assert ones.dtype == np.int64
    assert abs(ones.mean() - 0.25) < 0.02
    assert run("Bernoulli", np.array([0.0, 1.0], kind)).tolist() == [0, 1]
    rows = run("Multinomial", np.log(np.array([[0.2, 0.8], [1e-9, 1]], kind)), sample_size=5000)
    assert rows.dtype == np.int32
    assert abs(rows[0].mean() - 0.8) < 0.03
    assert rows[1].min() == 1


def test_ensembles_of_two_classes_take_the_larger():
    nodes = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
    }  # fmt: skip
    classes = {
        "class_treeids": [0] * 4, "class_nodeids": [1, 1, 2, 2], "class_ids": [0, 1, 0, 1],
        "class_weights": [0.9, 0.1, 0.3, 0.7], "classlabels_strings": ["no", "yes"],
    }  # fmt: skip
    x = np.array([[0.0], [1.0]], np.float32)
    labels, scores = run(
        "TreeEnsembleClassifier", x, outputs=2, domain="ai.onnx.ml", **nodes, **classes
    )
    assert labels.tolist() == ["no", "yes"]
    np.testing.assert_allclose(scores, [[0.9, 0.1], [0.3, 0.7]], rtol=1e-6)


def test_trees_in_a_circle_end():
    nodes = {
        "nodes_treeids": [0, 0], "nodes_nodeids": [0, 1], "nodes_featureids": [0, 0],
        "nodes_values": [0.5, 0.0], "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ"],
        "nodes_truenodeids": [1, 0], "nodes_falsenodeids": [1, 0],
        "target_treeids": [0], "target_nodeids": [1], "target_ids": [0], "target_weights": [1.0],
        "n_targets": 1,
    }  # fmt: skip
    with pytest.raises(Exception, match="circle"):
        run("TreeEnsembleRegressor", np.ones((1, 1), np.float32), domain="ai.onnx.ml", **nodes)


@pytest.mark.parametrize("name, inputs, attributes, shape", [
    ("Conv", [(0, 4, 5, 6), (6, 2, 3, 3)], {"group": 2}, (0, 6, 3, 4)),
    ("ConvTranspose", [(0, 4, 5, 6), (4, 3, 3, 3)], {"group": 2}, (0, 6, 7, 8)),
    ("DeformConv", [(0, 4, 5, 6), (6, 4, 3, 3), (0, 18, 3, 4)], {}, (0, 6, 3, 4)),
    ("MaxPool", [(0, 4, 5, 6)], {"kernel_shape": [2, 2]}, (0, 4, 4, 5)),
    ("AveragePool", [(0, 4, 5, 6)], {"kernel_shape": [2, 2]}, (0, 4, 4, 5)),
    ("LpPool", [(0, 4, 5, 6)], {"kernel_shape": [2, 2]}, (0, 4, 4, 5)),
    ("GlobalAveragePool", [(0, 4, 5, 6)], {}, (0, 4, 1, 1)),
    ("InstanceNormalization", [(0, 4, 5, 6), (4,), (4,)], {}, (0, 4, 5, 6)),
    ("GroupNormalization", [(0, 4, 5, 6), (4,), (4,)], {"num_groups": 2}, (0, 4, 5, 6)),
    ("LRN", [(0, 4, 5, 6)], {"size": 3}, (0, 4, 5, 6)),
    ("BatchNormalization", [(0, 4, 5, 6), (4,), (4,), (4,), (4,)], {}, (0, 4, 5, 6)),
])  # fmt: skip
def test_batches_may_be_empty(name, inputs, attributes, shape):
    arrays = [np.ones(each, np.float32) for each in inputs]
    assert run(name, *arrays, **attributes).shape == shape


@pytest.mark.parametrize("kind", HALVES)
def test_bits_of_halves_are_those_of_halves(rng, kind):
    x = rng.standard_normal(9).astype(kind)
    found = run("BitCast", x, to=TensorProto.UINT16, opset=26)
    np.testing.assert_array_equal(found, x.view(np.uint16))


@pytest.mark.parametrize("axis", [3, -4, 2**40])
@pytest.mark.parametrize(
    "name", ["ReduceSum", "ReduceMax", "Squeeze", "Unsqueeze", "CumSum", "Slice", "Pad"]
)
def test_axes_that_no_input_has_are_refused(name, axis):
    x, axes, one = np.zeros((2, 1, 3), np.float32), np.array([axis]), np.array([1])
    rest = {"CumSum": [axes[0]], "Slice": [one, one, axes], "Pad": [np.array([1, 1]), None, axes]}
    if name == "Unsqueeze" and axis != 2**40:
        axes += np.sign(axis)  # the result has another axis
    with pytest.raises(ValueError, match="axis"):
        run(name, x, *rest.get(name, [axes]))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("name, gates", [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_lengths_beyond_those_of_sequences_are_refused(name, gates, layout):
    x = np.zeros((2, 3, 5) if layout else (3, 2, 5), np.float32)
    weights = [np.zeros((1, gates * 4, size), np.float32) for size in (5, 4)]
    for lengths in ([3, 0], [1, 1]):
        run(name, x, *weights, None, np.array(lengths, np.int32), hidden_size=4, layout=layout)
    for lengths in ([4, 1], [-1, 1]):
        with pytest.raises(ValueError, match="length of a sequence"):
            run(name, x, *weights, None, np.array(lengths, np.int32), hidden_size=4, layout=layout)


def test_floats_are_integers_before_they_are_categories():
    x = np.array([1.7, -0.5, 2.0, 7.0])
    found = run("OneHotEncoder", x, domain="ai.onnx.ml", cats_int64s=[0, 1, 2])
    assert found.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_infinite_pixels_do_not_reach_places_outside_of_the_image():
    x = np.full((1, 1, 2, 2), np.inf)
    grid = np.array([[[[-9.0, -9], [9, 0], [0, 0]]]])
    assert run("GridSample", x, grid).reshape(-1).tolist() == [0, 0, np.inf]


@pytest.mark.parametrize("kind", [*HALVES, np.float32, np.float64])
@pytest.mark.parametrize("opset", [1, 6, 11, 13])
def test_a_clip_without_limits_gives_finite_numbers(kind, opset):
    x = np.array([np.inf, -np.inf, 1, np.nan], kind)
    largest = float(ml_dtypes.finfo(kind).max)
    wanted = [largest, -largest, 1, np.nan]
    np.testing.assert_array_equal(run("Clip", x, opset=opset).astype(float), wanted)


@pytest.mark.parametrize("shape", [(1, 0), (2, 3)])
def test_coefficients_are_as_many_as_features(shape):
    x = np.ones(shape, np.float32)
    with pytest.raises(ValueError, match="2 coefficients"):
        run("LinearRegressor", x, domain="ai.onnx.ml", coefficients=[1.0, 2.0])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.uint64])
def test_products_of_integers_are_integers(rng, kind):
    info = np.iinfo(kind)
    a, b, c = (
        rng.integers(info.min, info.max, shape, kind, endpoint=True)
        for shape in ((2, 7), (3, 7), (2, 1))
    )
    np.testing.assert_array_equal(run("Gemm", a, b, c, transB=1), a @ b.T + c)
