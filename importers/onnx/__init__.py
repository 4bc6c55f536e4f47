"""ONNX importers: files, text files, bytes and models in memory, all checked by one loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..importer import Importer, Reader

if TYPE_CHECKING:
    import onnx_ir as ir


def _reader() -> Reader:
    from .loader import from_onnx

    def read(
        source: Any, notes: Any, base_dir: Any = None, sparse_limit: int | None = None
    ) -> ir.Model:
        return from_onnx(source, base_dir, sparse_limit)  # which has nothing to note

    return read


def _text_reader() -> Reader:
    from .text import from_text

    return from_text


ONNX = Importer(
    "ONNX",
    _reader,
    types=(bytes, bytearray, memoryview),
    modules=("onnx", "onnx_ir"),
    suffixes=(".onnx",),
)
TEXT = Importer(
    "ONNX text",
    _text_reader,
    suffixes=(  # those that onnx.load knows
        ".textproto", ".pbtxt", ".prototxt", ".txtpb", ".json", ".onnxjson", ".onnxtxt",
        ".onnxtext",
    ),
)  # fmt: skip
