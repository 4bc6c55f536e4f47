"""Each fusion on the computation it stands for, and on near misses."""

import itertools
import math

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import parser

F = np.float32
X = {"x": ("n", 6)}
IMAGE = {"x": ("n", 4, 6, 6)}


def rand(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(F)


# --- activations ------------------------------------------------------------------------------

ERF = [("Div", "x r2", "d"), ("Erf", "d", "e"), ("Add", "e one", "t")]
ERF_BY_PRODUCT = [("Mul", "x r05", "d"), ("Erf", "d", "e"), ("Add", "one e", "t")]
TANH = [
    ("Pow", "x three", "p"),
    ("Mul", "p c", "q"),
    ("Add", "x q", "s"),
    ("Mul", "s k", "i"),
    ("Tanh", "i", "e"),
    ("Add", "e one", "t"),
]
TANH_FACTORED = [
    ("Mul", "x x", "p"),
    ("Mul", "p c", "q"),
    ("Add", "q one", "f"),
    ("Mul", "x f", "s"),
    ("Mul", "k s", "i"),
    ("Tanh", "i", "e"),
    ("Add", "e one", "t"),
]
TANH_OF_JAX = [
    ("Mul", "c x", "p"),
    ("Mul", "x p", "q"),
    ("Mul", "x q", "f"),
    ("Add", "x f", "s"),
    ("Mul", "k s", "i"),
    ("Tanh", "i", "e"),
    ("Add", "one e", "t"),
]
NUMBERS = {
    "r2": F(math.sqrt(2)),
    "r05": F(math.sqrt(0.5)),
    "one": F(1),
    "half": F(0.5),
    "three": F(3),
    "c": F(0.044715),
    "k": F(math.sqrt(2 / math.pi)),
    "six": F(6),
    "zero": F(0),
    "sixth": F(1 / 6),
    "two": F(2),
}
ROOTS = [
    [("Mul", "x t", "m"), ("Mul", "m half", "y")],
    [("Mul", "t half", "m"), ("Mul", "x m", "y")],
    [("Mul", "x half", "m"), ("Mul", "m t", "y")],
]


def used(nodes, numbers=NUMBERS):
    names = {name for node in nodes for name in node[1].split()}
    return {name: value for name, value in numbers.items() if name in names}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("inner", [ERF, ERF_BY_PRODUCT, TANH, TANH_FACTORED, TANH_OF_JAX])
def test_gelu(graph, optimized, inner, root):
    nodes = inner + root
    assert optimized(graph(nodes, X, **used(nodes)))[0] == ["Gelu"]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    "inner",
    [
        [("Neg", "x", "n"), ("Mul", "n h", "d")],
        [("Neg", "x", "n"), ("Div", "n r2", "d")],
        [("Mul", "x h", "n"), ("Neg", "n", "d")],
        [("Mul", "x minus", "d")],
    ],
)
def test_gelu_by_erfc(graph, optimized, inner, root):
    """As tf2onnx writes Erfc: 1 - Erf."""
    nodes = [*inner, ("Erf", "d", "e"), ("Sub", "one e", "t"), *root]
    numbers = NUMBERS | {"h": F(math.sqrt(0.5)), "minus": F(-math.sqrt(0.5))}
    assert optimized(graph(nodes, X, **used(nodes, numbers)))[0] == ["Gelu"]
    swapped = [("Sub", "e one", "t") if node[0] == "Sub" else node for node in nodes]
    assert "Gelu" not in optimized(graph(swapped, X, **used(nodes, numbers)))[0]


def test_what_is_almost_gelu_stays(graph, optimized):
    nodes = ERF + ROOTS[0]
    left, _ = optimized(graph(nodes, X, **used(nodes) | {"r2": F(1.5)}))
    assert "Erf" in left and "Gelu" not in left


RELU6 = [("Add", "x three", "a"), ("Clip", "a zero six", "r")]


