"""Conversions, and what they say of the result."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.tools import convert as conversion

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture
def normalizing(tmp_path):
    """Write a model that normalizes its images and gives their means by channel."""
    mean = np.array([0.5, 0.25, 0.125], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["centred", "axes"], ["means"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "normalizing",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, "h", "w"])],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, ["batch", 3])],
        [
            onnx.numpy_helper.from_array(np.float32(255), "scale"),
            onnx.numpy_helper.from_array(mean, "mean"),
            onnx.numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    path = tmp_path / "normalizing.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def test_onnx_is_compared_with_onnxruntime(normalizing, tmp_path):
    found = sardonyx.convert(normalizing, tmp_path / "out.onnx", labels=["r", "g", "b"])
    assert found.agrees and found.framework == "onnxruntime"
    assert found.shapes == {"image": (2, 3, 64, 64)}
    assert found.operators == {"Cast": 1, "Div": 1, "Sub": 1, "ReduceMean": 1}
    assert found.preprocessing == ["image: as float, ÷ 255, − [0.5, 0.25, 0.125]"]
    saved = sardonyx.load(tmp_path / "out.onnx")
    assert json.loads(saved.metadata_props["labels"]) == ["r", "g", "b"]
    assert found.opset == saved.graph.opset_imports[""]


def test_given_inputs_and_sizes(normalizing):
    image = np.full((1, 3, 5, 7), 255, np.uint8)
    assert sardonyx.convert(normalizing, feeds={"image": image}).shapes == {"image": (1, 3, 5, 7)}
    found = sardonyx.convert(normalizing, dims=["batch=3", "h=8"])
    assert found.agrees and found.shapes == {"image": (3, 3, 8, 64)}


def test_open_dimensions_are_compared_at_several_sizes(normalizing, capsys):
    found = sardonyx.convert(normalizing, dims=["batch=2", "h=8", "w=9"])
    shapes = [each["image"] for each in found.others]
    assert (1, 3, 1, 1) in shapes and (3, 3, 9, 10) in shapes and found.agrees
    for axis in (0, 2, 3):
        assert {shape[axis] % 2 for shape in shapes} == {0, 1}
    conversion.print_conversion(found, conversion.text.console())
    assert "with other sizes, too: image 1×3×1×1;" in capsys.readouterr().out


def test_a_difference_for_another_size_is_told(normalizing, monkeypatch):
    right = conversion._expected

    def wrong_for_one(found, notes, feeds):
        return [right(found, notes, feeds)[0] + (feeds["image"].shape[0] == 1)]

    monkeypatch.setattr(conversion, "_expected", wrong_for_one)
    assert not sardonyx.convert(normalizing).agrees


def test_a_difference_is_told(normalizing, monkeypatch, capsys):
    right = conversion._expected
    monkeypatch.setattr(conversion, "_expected", lambda *args: [right(*args)[0] + 0.01])
    found = sardonyx.convert(normalizing)
    assert not found.agrees and not found.unchecked
    conversion.print_conversion(found, conversion.text.console())
    assert "differs" in capsys.readouterr().out


def test_inputs_that_the_source_refuses(normalizing):
    found = sardonyx.convert(normalizing, feeds={"image": np.zeros((1, 4, 8, 8), np.uint8)})
    assert not found.agrees
    assert found.unchecked.startswith("onnxruntime cannot run with these inputs: ")


def test_without_a_check(normalizing):
    found = sardonyx.convert(normalizing, check=False)
    assert not found.agrees and found.unchecked == "the check was turned off"


def test_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch.manual_seed(0)

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.dropout = torch.nn.Linear(6, 8), torch.nn.Dropout(0.5)
            self.last = torch.nn.Linear(8, 2)
            self.config = type("Config", (), {"id2label": {0: "cat", 1: "dog"}})
            self.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}

        def forward(self, x):
            return self.last(self.dropout(torch.relu(self.first(x))))

    module = Classifier().train()
    found = sardonyx.convert(module, tmp_path / "m.onnx", example_inputs=torch.randn(3, 6))
    assert found.agrees and found.framework.startswith("PyTorch") and module.training
    assert found.shapes == {"x": (3, 6)}
    assert found.dropped == ["Dropout (dropout)"]
    assert found.labels == ["cat", "dog"]
    assert json.loads(found.model.metadata_props["std"]) == [0.2, 0.2, 0.1]
    other = sardonyx.convert(
        module, example_inputs=torch.randn(3, 6), feeds={"x": np.ones((5, 6), np.float32)}
    )
    assert other.agrees and other.shapes == {"x": (5, 6)}
    program = torch.export.export(module.eval(), (torch.randn(3, 6),))
    assert sardonyx.convert(program).agrees
    assert sardonyx.convert(torch.jit.script(module), example_inputs=torch.randn(3, 6)).agrees


def test_a_torch_file_is_traced_with_what_the_command_gives(call, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")

    class Scaled(torch.nn.Module):
        def forward(self, x, factor):
            return torch.relu(x) * factor

    torch.jit.save(torch.jit.script(Scaled()), tmp_path / "scaled.pt")
    np.save(tmp_path / "factor.npy", np.full((5,), 2, np.float32))
    out = tmp_path / "scaled.onnx"
    more = ["-d", "x=3,5", "-i", f"factor={tmp_path / 'factor.npy'}"]
    found = call("convert", tmp_path / "scaled.pt", "-o", out, *more)
    assert found.exit_code == 0, found.stderr
    assert "compared with PyTorch" in found.stdout and out.exists()


def test_labels_that_are_only_numbers_are_none():
    from sardonyx.importers.notes import labels_of

    assert labels_of({"0": "LABEL_0", "1": "LABEL_1"}) == []
    assert labels_of({1: "b", 0: "a"}) == ["a", "b"]
    assert labels_of({0: "a", 2: "c"}) == [] == labels_of({"x": "y"}) == labels_of(None)


def test_keras():
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            layers.RandomFlip(),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(5, activation="softmax"),
        ]
    )
    found = sardonyx.convert(model)
    assert found.agrees and found.framework.startswith("Keras 3")
    assert [kind.partition(" ")[0] for kind in found.dropped] == ["RandomFlip", "Dropout"]
    assert found.preprocessing == ["image: × 0.00784314, + -1"]
    assert found.shapes == {"image": (2, 16, 16, 3)}


@pytest.fixture
def network():
    """Make a small network of TensorFlow, which gives scores of three classes."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    weights = tf.constant(np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 3], tf.float32, name="image")])
    def call(image):
        scores = tf.reduce_mean(tf.nn.conv2d(image, weights, 1, "SAME"), [1, 2])
        return {"scores": tf.nn.softmax(scores), "best": tf.argmax(scores, 1)}

    return call


