"""Types of inputs and outputs that are no plain tensors: strings, sequences, optionals, maps."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto

FLOAT = np.float32
ML = "ai.onnx.ml"
TENSOR = oh.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
QUERY = oh.make_tensor_type_proto(TensorProto.FLOAT, ["k"])


def of_type(name, kind):
    value = onnx.ValueInfoProto(name=name)
    value.type.CopyFrom(kind)
    return value


def tensor(kind, shape=("n",)):
    return oh.make_tensor_type_proto(kind, shape)


def mapping(key, value=TensorProto.FLOAT):
    return oh.make_map_type_proto(key, oh.make_tensor_type_proto(value, None))


def made(nodes, inputs, outputs, initializers=(), ml=2):
    outputs = [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    graph = oh.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [oh.make_opsetid("", 21), oh.make_opsetid(ML, ml)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def assert_same(a, b):
    if isinstance(b, list | dict):
        assert type(a) is type(b) and len(a) == len(b)
        pairs = [(a[k], b[k]) for k in b] if isinstance(b, dict) else zip(a, b, strict=True)
        for x, y in pairs:
            assert_same(x, y)
    elif isinstance(b, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def ports(session):
    return [
        [(port.name, port.type) for port in found]
        for found in (session.get_inputs(), session.get_outputs())
    ]


def ml(op_type, given="x", result="y", **attributes):
    return oh.make_node(op_type, [given], [result], domain=ML, **attributes)


WORDS = {"keys_strings": ["a", "ü"], "keys_int64s": [1, 5], "keys_floats": [1.0, 2.5]}
WORDS |= {f"values_{name[5:]}": words for name, words in WORDS.items()}
KINDS = {"strings": TensorProto.STRING, "int64s": TensorProto.INT64, "floats": TensorProto.FLOAT}
GIVEN = {
    "strings": np.array(["ü", "none", "a"], object),
    "int64s": np.array([5, 7, 1]),
    "floats": np.array([2.5, 7, 1], FLOAT),
}
SCORES = np.array([[0.1, 0.9], [0.75, 0.25]], FLOAT)
MAPS = [{"b": 2.0, "a": 1.0}, {"a": 3.0}, {"c": 1.0}]


def cases():
    rows = tensor(TensorProto.FLOAT, ["n", 2])
    for labels in ({"classlabels_strings": ["u", "ü"]}, {"classlabels_int64s": [3, -1]}):
        yield ml("ZipMap", **labels), rows, [SCORES, SCORES[:0]]
    names = {"cats_strings": ["a", "ü"], "cats_int64s": [5, 7]}
    for kind in ("strings", "int64s"):
        yield ml("CategoryMapper", **names), tensor(KINDS[kind]), [GIVEN[kind]]
    vocabulary = {"string_vocabulary": ["a", "b"]}
    yield ml("DictVectorizer", **vocabulary), mapping(TensorProto.STRING), MAPS
    numbers = [{3: 1.5, 1: 2.0}, {5: 1.0}]
    yield ml("DictVectorizer", int64_vocabulary=[1, 3]), mapping(TensorProto.INT64), numbers
    for to in ("TO_FLOAT", "TO_INT64", "TO_STRING"):
        for form in ({"map_form": "DENSE"}, {"map_form": "SPARSE", "max_map": 5}):
            yield ml("CastMap", cast_to=to, **form), mapping(TensorProto.INT64), numbers[:1]
    pairs = ["strings int64s", "int64s strings", "strings strings", "strings floats"]
    pairs += ["floats strings", "int64s floats"]
    for key, value in map(str.split, pairs):
        attributes = {name: WORDS[name] for name in (f"keys_{key}", f"values_{value}")}
        yield ml("LabelEncoder", **attributes), tensor(KINDS[key]), [GIVEN[key]]


@pytest.mark.parametrize(
    ("node", "kind", "feeds"), list(cases()), ids=lambda item: getattr(item, "op_type", "")
)
def test_labels_and_maps(node, kind, feeds, tmp_path):
    model = made([node], [of_type("x", kind)], ["y"])
    session, peer = sardonyx.Session(model, threads=1), onnxruntime.InferenceSession(model)
    sardonyx.save(sardonyx.optimize(sardonyx.load(model)), tmp_path / "model.onnx")
    written = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    again = sardonyx.Session(tmp_path / "model.onnx", threads=1)
    assert ports(session)[0] == ports(peer)[0]
    assert ports(written) == ports(peer)
    for x in feeds:
        want = peer.run(None, {"x": x})
        for other in (session, written, again):
            assert_same(other.run(None, {"x": x}), want)


def test_a_classifier_of_maps_computes_them_from_results_of_kernels():
    nodes = [
        oh.make_node("Softmax", ["x"], ["p"]),
        ml("ZipMap", "p", classlabels_strings=["a", "b"]),
    ]
    model = made(nodes, [of_type("x", tensor(TensorProto.FLOAT, ["n", 2]))], ["y", "p"])
    session, peer = sardonyx.Session(model, threads=1), onnxruntime.InferenceSession(model)
    assert ports(session) == ports(peer)
    (maps, p), (want, _) = (each.run(None, {"x": SCORES}) for each in (session, peer))
    for a, b, row in zip(maps, want, p, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-6)
        assert list(a.values()) == row.tolist()


SEQUENCE = oh.make_sequence_type_proto(TENSOR)
OPTIONAL = oh.make_optional_type_proto(TENSOR)
STRINGS = tensor(TensorProto.STRING)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TENSOR, [np.ones(2, FLOAT)]),
        (tensor(TensorProto.FLOAT16), [np.ones(2, np.float16)]),
        (tensor(TensorProto.DOUBLE), [np.ones(2)]),
        (tensor(TensorProto.BOOL), [np.ones(2, bool)]),
        (STRINGS, [np.array(["a", "ü"], object)]),
        (SEQUENCE, [[np.ones(2, FLOAT), np.ones(3, FLOAT)], []]),
        (OPTIONAL, [np.ones(2, FLOAT), None]),
    ],
)
def test_ports_have_the_types_that_onnxruntime_says(kind, values):
    model = made([oh.make_node("Relu", ["q"], ["z"])],
                 [of_type("x", kind), of_type("q", QUERY)], [of_type("x", kind), "z"])  # fmt: skip
    session, peer = sardonyx.Session(model, threads=1), onnxruntime.InferenceSession(model)
    assert ports(session) == ports(peer)
    for value in values:
        feeds = {"x": value, "q": np.ones(1, FLOAT)}
        assert_same(session.run(None, feeds), peer.run(None, feeds))


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (SEQUENCE, np.ones(2, FLOAT), "expected a list, got a ndarray"),
        (SEQUENCE, [np.ones(2)], "expected float32, got float64"),
        (OPTIONAL, np.ones(2, int), "expected float32, got int64"),
        (STRINGS, np.ones(2), "expected strings, got float64"),
        (mapping(TensorProto.STRING), {1: 2.0}, "expected a dict with keys of type str"),
        (mapping(TensorProto.INT64), [1], "expected a dict with keys of type int, got a list"),
        (tensor(TensorProto.BFLOAT16), np.ones(2, FLOAT), "expected bfloat16, got float32"),
    ],
)
def test_values_of_other_types_are_refused(kind, wrong, message):
    inputs = [of_type("x", kind), of_type("q", QUERY)]
    model = made([oh.make_node("Relu", ["q"], ["z"])], inputs, ["z"])
    session = sardonyx.Session(model, threads=1)
    with pytest.raises(sardonyx.InvalidArgument, match=f"input 'x': {message}"):
        session.run(None, {"x": wrong, "q": np.ones(1, FLOAT)})


def test_constants_that_no_kernel_reads_are_what_they_say():
    labels = oh.make_tensor("labels", TensorProto.STRING, [3], ["cat", "dog", "über"])
    nodes = [
        oh.make_node("Gather", ["labels", "i"], ["y"]),
        oh.make_node("Equal", ["y", "s"], ["same"]),
    ]
    inputs = [of_type("i", tensor(TensorProto.INT64)), of_type("s", STRINGS)]
    model = made(nodes, inputs, ["y", "same", "labels"], [labels])
    feeds = {"i": np.array([2, 0]), "s": np.array(["über", "x"], object)}
    session, peer = sardonyx.Session(model, threads=1), onnxruntime.InferenceSession(model)
    for _ in range(2):
        results = session.run(None, feeds)
        assert_same(results, peer.run(None, feeds))
        results[2][:] = "changed"


@pytest.mark.parametrize("node", [
    ml("DictVectorizer", string_vocabulary=["a"]),
    ml("LabelEncoder", classes_strings=["a"]),
    oh.make_node("RegexFullMatch", ["x"], ["y"], pattern="a"),
], ids=lambda node: node.op_type)  # fmt: skip
def test_inputs_without_a_type_do_not_end_the_process(node):
    """onnx's inference of these operators reads a type that is not there."""
    model = made([node], [onnx.ValueInfoProto(name="x")], ["y"], ml=1)
    sardonyx.optimize(sardonyx.load(model))
