"""Inputs that do not fit are refused by an error that names node and operator.

Whether sizes are open or known, whether a kernel or the host computes: never a crash, a hang or a
wrong value.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx.parser
import pytest
import sardonyx
from onnx import helper
from sardonyx import InvalidModel, KernelError, SardonyxError

HEAD = '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 5]> '
X = np.ones((2, 3), np.float32)
SEQUENCES = np.ones((2, 1, 3), np.float32)
WEIGHTS = {"w": np.ones((1, 8, 3), np.float32), "r": np.ones((1, 8, 2), np.float32)}
OPEN_WEIGHTS = {"v": WEIGHTS["w"], "q": WEIGHTS["r"]}


def whole(*values: Any) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 and np.ndim(values[0]) == 0 else values)


INDICES = [
    ("Gather", "y = Gather(x, i)", {"x": X, "i": whole(0, 5)}),
    ("Gather", "y = Gather(x, i)", {"x": X, "i": np.array([-3], np.int32)}),
    ("GatherElements", "y = GatherElements(x, i)", {"x": X, "i": np.full((2, 3), 2)}),
    ("GatherND", "y = GatherND(x, i)", {"x": X, "i": whole([0], [-7])}),
    ("ScatterElements", "y = ScatterElements(x, i, x)", {"x": X, "i": np.full((2, 3), 9)}),
    ("ScatterND", "y = ScatterND(x, i, u)", {"x": X, "i": whole([4], [0]), "u": X}),
    ("ArrayFeatureExtractor", "y = ai.onnx.ml.ArrayFeatureExtractor(x, i)",
     {"x": X, "i": whole(0, 3)}),
    ("SequenceAt", "s = SequenceConstruct(x, x) y = SequenceAt(s, i)", {"x": X, "i": whole(2)}),
    ("SequenceInsert", "s = SequenceConstruct(x, x) y = SequenceInsert(s, x, i)",
     {"x": X, "i": whole(-3)}),
]  # fmt: skip
SIZES = [
    ("Reshape", "y = Reshape(x, i)", {"x": X, "i": whole(4, 5)}),
    ("Reshape", "y = Reshape(x, i)", {"x": X, "i": whole(-1, 4)}),
    ("Reshape", "i = Constant<value_ints = [4, 5]>() y = Reshape(x, i)", {"x": X}),
    ("Expand", "y = Expand(x, i)", {"x": X, "i": whole(3, 5)}),
    ("Tile", "y = Tile(x, i)", {"x": X, "i": whole(-3, 5)}),
    ("TopK", "y, z = TopK(x, i)", {"x": X, "i": whole(30).reshape(1)}),
    ("OneHot", "v = Constant<value_floats = [0.0, 1.0]>() y = OneHot(x, d, v)",
     {"x": whole(1, 9), "d": whole(-3)}),
    ("Split", "y, z = Split(x, i)", {"x": X, "i": whole(3, 5)}),
    ("Split", "p, q = Split(x, i) y = Exp(q)", {"x": X, "i": whole(-1, 3)}),
    ("ConstantOfShape", "y = ConstantOfShape(i)", {"i": whole(2, -3)}),
    ("Squeeze", "y = Squeeze(x, i)", {"x": X, "i": whole(1).reshape(1)}),
    ("ReverseSequence", "y = ReverseSequence(x, i)", {"x": X, "i": whole(1, 2, 7)}),
    ("MatMul", "y = MatMul(x, z)", {"x": X, "z": np.ones((4, 2), np.float32)}),
    ("Concat", "y = Concat<axis = 0>(x, z)", {"x": X, "z": np.ones((2, 4), np.float32)}),
    ("Add", "y = Add(x, z)", {"x": X, "z": np.ones((4, 1, 2), np.float32)}),
    ("LSTM", "y = LSTM<hidden_size = 2>(x, w, r, , , h)",
     {"x": SEQUENCES, **WEIGHTS, "h": np.ones((1, 1, 5), np.float32)}),
    ("LSTM", "y = LSTM<hidden_size = 2>(x, w, r, , n)",
     {"x": SEQUENCES, **WEIGHTS, "n": np.array([9], np.int32)}),
    ("LSTM", "y = LSTM<hidden_size = 2>(x, v, q, , n)",
     {"x": SEQUENCES, **OPEN_WEIGHTS, "n": np.array([2, 2], np.int32)}),
    ("LSTM", "y = LSTM<hidden_size = 2>(x, v, q, , , h, c)",
     {"x": SEQUENCES, **OPEN_WEIGHTS, "h": np.ones((1, 1, 2), np.float32),
      "c": np.ones((2, 1, 2), np.float32)}),
    ("Scan", "y = Scan<num_scan_inputs = 1, body = b(float[N] s, float[M] v) => (float[K] w) "
     "{ w = Concat<axis = 0>(s, v) }>(z, x)", {"x": X, "z": X[0]}),
    ("Loop", "y = Loop(n, , x)<body = b(int64 i, bool d, float[N, 3] v) => (bool e, float[N, 3] w) "
     "{ e = Identity(d) w = Add(v, z) }>",
     {"x": X, "z": np.ones((3, 3), np.float32), "n": whole(3)}),
]  # fmt: skip
DIVISIONS = [
    (op, f"y = {op}(x, z)", {"x": np.ones(3, kind), "z": np.array([1, 0, 1], kind)})
    for op in ("Div", "Mod")
    for kind in ("int8", "uint8", "int32", "int64")
]


def model_of(body: str, feeds: dict[str, np.ndarray], is_open: bool) -> Any:
    """Declare the inputs, with a name of its own for each axis or with their sizes.

    Weights always have sizes: recurrent layers have a kernel then.
    """

    def declared(name: str, array: np.ndarray) -> str:
        has_names = is_open and name not in WEIGHTS
        dims = [f"{name}{axis}" if has_names else str(n) for axis, n in enumerate(array.shape)]
        kind = {"float32": "float"}.get(str(array.dtype), str(array.dtype))
        return f"{kind}[{','.join(dims)}] {name}" if dims else f"{kind} {name}"

    inputs = ", ".join(declared(name, array) for name, array in feeds.items())
    return onnx.parser.parse_model(f"{HEAD} g ({inputs}) => (y) {{ {body} }}")


def message_of(model: Any, feeds: dict[str, np.ndarray], **options: Any) -> str:
    with pytest.raises(SardonyxError) as error:
        sardonyx.Session(model, threads=1, **options).run(None, feeds)
    return str(error.value)


def names_node(message: str, op: str) -> bool:
    """Tell whether a message names the node, and no node twice."""
    nodes = re.findall(r"node '[^']*' \(\w+\)", message)
    is_named = f"{op} node producing" in message or any(f"({op})" in node for node in nodes)
    return is_named and len(set(nodes)) == len(nodes)


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "known"])
@pytest.mark.parametrize("case", [*INDICES, *SIZES, *DIVISIONS], ids=lambda case: case[0])
def test_what_is_out_of_range_is_named(case, is_open):
    op, body, feeds = case
    message = message_of(model_of(body, feeds, is_open), feeds)
    assert names_node(message, op), message


def test_zero_is_no_divisor_in_any_type():
    for op, body, feeds in DIVISIONS:
        message = message_of(model_of(body, feeds, True), feeds)
        assert op in message and "integer division by zero" in message


ENDLESS = (
    "y = Loop(, , x)<body = b(int64 i, bool d, float[N, 3] v) => (bool e, float[N, 3] w) "
    "{ e = Identity(d) w = Add(v, v) }>"
)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_loop_without_end_ends(is_open):
    model = model_of(ENDLESS, {"x": X}, is_open)
    model.graph.node[0].name = "endless"
    message = message_of(model, {"x": X}, max_iterations=1000)
    assert "'endless' (Loop" in message and "max_iterations" in message


def test_branches_of_different_types_are_refused():
    body = (
        "y = If(c)<then_branch = t() => (float[N, 3] p) { p = Neg(x) }, "
        "else_branch = e() => (double[N, 3] q) { q = Cast<to = 11>(x) }>"
    )
    feeds = {"x": X, "c": np.array(True)}
    with pytest.raises(InvalidModel, match=r"If node producing 'y'.*type"):
        sardonyx.Session(model_of(body, feeds, True))


def test_a_state_of_another_shape_is_refused():
    """The state of a loop may not change its number of axes, nor that of a session its sizes."""
    text = "g (float[N, 3] x, float[3] past_0) => (y, float[3] present_0) "
    model = onnx.parser.parse_model(
        f"{HEAD} {text} {{ y = Add(x, past_0) present_0 = Neg(past_0) }}"
    )
    steps = sardonyx.Session(model).stateful({"present_0": "past_0"})
    with pytest.raises(SardonyxError, match="past_0"):
        steps.run(None, {"x": X, "past_0": np.ones(5, np.float32)})


def test_a_tree_whose_child_is_its_parent_is_refused():
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], "forest", domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0], target_treeids=[0],
        target_nodeids=[2], target_ids=[0], target_weights=[1.0],
    )  # fmt: skip
    x, y = (helper.make_tensor_value_info(name, 1, [None, n]) for name, n in (("x", 3), ("y", 1)))
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "trees", [x], [y])
    with pytest.raises(InvalidModel, match=r"node 'forest' \(TreeEnsembleRegressor\).*circle"):
        sardonyx.Session(helper.make_model(graph, opset_imports=imports, ir_version=10))


def test_operators_made_of_others_are_named():
    feeds = {"x": X, "t": whole(0, 9)}
    model = model_of("y = NegativeLogLikelihoodLoss(x, t)", feeds, True)
    model.graph.node[0].name = "loss"
    assert "'loss.GatherElements_" in message_of(model, feeds)
    model.graph.node[0].name = ""
    assert "NegativeLogLikelihoodLoss" in message_of(model, feeds)


def test_errors_of_kernels_name_what_they_compute():
    model = model_of("y = Gather(x, i)", {"x": X, "i": whole(0, 5)}, True)
    with pytest.raises(KernelError, match=r"\(Gather\), computing 'y': index 5 out of range"):
        sardonyx.Session(model).run(None, {"x": X, "i": whole(0, 5)})
