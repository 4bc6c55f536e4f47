"""A cached program is used only where the model and its external data are the same."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Give the path of a model that adds two numbers from ``weights/w.bin``."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights/w.bin")
    x, y = (helper.make_tensor_value_info(name, 1, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    made = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "weights").mkdir()
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def write(model, *values):
    path = model.parent / "weights" / "w.bin"
    path.write_bytes(np.array(values, np.float32).tobytes())
    os.utime(path, ns=(0, values[0] * 10**9))


def result(model):
    return sardonyx.Session(model, threads=1)(np.zeros(2, np.float32)).tolist()


def test_external_data_that_changed_is_read_again(model):
    for values in ((1, 2), (3, 4)):
        write(model, *values)
        assert result(model) == list(values)


def test_external_data_that_is_gone_or_too_short_is_missed_despite_the_cache(model):
    write(model, 1, 2)
    assert result(model) == [1, 2]
    (model.parent / "weights" / "w.bin").write_bytes(b"1234")
    with pytest.raises(sardonyx.InvalidModel, match=r"w\.bin.*only 4"):
        result(model)
    (model.parent / "weights" / "w.bin").unlink()
    with pytest.raises(sardonyx.InvalidModel, match=r"w\.bin.*missing"):
        result(model)


def test_a_copy_in_another_folder_reads_its_own_data(model):
    write(model, 1, 2)
    assert result(model) == [1, 2]
    other = model.parent / "other"
    (other / "weights").mkdir(parents=True)
    (other / "m.onnx").write_bytes(model.read_bytes())
    write(other / "m.onnx", 1, 9)  # same size, same time
    assert result(other / "m.onnx") == [1, 9]