def test_functions_and_frozen_graphs(network, tmp_path):
    import tensorflow as tf

    found = sardonyx.convert(network)
    assert found.agrees and found.framework.startswith("TensorFlow 2")
    assert [each.name for each in found.outputs] == ["best", "scores"]
    concrete = network.get_concrete_function()
    tf.io.write_graph(concrete.graph, str(tmp_path), "frozen.pb", as_text=False)
    frozen = sardonyx.convert(tmp_path / "frozen.pb", inputs=["image"], outputs=["Softmax"])
    assert frozen.agrees and len(frozen.outputs) == 1
    assert any(line.startswith("ArgMax") for line in frozen.dropped)


def test_metadata_of_tflite(network, tmp_path):
    import zipfile

    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    path = tmp_path / "classifier.tflite"
    path.write_bytes(with_normalization(converter.convert(), [127.5], [64.0]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "daisy\ntulip\nrose\n")
    found = sardonyx.convert(path)
    assert found.agrees and found.framework.startswith("TensorFlow Lite")
    assert found.labels == ["daisy", "tulip", "rose"]
    metadata = found.model.metadata_props
    assert (json.loads(metadata["mean"]), json.loads(metadata["std"])) == ([127.5], [64.0])


def with_normalization(model: bytes, mean: list[float], std: list[float]) -> bytes:
    """Give a TensorFlow Lite model metadata with the normalization of its input."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    held = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    holder = schema.BufferT()
    holder.data = list(normalization(mean, std))
    held.buffers.append(holder)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(held.buffers) - 1
    held.metadata = [*(held.metadata or []), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(held.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def normalization(mean: list[float], std: list[float]) -> bytes:
    """Build ModelMetadata with one process unit of one input (fields by their numbers)."""
    import flatbuffers

    builder = flatbuffers.Builder(256)

    def floats(values):
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    def table(fields):
        builder.StartObject(8)
        for number, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        return builder.EndObject()

    def vector(offset):
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    means, deviations = floats(mean), floats(std)
    options = table({0: means, 1: deviations})
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    tensor = table({4: vector(unit)})
    subgraph = table({2: vector(tensor)})
    builder.Finish(table({3: vector(subgraph)}), b"M001")
    return bytes(builder.Output())