@pytest.mark.parametrize(
    "last_nodes",
    [
        [("Mul", "x r", "m"), ("Div", "m six", "y")],
        [("Mul", "x r", "m"), ("Mul", "m sixth", "y")],
        [("Div", "r six", "m"), ("Mul", "m x", "y")],
        [("Mul", "r sixth", "m"), ("Mul", "x m", "y")],
    ],
)
def test_hard_swish(graph, optimized, last_nodes):
    nodes = RELU6 + last_nodes
    assert optimized(graph(nodes, X, **used(nodes)))[0] == ["HardSwish"]


def test_hard_sigmoid_and_its_product(graph, optimized):
    nodes = [*RELU6, ("Div", "r six", "y")]
    assert optimized(graph(nodes, X, **used(nodes)))[0] == ["HardSigmoid"]
    gate = [("HardSigmoid", "x", "g", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", "x g", "y")]
    assert optimized(graph(gate, X))[0] == ["HardSwish"]
    other = [("HardSigmoid", "x", "g", {"alpha": 0.2, "beta": 0.5}), ("Mul", "x g", "y")]
    assert optimized(graph(other, X))[0] == ["HardSigmoid", "Mul"]


def test_swish_relu_clip_and_where_not(graph, optimized):
    assert optimized(graph([("Sigmoid", "x", "g"), ("Mul", "g x", "y")], X))[0] == ["Swish"]
    nodes = [("Relu", "x", "r"), ("Clip", "r low six", "y")]
    assert optimized(graph(nodes, X, low=F(-1), six=F(6)))[0] == ["Clip"]
    nodes = [("Less", "x zero", "c"), ("Not", "c", "n"), ("Where", "n x zero", "y")]
    assert optimized(graph(nodes, X, zero=F(0)))[0] == ["Less", "Where"]


@pytest.mark.parametrize("product", ["x t", "t x"])
def test_mish(graph, optimized, product):
    nodes = [("Softplus", "x", "s"), ("Tanh", "s", "t"), ("Mul", product, "y")]
    assert optimized(graph(nodes, X))[0] == ["Mish"]
    assert "Mish" not in optimized(graph(nodes, X, opset=17))[0]
    other = [("Softplus", "x", "s"), ("Tanh", "s", "t"), ("Mul", "s t", "y")]
    assert "Mish" not in optimized(graph(other, X))[0]


# --- layer normalization ----------------------------------------------------------------------


def layer_norm(square, axes="axes"):
    return [
        ("ReduceMean", f"x {axes}", "mean"),
        ("Sub", "x mean", "d"),
        square,
        ("ReduceMean", f"s {axes}", "v"),
        ("Add", "v eps", "ve"),
        ("Sqrt", "ve", "root"),
        ("Div", "d root", "z"),
    ]


EPSILON = {"eps": F(1e-5), "axes": np.array([-1])}
SQUARES = [("Mul", "d d", "s"), ("Pow", "d two", "s")]


@pytest.mark.parametrize("square", SQUARES)
def test_layer_normalization(graph, optimized, square):
    inputs = {"x": ("n", 3, 6)}
    more = EPSILON | ({"two": F(2)} if square[0] == "Pow" else {})
    nodes = [*layer_norm(square), ("Mul", "z w", "zw"), ("Add", "zw b", "y")]
    assert optimized(graph(nodes, inputs, w=rand(6), b=rand(6), **more))[0] == [
        "LayerNormalization"
    ]
    nodes = [*layer_norm(square), ("Mul", "z w", "y")]
    assert optimized(graph(nodes, inputs, w=rand(6), **more))[0] == ["LayerNormalization"]
    nodes = [*layer_norm(square)]
    assert optimized(graph(nodes, inputs, **more))[0] == ["LayerNormalization"]


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("parameters", ["scale bias", "scale", "bias", ""])
def test_layer_normalization_by_a_product_and_a_sum(graph, optimized, parameters, pooled):
    """As Keras writes it: x * factor + (bias - mean * factor); tf2onnx makes means poolings."""
    mean = ("GlobalAveragePool", "{}", "{}") if pooled else ("ReduceMean", "{} axes", "{}")
    nodes = [
        (mean[0], mean[1].format("x"), "mean"),
        ("Sub", "x mean", "d"),
        ("Mul", "d d", "sq"),
        (mean[0], mean[1].format("sq"), "var"),
        ("Add", "var eps", "v"),
        ("Sqrt", "v", "r"),
        ("Reciprocal", "r", "i"),
        *([("Mul", "i w", "f")] if "scale" in parameters else [("Identity", "i", "f")]),
        ("Neg", "mean", "n"),
        ("Mul", "n f", "s"),
        *([("Add", "s b", "t")] if "bias" in parameters else [("Identity", "s", "t")]),
        ("Mul", "x f", "xf"),
        ("Add", "xf t", "y"),
    ]
    weights = {"eps": F(1e-5)} | ({} if pooled else {"axes": np.array([-1])})
    weights |= {"w": rand(1, 1, 6)} if "scale" in parameters else {}
    weights |= {"b": rand(1, 1, 6)} if "bias" in parameters else {}
    left = optimized(graph(nodes, {"x": ("n", 3, 6)}, **weights))[0]
    assert left == ["LayerNormalization"]


def test_means_that_are_no_layer_normalization(graph, optimized):
    inputs = {"x": ("n", 3, 6)}
    nodes = layer_norm(SQUARES[0])
    left, report = optimized(graph(nodes, inputs, eps=F(1e-5), axes=np.array([1])))
    assert "LayerNormalization" not in left
    assert any("the axes are not the last ones" in text for text in report.explanations)
    nodes = [*layer_norm(SQUARES[0]), ("Add", "z mean", "y")]
    assert "LayerNormalization" not in optimized(graph(nodes, inputs, **EPSILON))[0]


def rms_norm(last, square=("Mul", "x x", "s")):
    means = [("ReduceMean", "s axes", "mean"), ("Add", "mean eps", "ve"), ("Sqrt", "ve", "root")]
    return [square, *means, *last, ("Mul", "w z", "y")]


@pytest.mark.parametrize(
    "last", [[("Div", "x root", "z")], [("Reciprocal", "root", "i"), ("Mul", "x i", "z")]]
)
def test_rms_normalization(graph, optimized, last):
    inputs = {"x": ("n", 3, 6)}
    given = EPSILON | {"w": rand(6)}
    assert optimized(graph(rms_norm(last), inputs, **given, opset=24))[0] == ["RMSNormalization"]
    power = rms_norm(last, ("Pow", "x two", "s"))
    model = graph(power, inputs, **given, two=F(2), opset=24)
    assert optimized(model)[0] == ["RMSNormalization"]
    for change in ({"w": rand(3, 6)}, {"axes": np.array([1])}, {"eps": rand(6)}):
        model = graph(rms_norm(last), inputs, **(given | change), opset=24)
        assert "RMSNormalization" not in optimized(model)[0]


# --- products ---------------------------------------------------------------------------------


def test_matmul_and_add_become_gemm(graph, optimized):
    nodes = [("MatMul", "x w", "m"), ("Add", "m b", "y")]
    assert optimized(graph(nodes, X, w=rand(6, 5), b=rand(5)))[0] == ["Gemm"]
    assert optimized(graph(nodes, {"x": ("n", 2, 6)}, w=rand(6, 5), b=rand(5)))[0] == [
        "MatMul",
        "Add",
    ]
    assert optimized(graph(nodes, {"x": (3, 6)}, w=rand(6, 5), b=rand(3, 1)))[0] == [
        "MatMul",
        "Add",
    ]


@pytest.mark.parametrize("shape", [(), (3, 5), (3, 1), (1, 1, 5), (1, 3, 1)])
def test_a_product_stays_as_it_is_where_other_things_are_added(graph, optimized, shape):
    nodes = [("MatMul", "x w", "m"), ("Add", "m b", "y")]
    b = np.asarray(rand(*shape), np.float32)
    assert optimized(graph(nodes, {"x": (3, 6)}, w=rand(6, 5), b=b))[0] == ["MatMul", "Add"]


def test_batch_normalization_after_matmul(graph, optimized):
    nodes = [("MatMul", "x w", "m"), ("BatchNormalization", "m s b u v", "y")]
    weights = {"s": rand(5), "b": rand(5), "u": rand(5), "v": np.abs(rand(5)) + 1}
    nodes.append(("Relu", "y", "z"))
    assert optimized(graph(nodes, X, w=rand(6, 5), **weights))[0] == ["Gemm", "Relu"]


def test_transposes_go_into_gemm(graph, optimized):
    nodes = [("Transpose", "x", "t"), ("Gemm", "t w b", "y", {"alpha": 0.5})]
    assert optimized(graph(nodes, {"x": (6, 3)}, w=rand(6, 5), b=rand(5)))[0] == ["Gemm"]
    nodes = [("Transpose", "z", "t"), ("Gemm", "x t", "y")]
    assert optimized(graph(nodes, {"x": (3, 6), "z": (5, 6)}))[0] == ["Gemm"]


@pytest.mark.parametrize("kind", ["Mul", "Div"])
def test_a_factor_goes_into_gemm(graph, optimized, kind):
    nodes = [("Gemm", "x w", "m", {"transB": 1}), (kind, "m c", "y")]
    assert optimized(graph(nodes, X, w=rand(5, 6), c=F(0.3)))[0] == ["Gemm"]


# --- chains of constants ----------------------------------------------------------------------


def test_chains_of_constants_merge(graph, optimized):
    nodes = [("Mul", "x a", "p"), ("Add", "p b", "q"), ("Mul", "q c", "r"), ("Add", "r d", "y")]
    weights = {"a": rand(6), "b": rand(6), "c": rand(6), "d": rand(1)}
    assert optimized(graph(nodes, X, **weights))[0] == ["Mul", "Add"]


def test_a_combined_constant_may_not_overflow(graph, optimized):
    nodes = [("Mul", "x a", "p"), ("Mul", "p b", "y")]
    left, report = optimized(graph(nodes, X, a=F(1e30), b=F(1e30)))
    assert left == ["Mul", "Mul"]
    assert any("not finite" in text for text in report.explanations)


def test_a_product_with_a_reciprocal_is_a_quotient(graph, optimized):
    nodes = [("Div", "one x", "r"), ("Mul", "z r", "y")]
    assert optimized(graph(nodes, {**X, "z": ("n", 6)}, one=F(1)))[0] == ["Div"]


# --- padding ----------------------------------------------------------------------------------

PADS = np.array([0, 0, 1, 2, 0, 0, 2, 1])


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 0, 0]}, {"auto_pad": "VALID"}])
def test_pads_go_into_convolutions(graph, optimized, attributes):
    nodes = [("Pad", "x p", "a"), ("Conv", "a w", "y", attributes)]
    assert optimized(graph(nodes, IMAGE, p=PADS, w=rand(5, 4, 3, 3)))[0] == ["Conv"]


