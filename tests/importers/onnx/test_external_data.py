"""Weights outside the model: mapped, checked, and never read from outside the model's folder."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.importers.onnx.opset import CANONICAL_OPSET
from sardonyx.importers.onnx.wire import SAME_FILE


def model_with(location: str, dims=(256, 2), **place: int) -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    x, y = (helper.make_tensor_value_info(name, 1, [dims[-1]]) for name in "xy")
    nodes = [
        helper.make_node("Gather", ["w", "i"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    index = helper.make_tensor("i", TensorProto.INT64, [], [dims[0] - 1])
    graph = helper.make_graph(nodes, "g", [x], [y], [tensor, index])
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def weights(tmp_path, rng):
    array = rng.random((256, 2), np.float32)
    (tmp_path / "w.bin").write_bytes(b"\0" * 16 + array.tobytes())
    return array


def test_external_data_is_mapped(tmp_path, weights):
    onnx.save(model_with("w.bin", offset=16, length=2048), tmp_path / "m.onnx")
    value = sardonyx.load(tmp_path / "m.onnx").graph.initializers["w"].const_value.numpy()
    np.testing.assert_array_equal(value, weights)
    assert not value.flags.owndata


def test_bytes_need_a_base_dir(tmp_path, weights):
    data = model_with("w.bin", offset=16).SerializeToString()
    with pytest.raises(sardonyx.InvalidModel, match=r"'w\.bin' of tensor 'w'.*base_dir"):
        sardonyx.load(data)
    value = sardonyx.load(data, base_dir=tmp_path).graph.initializers["w"].const_value
    np.testing.assert_array_equal(value.numpy(), weights)


@pytest.mark.parametrize(
    ("location", "place", "reason"),
    [
        ("gone.bin", {}, "'gone.bin' of tensor 'w' is missing"),
        ("w.bin", {"offset": 20}, "bytes 20 to 2068 .* only 2064"),
        ("w.bin", {"length": 12}, "takes 2048 bytes, but 12"),
        ("w.bin", {"offset": -1}, "offset '-1'"),
        ("../outside/w.bin", {}, "outside the model's folder"),
        ("sub/../../outside/w.bin", {}, "outside the model's folder"),
        ("link.bin", {}, "outside the model's folder"),
        ("linked/w.bin", {}, "outside the model's folder"),
        ("ABSOLUTE", {}, "outside the model's folder"),
        ("", {}, "not a file name"),
        (SAME_FILE, {"offset": 0, "length": 2048}, "only"),
        ("w.bin", {"offset": "ten"}, "offset 'ten'"),
    ],
)
def test_bad_external_data_is_refused(tmp_path, weights, location, place, reason):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "w.bin").write_bytes(b"\0" * 4096)
    home = tmp_path / "home"
    home.mkdir()
    os.rename(tmp_path / "w.bin", home / "w.bin")
    (home / "link.bin").symlink_to(outside / "w.bin")
    (home / "linked").symlink_to(outside)
    location = location.replace("ABSOLUTE", str(outside / "w.bin"))
    onnx.save(model_with(location, **place), home / "m.onnx")
    with pytest.raises(sardonyx.InvalidModel, match=reason):
        sardonyx.load(home / "m.onnx")


def test_a_linked_cache_may_keep_model_and_data_side_by_side(tmp_path, weights):
    blobs, home = tmp_path / "blobs", tmp_path / "home"
    blobs.mkdir(), home.mkdir()
    os.rename(tmp_path / "w.bin", blobs / "1")
    onnx.save(model_with("w.bin", offset=16), blobs / "2")
    (home / "w.bin").symlink_to(blobs / "1")
    (home / "m.onnx").symlink_to(blobs / "2")
    value = sardonyx.load(home / "m.onnx").graph.initializers["w"].const_value
    np.testing.assert_array_equal(value.numpy(), weights)


def test_a_model_over_2_gb_loads_and_costs_nothing(tmp_path):
    rows = 2**20
    with open(tmp_path / "w.bin", "wb") as file:
        file.truncate(rows * 1024 * 4)  # 4 GB of zeros in a sparse file
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    onnx.save(model_with("w.bin", dims=(rows, 1024)), tmp_path / "m.onnx")
    model = sardonyx.load(tmp_path / "m.onnx")
    value = model.graph.initializers["w"].const_value.numpy()
    assert value.shape == (rows, 1024)
    assert value[-1, -1] == 7
    assert model.graph.opset_imports[""] == CANONICAL_OPSET


def test_a_single_file_over_2_gb_loads(tmp_path):
    """No protobuf parser reads this; we do, since weights are not parsed."""
    small = model_with("w.bin", dims=(2**20, 640))
    weight = small.graph.initializer[0]
    weight.ClearField("data_location"), weight.ClearField("external_data")
    small.graph.initializer.remove(weight)
    length = 2**20 * 640 * 4
    head = weight.SerializeToString() + b"\x4a" + varint(length)
    graph = small.graph.SerializeToString() + b"\x2a" + varint(len(head) + length) + head
    small.ClearField("graph")
    with open(tmp_path / "m.onnx", "wb") as file:
        file.write(small.SerializeToString() + b"\x3a" + varint(len(graph) + length) + graph)
        file.truncate(file.tell() + length)
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    value = sardonyx.load(tmp_path / "m.onnx").graph.initializers["w"].const_value.numpy()
    assert value[-1, -1] == 7


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
