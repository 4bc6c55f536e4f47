"""A bad model is refused with an error that names the node, the tensor and the reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper, parser
from sardonyx import InvalidArgument, InvalidModel, UnsupportedModel

HEAD = '<ir_version: 9, opset_import: ["": 17]> '

BAD_TEXT = [
    ("g (float[2] x) => (float[2] y) { y = Add(x, gone) }",
     InvalidModel, r"input 1 of Add node producing 'y' is 'gone', which no node produces"),
    ("g (float[2] x) => (float[2] z) { y = Neg(x) }",
     InvalidModel, "output 'z' of graph 'g' is produced by no node"),
    ("g (float[2] x) => (float[2] y) { a = Add(x, c) b = Neg(a) c = Exp(b) y = Neg(c) }",
     InvalidModel, "cycle: (Add|Exp|Neg).* ← .* ← "),
    ("g (float[2] x) => (float[2] y) { y = Add(x, y) }", InvalidModel, "cycle: Add"),
    ("g (float[2] x) => (float[2] y) { y = Neg(x) y = Exp(x) }",
     InvalidModel, "Exp node producing 'y' produces 'y', a name that another value has"),
    ("g (float[2] x) => (float[2] x) { x = Neg(x) }",
     InvalidModel, "'x', a name that another value has"),
    ("g (float[2] x, float[2] x) => (float[2] y) { y = Neg(x) }", InvalidModel, "'x' is used for"),
    ("g (float[2] x) => (float[2] y) { y = Frobnicate(x) }",
     UnsupportedModel, "Frobnicate node producing 'y': opset 17 has no such operator"),
    ("g (float[2] x) => (float[2] y) { y = Gelu(x) }",
     UnsupportedModel, "Gelu.*opset 17 has no such operator; opset 20 introduced it"),
    ("g (float[2] x) => (float[2] y) { y = Upsample(x, x) }", UnsupportedModel, "deprecated"),
    ("g (float[2] x) => (float[2] y) { y = Add(x) }", InvalidModel, "1 inputs; .* says 2"),
    ("g (float[2] x) => (float[2] y) { y = Neg(x, x) }", InvalidModel, "2 inputs; .* says 1"),
    ("g (float[2] x) => (float[2] y) { y, z = Neg(x) }", InvalidModel, "2 outputs; .* says 1"),
    ("g (float[2] x) => (float[2] y) { y = Neg <beta = 1> (x) }",
     InvalidModel, "Neg.*has no attribute 'beta'"),
    ("g (float[2] x) => (float[2] y) { y = Elu <alpha = 1> (x) }",
     InvalidModel, "'alpha' of Elu.* is a INT; opset 17 says FLOAT"),
    ("g (float[2] x) => (float[2] y) { y = Concat(x, x) }", InvalidModel, "lacks .*'axis'"),
    ("g (float[2] x, int32[2] z) => (float[2] y) { y = Add(x, z) }",
     InvalidModel, "Add.*inconsistent type"),
    ("g (int64[2] x) => (int64[2] y) { y = Sqrt(x) }", InvalidModel, "Sqrt.*unsupported type"),
    ("g (float[2] x, float[3] z) => (float[2] y) { y = Add(x, z) }",
     InvalidModel, "Add.*Incompatible dimensions"),
    ("g (float[2] x) => (int32[2] y) { y = Neg(x) }", InvalidModel, "Neg.*elem type differs"),
    ("g (float[3] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Neg(w) }",
     InvalidModel, r"initializer 'w' has the shape \[2\], but is declared \[3\]"),
    ("g (int32[2] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Neg(w) }",
     InvalidModel, "initializer 'w' holds FLOAT, but is declared INT32"),
    ("g (float[2,3,4,5] x) => (y) { y = MeanVarianceNormalization <axes = [7]> (x) }",
     InvalidModel, "MeanVarianceNormalization node producing 'y': in its body, ReduceMean: "),
    ("g (float[4,2] x) => (float[2] y) { y = Softmax <axis = 2> (x) }",
     InvalidModel, r"Softmax node producing 'y': 'axis' must be in \[-2 , 1\]"),
    ("g (float[4,2] x) => (float[2] y) { y = Transpose <perm = [0, 0]> (x) }",
     InvalidModel, "Transpose node producing 'y': .*perm.* repeated value"),
    ("g (float[4,2] x, int64[1,1] i) => (y) { y = GatherND <batch_dims = -4> (x, i) }",
     InvalidModel, "GatherND node producing 'y': attribute 'batch_dims' is -4"),
    ("g (bool c, float[2] x) => (float[2] y) { y = If (c) <then_branch = t () => (float[2] a) "
     "{ a = Neg(lost) }, else_branch = e () => (float[2] b) { b = Neg(x) }> }",
     InvalidModel, "'lost', which no node produces"),
    ("g (bool c, float[2] x) => (float[2] y) { r = Exp(x) y = If (c) <then_branch = t () => "
     "(float[2] r) { }, else_branch = e () => (float[2] b) { b = Neg(x) }> }",
     InvalidModel, "output 'r' of graph 't' is produced by no node; .* needs an Identity"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_TEXT, ids=lambda case: case[2][:40])
def test_a_bad_graph_is_named(case):
    text, kind, message = case
    with pytest.raises(kind, match=message):
        sardonyx.load(parser.parse_model(HEAD + text))


def test_a_split_into_more_than_it_says_is_named():
    """onnx's own inference would end the process."""
    text = "g (float[6] x) => (float[3] y, z) { y, z = Split <num_outputs = 1> (x) }"
    with pytest.raises(InvalidModel, match="'num_outputs' is 1, expected 2"):
        sardonyx.load(parser.parse_model(HEAD.replace("17", "18") + text))