def test_pads_go_into_pools(graph, optimized):
    form = {"kernel_shape": [3, 3]}
    nodes = [("Pad", "x p", "a"), ("AveragePool", "a", "y", form)]
    assert optimized(graph(nodes, IMAGE, p=PADS))[0] == ["AveragePool"]
    nodes = [("Pad", "x p v", "a"), ("MaxPool", "a", "y", form)]
    assert optimized(graph(nodes, IMAGE, p=PADS, v=F(-np.inf)))[0] == ["MaxPool"]


@pytest.mark.parametrize(
    ("pads", "value", "mode", "attributes", "reason"),
    [
        (PADS, 1.0, "constant", {}, "pads by 1.0"),
        (PADS, 0.0, "reflect", {}, "the mode is reflect"),
        (np.array([0, 1, 0, 0, 0, 0, 0, 0]), 0.0, "constant", {}, "images or channels"),
        (-PADS, 0.0, "constant", {}, "crops"),
        (PADS, 0.0, "constant", {"auto_pad": "SAME_UPPER"}, "depends on the input"),
    ],
)
def test_pads_that_stay(graph, optimized, pads, value, mode, attributes, reason):
    nodes = [("Pad", "x p v", "a", {"mode": mode}), ("Conv", "a w", "y", attributes)]
    channels = 4 + int(pads[1])
    model = graph(nodes, IMAGE, p=pads, v=F(value), w=rand(5, channels, 2, 2))
    left, report = optimized(model)
    assert left == ["Pad", "Conv"]
    assert any(reason in text for text in report.explanations)


