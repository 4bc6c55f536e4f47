"""Saved models load again, at the opset that was asked for, and files are replaced at once."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import parser
from sardonyx.tools import zoo

NORMS = """
    <ir_version: 11, opset_import: ["": 23]>
    g (float[2,4,8] x, float[8] s) => (float[2,4,8] y)
    { a = LayerNormalization(x, s) b = Gelu(a) y = HardSwish(b) }
"""


def run(path, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options).run(None, feeds)


@pytest.mark.parametrize("opset", [None, 21, 17, 13, 11, 9])
@pytest.mark.parametrize("name", ["mnist", "squeezenet", "shufflenet", "magika"])
def test_a_saved_model_computes_the_same(name, opset, zoo_model, tmp_path, rng):
    path = zoo_model(name)
    sardonyx.save(sardonyx.load(path), tmp_path / "m.onnx", target_opset=opset)
    if opset:
        assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
    feeds = zoo.inputs(name, rng)
    for have, want in zip(run(tmp_path / "m.onnx", feeds), run(path, feeds), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("opset", [22, 18])
def test_newer_operators_become_their_definitions(opset, tmp_path, rng):
    model = parser.parse_model(NORMS)
    feeds = {"x": rng.random((2, 4, 8), np.float32), "s": rng.random(8, np.float32)}
    onnx.save(model, tmp_path / "new.onnx")
    sardonyx.save(sardonyx.load(model), tmp_path / "old.onnx", target_opset=opset)
    have, want = (run(tmp_path / name, feeds)[0] for name in ("old.onnx", "new.onnx"))
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    assert not onnx.load(tmp_path / "old.onnx").functions


def test_what_an_old_opset_cannot_express_is_named(tmp_path):
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[4] x) => (float[?] y)'
        "{ n = NonZero(x) f = Cast <to = 1> (n) u = Unique(f) y = Mish(u) }"
    )
    with pytest.raises(sardonyx.UnsupportedModel, match=r"Unique node .* opset 11"):
        sardonyx.save(sardonyx.load(model), tmp_path / "m.onnx", target_opset=9)
    assert not list(tmp_path.iterdir())


def test_external_data_on_request(zoo_model, tmp_path, rng):
    path = zoo_model("mnist")
    sardonyx.save(sardonyx.load(path), tmp_path / "m.onnx", external_data=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    feeds = zoo.inputs("mnist", rng)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", feeds)[0], run(path, feeds)[0], rtol=1e-6)
    again = sardonyx.load(tmp_path / "m.onnx")
    sardonyx.save(again, tmp_path / "m.onnx", external_data=True)  # over the file it reads from
    np.testing.assert_allclose(run(tmp_path / "m.onnx", feeds)[0], run(path, feeds)[0], rtol=1e-6)


def test_a_loaded_model_keeps_its_weights_when_its_file_is_saved_over(zoo_model, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(zoo_model("squeezenet").read_bytes())
    model = sardonyx.load(path)
    before = {name: v.const_value.numpy().copy() for name, v in model.graph.initializers.items()}
    sardonyx.save(ir.from_onnx_text(NORMS), path)
    for name, value in model.graph.initializers.items():
        np.testing.assert_array_equal(value.const_value.numpy(), before[name])


@pytest.mark.parametrize("opset", [0, 99])
def test_a_target_opset_that_is_none_is_refused(opset, tmp_path):
    with pytest.raises(sardonyx.InvalidArgument, match=f"target_opset is {opset}"):
        sardonyx.save(ir.from_onnx_text(NORMS), tmp_path / "m.onnx", target_opset=opset)


def test_a_missing_folder_is_an_error_with_its_name(tmp_path):
    with pytest.raises(sardonyx.InvalidArgument, match=r"gone/m\.onnx cannot be written"):
        sardonyx.save(ir.from_onnx_text(NORMS), tmp_path / "gone" / "m.onnx")