@pytest.mark.parametrize("declared", ["float[3] y", "float[2,1] y", "float[2] y"])
def test_declared_shapes_that_contradict_the_nodes_are_not_believed(declared):
    body = "<float[4] a> { a = Neg(x) s = Shape(a) y = Neg(a) }"
    text = f"g (float[2] x) => ({declared}, int64[1] s) {body}"
    session = sardonyx.Session(parser.parse_model(HEAD + text), threads=1)
    y, shape = session.run(None, {"x": np.ones(2, np.float32)})
    assert y.tolist() == [1, 1] and shape.tolist() == [2]
    assert session.get_outputs()[0].shape == [2]


def small_model() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, 1, [2, 4]) for name in "xy")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node("Clip", ["a", "", "top"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"], axis=1),
    ]
    weights = np.arange(400, dtype=np.float32).reshape(4, 100) / 400
    graph = helper.make_graph(
        [*nodes[:1], helper.make_node("Slice", ["a", "0", "4", "1"], ["c"]), *nodes[1:]],
        "g",
        [x],
        [y],
        [
            onnx.numpy_helper.from_array(weights, "w"),
            helper.make_tensor("top", 1, [], [0.5]),
            *(helper.make_tensor(v, TensorProto.INT64, [1], [int(v)]) for v in "041"),
        ],
    )
    graph.node[2].input[0] = "c"
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


def tensor_error(change) -> str:
    model = small_model()
    change(model.graph.initializer)
    with pytest.raises(InvalidModel) as error:
        sardonyx.load(model)
    return str(error.value)


def test_wrong_tensors_are_named():
    def shorter(tensors):
        tensors[0].raw_data = tensors[0].raw_data[:-4]

    def fewer(tensors):
        tensors[2].int64_data.append(1)

    def negative(tensors):
        tensors[1].dims.append(-1)

    def typeless(tensors):
        tensors[1].data_type = 99

    def twice(tensors):
        tensors[1].name = "w"

    assert "'w' is declared FLOAT[4, 100], which takes 1600 bytes, but 1596" in tensor_error(
        shorter
    )
    assert "'0' is declared INT64[1], which takes 1 values, but holds 2" in tensor_error(fewer)
    assert "'top' has a negative dimension" in tensor_error(negative)
    assert "'top' has the unknown element type 99" in tensor_error(typeless)
    assert "'w' is used for more than one initializer" in tensor_error(twice)


def test_an_unknown_attribute_type_is_named():
    model = small_model()
    model.graph.node[-1].attribute[0].ClearField("type")
    with pytest.raises(InvalidModel, match=r"'axis' of Softmax.* has the unknown type 0"):
        sardonyx.load(model)


def test_a_future_opset_is_named():
    model = small_model()
    model.opset_import[0].version = 1000
    with pytest.raises(UnsupportedModel, match=r"uses opset 1000; .* knows opsets up to"):
        sardonyx.load(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x08", "truncated or damaged"),
        (b"#!/bin/sh\necho hello\n", "ONNX model|damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "ONNX model|damaged"),
        (b"PK\x03\x04" + bytes(100), "ONNX model|damaged"),
        (bytes(1000), "ONNX model|damaged"),
        (b"\x08\x09", "holds no graph"),
        (b"\x3a\x00", "no IR version"),
    ],
)
def test_what_is_no_model_is_refused_as_bytes_and_as_file(data, message, tmp_path):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InvalidModel, match=message):
        sardonyx.load(data)
    with pytest.raises(InvalidModel, match=f"m.onnx: .*({message})"):
        sardonyx.load(tmp_path / "m.onnx")


def test_paths_that_hold_no_model(tmp_path):
    with pytest.raises(InvalidArgument, match="no file"):
        sardonyx.load(tmp_path / "gone.onnx")
    with pytest.raises(InvalidArgument, match="no SavedModel"):
        sardonyx.load(tmp_path)
    with pytest.raises(InvalidArgument, match=r"no importer takes a builtins\.float"):
        sardonyx.load(1.5)


def test_graphs_nested_without_end_are_refused():
    graph = helper.make_graph([], "deep", [], [])
    data = graph.SerializeToString()
    for _ in range(300):  # attribute g of a node of a graph, wrapped by hand: protobuf refuses
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(data), bytearray()
            while size >= 128:
                length.append(size & 127 | 128)
                size >>= 7
            data = key + bytes([*length, size]) + data
    model = helper.make_model(graph)
    model.ClearField("graph")
    size, length = len(data), bytearray()
    while size >= 128:
        length.append(size & 127 | 128)
        size >>= 7
    with pytest.raises(InvalidModel):
        sardonyx.load(model.SerializeToString() + b"\x3a" + bytes([*length, size]) + data)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_bytes_load_or_are_refused(seed):
    """Whatever is done to the bytes, the outcome is a model or an error of ours."""
    original = small_model().SerializeToString()
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(50):
        data = bytearray(original)
        # Mostly near the start and end, where the structure is; the weights lie between.
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place if rng.random() < 0.3 else (place % 700) - 350] = rng.integers(256)
        if rng.random() < 0.1:
            del data[rng.integers(len(data)) :]
        try:
            sardonyx.load(bytes(data))
        except sardonyx.SardonyxError as error:
            refused += 1
            assert str(error)
    assert refused > 10
