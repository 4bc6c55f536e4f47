"""Each change of an operator's meaning between opsets has an adapter, and keeps the numbers."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper, numpy_helper, parser
from sardonyx import InvalidModel, UnsupportedModel
from sardonyx.importers.onnx.adapters import ADAPTERS
from sardonyx.importers.onnx.downgrade import REVERTS, downgrade
from sardonyx.importers.onnx.opset import CANONICAL_OPSET, OPSET_NOTE

# Steps whose schema differs, while every node of the old opset means the same in the new one:
# attributes with a default that says what was done before, inputs that became optional, new types.
COMPATIBLE = {
    "ArgMax": {12}, "ArgMin": {12}, "Attention": {24}, "AveragePool": {7, 10, 19}, "Cast": {19, 24},
    "CastLike": {19, 24}, "Constant": {11, 12}, "DepthToSpace": {11}, "Gemm": {11},
    "DequantizeLinear": {13, 21, 23}, "GRU": {3, 14}, "GatherND": {12}, "LSTM": {14}, "Loop": {11},
    "LpPool": {18}, "MaxPool": {8, 10}, "OptionalHasElement": {18}, "Pad": {18}, "RNN": {14},
    "QuantizeLinear": {13, 19, 21}, "Reshape": {14}, "Resize": {18}, "ScatterElements": {16},
    "ScatterND": {16}, "Shape": {15}, "TopK": {11},
}  # fmt: skip


def differs(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    if new.deprecated or (old.min_input, old.max_input) != (new.min_input, new.max_input):
        return True
    a, b = old.attributes, new.attributes
    return a.keys() != b.keys() or any(
        a[name].type != b[name].type or a[name].default_value != b[name].default_value for name in a
    )


def test_every_change_of_a_schema_has_an_adapter_or_is_known_to_be_compatible():
    history: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= CANONICAL_OPSET:
            history.setdefault(schema.name, []).append(schema)
    missing = []
    for name, schemas in history.items():
        schemas.sort(key=lambda schema: schema.since_version)
        for old, new in itertools.pairwise(schemas):
            version = new.since_version
            known = (version, name) in ADAPTERS or version in COMPATIBLE.get(name, ())
            if differs(old, new) and not known:
                missing.append((version, name))
    assert not missing


def ort_run(model, feeds):
    if isinstance(model, ir.Model):
        model = ir.to_proto(model)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def one_node(opset, op_type, inputs, constants=None, outputs=1, out_type=1, **attributes):
    """Make a model of one node; `inputs` are fed, `constants` are initializers."""
    names = [*inputs, *(constants or {})]
    node = helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], "n", **attributes)
    values = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, out_type, None) for name in node.output]
    tensors = [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()]
    graph = helper.make_graph([node], "g", values, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


R = np.random.default_rng(0)
X = R.random((2, 3, 4, 5), np.float32) - 0.5
C = R.random(3, np.float32) + 0.5
D = C.reshape(3, 1, 1)
NOTHING = [0]


def group_normalization():
    x = X.reshape(2, 2, 30)
    y = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 0.01)
    return (y * C[:2, None] + C[:2, None]).reshape(2, 6, 10)


# opset, operator, inputs, constants, attributes, expected
OLD = [
    (1, "Add", {"a": X, "b": C}, {}, {"broadcast": 1, "axis": 1}, X + D),
    (6, "Mul", {"a": X, "b": C}, {}, {"broadcast": 1, "axis": -3}, X * D),
    (6, "Sub", {"a": X, "b": X[0, 0]}, {}, {"broadcast": 1}, X - X[0, 0]),
    (1, "Div", {"a": X, "b": X + 2}, {}, {"consumed_inputs": NOTHING}, X / (X + 2)),
    (1, "Relu", {"a": X}, {}, {"consumed_inputs": NOTHING}, np.maximum(X, 0)),
    (1, "Selu", {"a": np.abs(X)}, {}, {}, 1.0507 * np.abs(X)),
    (1, "Cast", {"a": 9 * X}, {}, {"to": "INT32"}, (9 * X).astype(np.int32)),
    (1, "Concat", {"a": X, "b": X}, {}, {}, np.concatenate([X, X], 1)),
    (1, "Reshape", {"a": X}, {}, {"shape": [0, -1]}, X.reshape(2, 60)),
    (1, "Clip", {"a": X}, {}, {"min": -0.1, "max": 0.2}, X.clip(-0.1, 0.2)),
    (6, "Clip", {"a": X}, {}, {"max": 0.2}, np.minimum(X, 0.2)),
    (1, "Clip", {"a": X.astype(np.float64)}, {}, {"min": 0.0}, np.maximum(X, 0).astype(float)),
    (1, "Pad", {"a": X}, {}, {"paddings": [0, 0, 1, 0, 0, 0, 0, 2], "value": 3.0},
     np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=3)),
    (2, "Pad", {"a": X}, {}, {"pads": [0, 0, 1, 0, 0, 0, 0, 2], "mode": "reflect"},
     np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 2)), mode="reflect")),
    (1, "Split", {"a": X}, {"s": np.array([1, 2], np.float32)}, {"axis": 1}, [X[:, :1], X[:, 1:]]),
    (2, "Split", {"a": X}, {}, {"axis": 2, "split": [1, 3]}, [X[:, :, :1], X[:, :, 1:]]),
    (11, "Split", {"a": X}, {}, {"axis": -2}, [X[:, :, :2], X[:, :, 2:]]),
    (1, "Tile", {"a": X}, {"t": np.array([2], np.float32), "x": np.array([1], np.float32)}, {},
     np.tile(X, (1, 2, 1, 1))),
    (1, "Slice", {"a": X}, {}, {"starts": [1, -3], "ends": [9, -1], "axes": [1, 3]},
     X[:, 1:, :, -3:-1]),
    (1, "Slice", {"a": X}, {}, {"starts": [1], "ends": [2]}, X[1:2]),
    (1, "Squeeze", {"a": X[:1]}, {}, {"axes": [0]}, X[0]),
    (11, "Squeeze", {"a": X[:1]}, {}, {}, X[0]),
    (1, "Unsqueeze", {"a": X}, {}, {"axes": [0, 5]}, X[None, ..., None]),
    (1, "PRelu", {"a": X}, {"s": C}, {}, np.where(X > 0, X, X * D)),
    (6, "PRelu", {"a": X}, {"s": C[:1]}, {}, np.where(X > 0, X, X * C[0])),
    (6, "Gemm", {"a": X[0, 0], "b": X[0, 1].T, "c": C[:1]}, {}, {"broadcast": 1},
     X[0, 0] @ X[0, 1].T + C[0]),
    (1, "LpPool", {"a": X}, {}, {"p": 2.0, "kernel_shape": [4, 5]},
     np.sqrt((X**2).sum((2, 3), keepdims=True))),
    (1, "ReduceSum", {"a": X}, {}, {"axes": [1, 3], "keepdims": 0}, X.sum((1, 3))),
    (11, "ReduceMean", {"a": X}, {}, {}, X.mean(keepdims=True)),
    (13, "ReduceMax", {"a": X}, {}, {"axes": [-1]}, X.max(-1, keepdims=True)),
    (1, "Dropout", {"a": X}, {}, {"is_test": 1, "ratio": 0.3}, X),
    (6, "Dropout", {"a": X}, {}, {}, X),
    (7, "Dropout", {"a": X}, {}, {"ratio": 0.9}, X),
    (1, "Upsample", {"a": X}, {}, {"height_scale": 2.0, "width_scale": 3.0},
     X.repeat(2, 2).repeat(3, 3)),
    (7, "Upsample", {"a": X}, {}, {"scales": [1.0, 1.0, 2.0, 1.0]}, X.repeat(2, 2)),
    (10, "Resize", {"a": X}, {"s": np.array([1, 1, 0.5, 1], np.float32)}, {}, X[:, :, ::2]),
    (11, "Softmax", {"a": X[0]}, {}, {}, None),
    (11, "LogSoftmax", {"a": X}, {}, {"axis": 2}, None),
    (11, "Hardmax", {"a": X}, {}, {"axis": 0}, None),
    (9, "Softmax", {"a": X}, {}, {"axis": 3}, None),
    (9, "TopK", {"a": X}, {}, {"k": 2}, None),
    (9, "Scatter", {"a": X[0, 0], "i": np.array([[1, 0]]), "u": X[0, 1, :1, :2]}, {}, {}, None),
    (10, "RoiAlign", {"a": X, "r": np.array([[0, 0, 2, 2]], np.float32), "b": np.array([1])}, {},
     {"output_height": 2, "output_width": 2}, None),
    (16, "GridSample", {"a": X, "g": X[:, 0, :, :2].reshape(2, 2, 2, 2) * 2}, {},
     {"mode": "bicubic"}, None),
    (17, "DFT", {"a": X[..., None]}, {}, {"axis": 2}, None),
    (18, "GroupNormalization", {"a": X.reshape(2, 6, 10), "s": C[:2], "b": C[:2]}, {},
     {"num_groups": 2, "epsilon": 0.01}, group_normalization()),
    (9, "BatchNormalization", {"a": X}, {"s": C, "b": C, "m": C, "v": C}, {"epsilon": 0.01}, None),
    (7, "Upsample", {"a": X}, {}, {"mode": "linear", "scales": [1.0, 1.0, 2.0, 2.0]}, None),
]  # fmt: skip


@pytest.mark.parametrize("case", OLD, ids=lambda case: f"{case[1]}-{case[0]}")
def test_an_old_operator_computes_the_same_at_the_canonical_opset(case):
    opset, op_type, inputs, constants, attributes, expected = case
    several = isinstance(expected, list)
    outputs = 2 if several or op_type == "TopK" else 1
    model = one_node(opset, op_type, inputs, constants, outputs, **attributes)
    if op_type == "TopK":
        model.graph.output[1].type.tensor_type.elem_type = 7
    if op_type == "Cast":
        model.graph.output[0].type.tensor_type.elem_type = 6
    for output in model.graph.output:
        if next(iter(inputs.values())).dtype == np.float64:
            output.type.tensor_type.elem_type = 11
    wanted = (
        (expected if several else [expected]) if expected is not None else ort_run(model, inputs)
    )
    loaded = sardonyx.load(model)
    assert loaded.graph.opset_imports[""] == (21 if op_type == "RoiAlign" else CANONICAL_OPSET)
    for have, want in zip(ort_run(loaded, inputs), wanted, strict=True):
        assert have.dtype == want.dtype
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [1, 6])
def test_an_old_batch_normalization_infers(opset):
    attributes = {"is_test": 1, "epsilon": 0.01}
    if opset == 1:
        attributes["consumed_inputs"] = [0, 0, 0, 1, 1]
    model = one_node(
        opset,
        "BatchNormalization",
        {"a": X},
        {"s": C, "b": C, "m": C * 2, "v": C * 3},
        **attributes,
    )
    want = (X - 2 * D) / np.sqrt(3 * D + 0.01) * D + D
    (have,) = ort_run(sardonyx.load(model), {"a": X})
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


def test_quotients_of_halves_were_float32_before_opset_23():
    """Which an attribute says since then; the way back is open where quotients still are."""
    x = (R.standard_normal(2000) * 40).astype(np.float16)
    halves = {"s": np.array(0.377, np.float16), "z": np.array(0, np.uint8)}
    model = one_node(21, "QuantizeLinear", {"x": x}, halves, out_type=2)
    loaded = sardonyx.load(model)
    for version in (loaded, downgrade(loaded, 22)):
        np.testing.assert_array_equal(ort_run(version, {"x": x}), ort_run(model, {"x": x}))
    rounding = sardonyx.load(one_node(24, "QuantizeLinear", {"x": x}, halves, out_type=2))
    with pytest.raises(UnsupportedModel, match=r"QuantizeLinear node 'n' .*float32"):
        downgrade(rounding, 22)
    plain = one_node(21, "QuantizeLinear", {"x": x.astype(np.float32)}, {"s": C[0]}, out_type=2)
    assert not sardonyx.load(plain).graph[-1].attributes


def test_what_cannot_be_expressed_keeps_its_opset():
    loaded = sardonyx.load(one_node(1, "GlobalLpPool", {"a": X}, p=1.5))
    assert loaded.graph.opset_imports[""] == 1
    assert loaded.graph[-1].attributes.keys() == {"p"}
    assert "whole number" in loaded.metadata_props[OPSET_NOTE]


@pytest.mark.parametrize(
    ("opset", "op_type", "constants", "attributes"),
    [
        (11, "Softmax", {}, {"axis": 4}),
        (1, "Hardmax", {}, {"axis": -5}),
        (1, "Tile", {"t": np.inf, "x": 1}, {}),
        (1, "Tile", {"t": -1, "x": 1}, {}),
        (1, "Tile", {"t": 2, "x": 4}, {}),
    ],
)
def test_what_no_version_allows_is_refused(opset, op_type, constants, attributes):
    weights = {name: np.array([value], np.float32) for name, value in constants.items()}
    with pytest.raises(InvalidModel, match=rf"node 'n' \({op_type}\)|{op_type} node n:"):
        sardonyx.load(one_node(opset, op_type, {"a": X}, weights, **attributes))


def test_new_nodes_are_named_after_the_old_one():
    loaded = sardonyx.load(one_node(11, "Softmax", {"a": X}, axis=1))
    names = [node.name for node in loaded.graph]
    assert names[-1] == "n"
    assert all(name.startswith("n/Softmax/") for name in names[:-1])


def test_new_values_have_names_of_their_own():
    """Whatever names a model uses, also those that an earlier upgrade gave."""
    model = one_node(11, "Softmax", {"a": X}, axis=1)
    names = [v.name for node in sardonyx.load(model).graph for v in node.outputs]
    assert len(names) > 2
    for name in names[:-1]:
        other = onnx.ModelProto()
        other.CopyFrom(model)
        other.graph.node.add(op_type="Neg", input=["a"], output=[name])
        other.graph.output.add(name=name)
        loaded = sardonyx.load(other)
        found = [v.name for node in loaded.graph for v in node.outputs]
        assert len(set(found)) == len(found) == len(names) + 1
        np.testing.assert_array_equal(ort_run(loaded, {"a": X})[1], -X)


def test_graphs_inside_nodes_are_upgraded():
    model = parser.parse_model("""
        <ir_version: 7, opset_import: ["": 11]>
        g (bool c, float[1,3] x) => (float[3] y) {
          y = If (c) <
            then_branch = t () => (float[3] a) { a = Squeeze <axes = [0]> (x) },
            else_branch = e () => (float[3] b) { d = Neg (x)  b = Squeeze <axes = [0]> (d) }>
        }
    """)
    x = R.random((1, 3), np.float32)
    loaded = sardonyx.load(model)
    for choice, want in ((True, x[0]), (False, -x[0])):
        np.testing.assert_array_equal(ort_run(loaded, {"c": np.array(choice), "x": x})[0], want)


def test_a_newer_opset_is_kept_with_a_note():
    newest = onnx.defs.onnx_opset_version()
    if newest <= CANONICAL_OPSET:
        pytest.skip("the installed onnx knows nothing newer")
    loaded = sardonyx.load(one_node(newest, "Relu", {"a": X}))
    assert loaded.graph.opset_imports[""] == newest
    assert "newer" in loaded.metadata_props[OPSET_NOTE]


def test_reverts_undo_adapters():
    assert REVERTS.keys() <= ADAPTERS.keys()


@pytest.mark.parametrize("name", ["Hardmax", "LogSoftmax", "Softmax"])
def test_old_softmaxes_of_nothing_keep_their_shape(name):
    text = (
        f'<ir_version: 8, opset_import: ["": 11]> g (float[2, 3, 0] x) => (y) {{ y = {name}(x) }}'
    )
    session = sardonyx.Session(onnx.parser.parse_model(text))
    assert session.run(None, {"x": np.zeros((2, 3, 0), np.float32)})[0].shape == (2, 3, 0)
