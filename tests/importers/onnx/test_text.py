"""Models written as text: the same models, refused with their position where they are damaged."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import serialization
from sardonyx import InvalidModel
from sardonyx.importers.onnx import TEXT
from sardonyx.tools import zoo

from .test_external_data import model_with
from .test_loader import run

SYNTAXES = {"textproto": ".textproto", "json": ".json", "onnxtxt": ".onnxtxt"}


def written(model, syntax, folder):
    path = folder / f"model{SYNTAXES[syntax]}"
    path.write_bytes(serialization.registry.get(syntax).serialize_proto(model))
    return path


def test_suffixes_are_those_of_onnx():
    known = {
        suffix: serialization.registry.get_format_from_file_extension(suffix)
        for suffix in TEXT.suffixes
    }
    assert set(known.values()) == set(SYNTAXES)
    for syntax in SYNTAXES:
        assert serialization.registry.get(syntax).file_extensions <= known.keys()


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("mnist", syntax) for syntax in SYNTAXES] + [("silero", "textproto"), ("silero", "json")],
)
def test_a_real_model_is_the_same(name, syntax, zoo_model, tmp_path, rng):
    source = onnx.load(zoo_model(name))
    feeds = zoo.inputs(name, rng)
    results = run(sardonyx.load(written(source, syntax, tmp_path)), feeds)
    for found, wanted in zip(results, run(source.SerializeToString(), feeds), strict=True):
        tolerance = 1e-5 if syntax == "onnxtxt" else 1e-6  # which prints some digits of a number
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_session_runs_a_text_file(syntax, tmp_path):
    text = '<ir_version: 10, opset_import: ["": 20]> g (float[n] x) => (float[n] y) { y = Abs(x) }'
    path = written(onnx.parser.parse_model(text), syntax, tmp_path)
    (y,) = sardonyx.Session(path, threads=1).run(None, {"x": np.array([-1, 2], np.float32)})
    assert y.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".pbtxt", "graph {\n  node { op: 3 }\n}", "2:10 .* no field named \"op\""),
        (".prototxt", 'name: "net"\nlayer { name: "conv" }', "1:1 .* no field named \"name\""),
        (".textproto", "graph {\n  name: \"cut", "2:9"),
        (".textproto", "ir_version: 10", "holds no graph"),
        (".json", '{"graph": {\n"node": [', "line 2 column 10"),
        (".json", '{"graph": {"node": [{"op": 3}]}}', r"ModelProto\.graph\.node\[0\]"),
        (".json", "[1, 2]", "not an ONNX model as json"),
        (".json", "[" * 100_000, "recursion depth"),
        (".textproto", "graph { " + "node { attribute { g { " * 30_000, "too deeply"),
        (".onnxtxt", "<ir_version: 10>\ng (float x", "Expected .*line: 2 column: 11"),
        (".onnxtxt", "<ir_version: 10>\ng (" + "seq(" * 100_000, "more than 100 levels deep"),
        (".onnxtxt", '# ")"\n"(" ' + "# )\n(" * 101, "more than 100 levels deep"),
        (".json", "", "the file is empty"),
    ],
)  # fmt: skip
def test_damaged_text_is_refused_by_file_and_position(suffix, text, message, tmp_path):
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    with pytest.raises(InvalidModel, match=f"bad{suffix}: .*{message}") as error:
        sardonyx.load(path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_other_bytes_are_refused(syntax, tmp_path):
    path = tmp_path / f"bad{SYNTAXES[syntax]}"
    for data in (b"\xff\xfe\x00", b"\x00" * 100, b"\x08\x07" * 50):
        path.write_bytes(data)
        with pytest.raises(InvalidModel, match=f"bad{SYNTAXES[syntax]}"):
            sardonyx.load(path)


@pytest.mark.parametrize("syntax", ["textproto", "json"])
def test_external_data_lies_beside_the_file(syntax, tmp_path, rng):
    weights = rng.random((256, 2), np.float32)
    (tmp_path / "w.bin").write_bytes(weights.tobytes())
    model = sardonyx.load(written(model_with("w.bin"), syntax, tmp_path))
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), weights)
    outside = written(model_with("../w.bin"), syntax, tmp_path)
    with pytest.raises(InvalidModel, match="outside the model's folder"):
        sardonyx.load(outside)
