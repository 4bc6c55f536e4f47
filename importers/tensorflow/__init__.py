"""TensorFlow importer: SavedModels, Lite files, frozen graphs and functions, through tf2onnx."""

from __future__ import annotations

from ..importer import Importer, Reader

_PACKAGES = ("tensorflow", "tf2onnx")


def _saved_model() -> Reader:
    from .saved_model import from_saved_model

    return from_saved_model


def _lite() -> Reader:
    from .lite import from_lite

    return from_lite


def _frozen_graph() -> Reader:
    from .frozen_graph import from_frozen_graph

    return from_frozen_graph


def _function() -> Reader:
    from .function import from_function

    return from_function


SAVED_MODEL = Importer(
    "SavedModel",
    _saved_model,
    folder_file="saved_model.pb",
    packages=_PACKAGES,
    extra="tensorflow",
)
LITE = Importer(
    "TensorFlow Lite",
    _lite,
    suffixes=(".tflite",),
    packages=_PACKAGES,
    extra="tensorflow",
)
FROZEN_GRAPH = Importer(
    "frozen graph",
    _frozen_graph,
    suffixes=(".pb",),
    packages=_PACKAGES,
    extra="tensorflow",
)
FUNCTION = Importer(
    "tf.function",
    _function,
    modules=("tensorflow",),
    packages=_PACKAGES,
    extra="tensorflow",
)
