"""`load` finds the importer by the source alone, without importing any framework."""

from __future__ import annotations

import pytest
import sardonyx
from sardonyx.importers import IMPORTERS, importer_of
from sardonyx.importers.keras import KERAS
from sardonyx.importers.onnx import ONNX, TEXT
from sardonyx.importers.tensorflow import FROZEN_GRAPH, FUNCTION, LITE, SAVED_MODEL
from sardonyx.importers.torch import TORCH


def source_of(*modules: str) -> object:
    """Make an object whose class inherits from classes of these modules, first one nearest."""
    kind: type = object
    for module in reversed(modules):
        kind = type("Thing", (kind,), {"__module__": module})
    return kind()


@pytest.mark.parametrize(
    ("source", "importer"),
    [
        (source_of("mine.model", "torch.nn.modules.module"), TORCH),
        (source_of("torch.export.exported_program"), TORCH),
        (source_of("mine", "keras.src.models.model", "torch.nn.modules.module"), KERAS),
        (source_of("keras.src.models.model", "tensorflow.python.trackable"), KERAS),
        (source_of("tensorflow.python.eager.polymorphic_function"), FUNCTION),
        (source_of("onnx_ir._core"), ONNX),
        (b"bytes", ONNX),
        (memoryview(b"bytes"), ONNX),
    ],
)
def test_objects(source, importer):
    assert importer_of(source) is importer


@pytest.mark.parametrize(
    ("name", "importer"),
    [("m.onnx", ONNX), ("m.KERAS", KERAS), ("m.h5", KERAS), ("m.tflite", LITE),
     ("m.pb", FROZEN_GRAPH), ("m.pt2", TORCH), ("m.pt", TORCH), ("m.PTH", TORCH),
     ("m.jit", TORCH), ("m.ts", TORCH), ("m.JSON", TEXT), ("m.pbtxt", TEXT), ("model", ONNX)],
)  # fmt: skip
def test_files(name, importer, tmp_path):
    (tmp_path / name).touch()
    assert importer_of(tmp_path / name) is importer


def test_folders(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert importer_of(tmp_path) is SAVED_MODEL


@pytest.mark.parametrize("source", [None, 3, [1], source_of("torchvision_like")])
def test_anything_else_is_refused_by_its_type(source):
    with pytest.raises(sardonyx.InvalidArgument, match=type(source).__name__):
        sardonyx.load(source)


@pytest.mark.parametrize("importer", IMPORTERS, ids=lambda importer: importer.name)
def test_a_suffix_belongs_to_one_format(importer):
    others = [other for other in IMPORTERS if other is not importer]
    assert not {suffix for other in others for suffix in other.suffixes} & set(importer.suffixes)


@pytest.mark.parametrize("importer", IMPORTERS, ids=lambda importer: importer.name)
def test_unsafe_options_are_options(importer):
    assert set(importer.unsafe) <= set(importer.options)


@pytest.mark.parametrize("importer", IMPORTERS, ids=lambda importer: importer.name)
def test_an_unknown_option_is_refused_by_the_name_of_the_format(importer):
    with pytest.raises(sardonyx.InvalidArgument, match=f"colour= is no option .*{importer.name}"):
        importer.read(None, None, {"colour": "red"})
