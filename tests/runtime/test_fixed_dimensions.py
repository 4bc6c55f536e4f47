"""Sessions whose dimensions are given sizes when they are opened."""

import pickle

import numpy as np
import onnx.parser
import pytest
import sardonyx

MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["": 17]>
    agraph (float[N, C] x, float[N, C] b) => (float[N, C] y, int64[2] s) {
        y = Add(x, b)
        s = Shape(y)
    }"""
)
MODEL.graph.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"


def shapes(session):
    return [each.shape for each in (*session.get_inputs(), *session.get_outputs())]


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("source", ["bytes", "file"])
def test_a_name_gets_a_size_wherever_it_stands(tmp_path, source):
    model = MODEL.SerializeToString()
    if source == "file":
        onnx.save(MODEL, tmp_path / "model.onnx")
        model = tmp_path / "model.onnx"
    fixed = sardonyx.Session(model, dimensions={"N": 2, "no such name": 3})
    for session in (fixed, pickle.loads(pickle.dumps(fixed))):
        assert shapes(session) == [[2, "C"], [2, "C"], [2, "C"], [2]]
        np.testing.assert_array_equal(session(x=ones(2, 5), b=ones(2, 5))[1], [2, 5])
        with pytest.raises(sardonyx.InvalidArgument, match="x"):
            session(x=ones(3, 5), b=ones(3, 5))
    assert shapes(sardonyx.Session(model))[0] == ["N", "C"]


def test_a_denotation_gets_a_size():
    session = sardonyx.Session(MODEL, denotations={"DATA_CHANNEL": 4, "DATA_BATCH": 1})
    assert shapes(session) == [["N", 4], ["N", 4], ["N", 4], [2]]


def test_a_name_is_taken_off():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        agraph (float[N] x, float[N] b) => (float[N] y) { y = Add(x, b) }"""
    )
    feeds = {"x": ones(1), "b": ones(4)}
    with pytest.raises(sardonyx.InvalidArgument, match="'N'"):
        sardonyx.Session(model)(**feeds)
    np.testing.assert_array_equal(
        sardonyx.Session(model, dimensions={"N": None})(**feeds), 2 * ones(4)
    )


def test_an_artifact_takes_sizes(tmp_path):
    path = tmp_path / "model.sdx"
    sardonyx.Session(MODEL).save(path)
    assert shapes(sardonyx.Session(path, dimensions={"N": 2}))[0] == [2, "C"]


@pytest.mark.parametrize("dimensions", [3, {"N": -1}, {"N": 1.5}, {"N": 2**62}])
def test_sizes_that_cannot_be(dimensions):
    with pytest.raises(sardonyx.InvalidArgument):
        sardonyx.Session(MODEL, dimensions=dimensions)
