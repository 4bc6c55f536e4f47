"""`load` finds the importer by the source alone, without importing any framework."""

from __future__ import annotations

import pytest
import sardonyx
from sardonyx.importers import importer_of


def source_of(*modules: str) -> object:
    """Make an object whose class inherits from classes of these modules, first one nearest."""
    kind: type = object
    for module in reversed(modules):
        kind = type("Thing", (kind,), {"__module__": module})
    return kind()


@pytest.mark.parametrize(
    ("source", "importer"),
    [
        (source_of("mine.model", "torch.nn.modules.module"), "torch"),
        (source_of("torch.export.exported_program"), "torch"),
        (source_of("mine", "keras.src.models.model", "torch.nn.modules.module"), "keras"),
        (source_of("keras.src.models.model", "tensorflow.python.trackable"), "keras"),
        (source_of("tensorflow.python.eager.polymorphic_function"), "tensorflow"),
        (source_of("onnx_ir._core"), "onnx"),
        (b"bytes", "onnx"),
        (memoryview(b"bytes"), "onnx"),
    ],
)
def test_objects(source, importer):
    assert importer_of(source) == importer


@pytest.mark.parametrize(
    ("name", "importer"),
    [("m.onnx", "onnx"), ("m.KERAS", "keras"), ("m.h5", "keras"), ("m.tflite", "tensorflow"),
     ("m.pb", "tensorflow"), ("m.pt2", "torch"), ("m.pt", "torch"), ("m.PTH", "torch"),
     ("m.jit", "torch"), ("m.ts", "torch"), ("model", "onnx")],
)  # fmt: skip
def test_files(name, importer, tmp_path):
    (tmp_path / name).touch()
    assert importer_of(tmp_path / name) == importer


def test_folders(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert importer_of(tmp_path) == "tensorflow"


@pytest.mark.parametrize("source", [None, 3, [1], source_of("torchvision_like")])
def test_anything_else_is_refused_by_its_type(source):
    with pytest.raises(sardonyx.InvalidArgument, match=type(source).__name__):
        sardonyx.load(source)