def test_a_mean_that_does_not_count_padding_keeps_its_pad(graph, optimized):
    nodes = [
        ("Pad", "x p", "a"),
        ("AveragePool", "a", "y", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ]
    assert optimized(graph(nodes, IMAGE, p=PADS))[0] == ["Pad", "AveragePool"]


def test_softmax_of_an_old_opset(graph, optimized):
    nodes = [
        ("Flatten", "x", "f"),
        ("Softmax", "f", "s"),
        ("Shape", "x", "shape"),
        ("Reshape", "s shape", "y"),
    ]
    left, report = optimized(graph(nodes, {"x": (2, 7, 1, 1)}))
    assert left == ["Softmax"], report.explanations
    assert optimized(graph(nodes, {"x": (2, 7, 1, 2)}))[0] == ["Flatten", "Softmax", "Reshape"]


@pytest.mark.parametrize(
    ("axes", "keep", "opset", "reason"),
    [
        (([1], [2]), 1, 24, "along different axes"),
        (([1, 2], [1, 2]), 1, 24, "not over one constant axis"),
        (([-1], [-1]), 1, 12, "since opset 13"),
    ],
)
def test_what_is_almost_softmax_stays(graph, optimized, axes, keep, opset, reason):
    more = {"a": np.array(axes[0]), "b": np.array(axes[1])} if opset > 12 else {}
    first, second = (("x a", {}), ("e b", {})) if more else (
        ("x", {"axes": axes[0]}),
        ("e", {"axes": axes[1]}),
    )  # fmt: skip
    nodes = [
        ("ReduceMax", first[0], "m", first[1]),
        ("Sub", "x m", "d"),
        ("Exp", "d", "e"),
        ("ReduceSum", second[0], "s", second[1]),
        ("Div", "e s", "y"),
    ]
    left, report = optimized(graph(nodes, {"x": (2, 3, 4)}, opset=opset, **more))
    assert len(left) == 5
    assert any(reason in text for text in report.explanations), report.explanations


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_written_out(graph, optimized, axis):
    nodes = [
        ("ReduceMax", "x a", "m"),
        ("Sub", "x m", "d"),
        ("Exp", "d", "e"),
        ("ReduceSum", "e a", "s"),
        ("Div", "e s", "y"),
    ]
    model = graph(nodes, {"x": ("n", 3, "m")}, a=np.array([axis]))
    assert optimized(model, n=2, m=5)[0] == ["Softmax"]
    nodes[4:] = [("Log", "s", "l"), ("Sub", "d l", "y")]
    assert optimized(graph(nodes, {"x": ("n", 3, "m")}, a=np.array([axis])))[0] == ["LogSoftmax"]


@pytest.mark.parametrize("opset", [13, 17, 18, 19, 20, 22])
def test_fusions_come_with_the_opset_that_has_their_operator(graph, optimized, opset):
    nodes = ERF + ROOTS[0]
    left, report = optimized(graph(nodes, X, opset=opset, **used(nodes)))
    assert ("Gelu" in left) == (opset >= 20)
    assert opset >= 20 or any("Gelu needs opset 20" in text for text in report.explanations)
    nodes = [*RELU6, ("Mul", "x r", "m"), ("Div", "m six", "y")]
    assert ("HardSwish" in optimized(graph(nodes, X, opset=opset, **used(nodes)))[0]) == (
        opset >= 14
    )
    nodes = [("Sigmoid", "x", "g"), ("Mul", "x g", "y")]
    assert optimized(graph(nodes, X, opset=opset))[0] == ["Sigmoid", "Mul"]


def test_swish_with_a_factor(graph, optimized):
    nodes = [("Mul", "k x", "b"), ("Sigmoid", "b", "g"), ("Mul", "g x", "y")]
    assert optimized(graph(nodes, X, k=F(1.702)))[0] == ["Swish"]
    left, report = optimized(graph(nodes, X, k=rand(6)))
    assert left == ["Mul", "Sigmoid", "Mul"]
    assert any("not a constant number" in text for text in report.explanations)


def test_a_pool_does_not_take_a_pad_as_wide_as_its_window(graph, optimized):
    wide = np.array([0, 0, 3, 3, 0, 0, 3, 3])
    nodes = [("Pad", "x p v", "a"), ("MaxPool", "a", "y", {"kernel_shape": [2, 2]})]
    left, report = optimized(graph(nodes, IMAGE, p=wide, v=F(-np.inf)))
    assert left == ["Pad", "MaxPool"]
    assert any("whole window" in text for text in report.explanations)


def test_inner_results_that_are_outputs_stay(graph, optimized):
    nodes = ERF + ROOTS[0]
    left, report = optimized(graph(nodes, X, "y e", **used(nodes)))
    assert "Gelu" not in left and len(left) == 5
    assert any("'e' is used elsewhere" in text for text in report.explanations)


def test_a_condition_spread_over_all_elements(graph, optimized):
    nodes = [
        ("Shape", "x", "shape"),
        ("Expand", "one shape", "all"),
        ("And", "all m", "c"),
        ("Where", "c x low", "y"),
    ]
    inputs = {"x": ("n", 3), "m": ((3,), np.bool_)}
    assert optimized(graph(nodes, inputs, one=np.True_, low=F(-9)))[0] == ["Where"]
    assert "And" in optimized(graph(nodes, inputs, one=np.False_, low=F(-9)))[0]
    # Here the condition makes the result larger.
    inputs = {"x": ("n", 3), "m": (("n", 3), np.bool_), "z": ("k", 1, 3)}
    nodes[0] = ("Shape", "z", "shape")
    assert "And" in optimized(graph(nodes, inputs, one=np.True_, low=F(-9)))[0]


CONSTANTS = {
    "Gelu": lambda x, c: (
        f"a = Div ({x}, r{c})  b = Erf (a)  d = Add (b, o{c})  e = Mul ({x}, d)  y = Mul (e, h{c})"
    ),
    "Swish": lambda x, c: f"a = Mul ({x}, t{c})  b = Sigmoid (a)  y = Mul ({x}, b)",
    "HardSigmoid": lambda x, c: f"a = Add ({x}, t{c})  b = Clip (a, zero, six)  y = Div (b, s{c})",
    "HardSwish": lambda x, c: (
        f"a = Add ({x}, t{c})  b = Clip (a, zero, six)  d = Mul ({x}, b)  y = Mul (d, s{c}r)"
    ),
}


@pytest.mark.parametrize("fused", CONSTANTS)
def test_constants_with_more_axes_than_the_input_keep_their_axes(fused):
    numbers = {"r": 2**0.5, "o": 1, "h": 0.5, "t": 3, "s": 6}
    for rank, axes in itertools.product(range(4), range(5)):
        shape, more = [2] * rank, [1] * axes
        text = CONSTANTS[fused]("x", axes)
        model = parser.parse_model(
            f'<ir_version: 10, opset_import: ["": 24]> g (float{shape or ""} x) => (float y)'
            f"{{ {text} }}"
        )
        for name, number in [*numbers.items(), ("sr", 1 / 6), ("zero", 0), ("six", 6)]:
            full = {"zero": "zero", "six": "six", "sr": f"s{axes}r"}.get(name, f"{name}{axes}")
            array = np.full([] if full == name else more, number, np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, full))
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        optimized = ir.to_proto(sardonyx.optimize(sardonyx.load(model)))
        want, have = (run(proto, {"x": x}) for proto in (model, optimized))
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
        operators = [node.op_type for node in optimized.graph.node]
        assert (operators == [fused]) == (axes <= rank), (rank, axes)


def run(model, feeds):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)[0]
