"""ONNX models written as text: protobuf's text format, its JSON, and ONNX's own syntax."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import onnx
from onnx import serialization

from ...errors import InvalidModel, SardonyxError, reason
from .loader import from_onnx, mapped, naming

if TYPE_CHECKING:
    import onnx_ir as ir

_MAX_DEPTH = 100  # protobuf's own limit on nesting
# Comments and strings, in which brackets do not count; opening brackets; closing ones.
_TOKENS = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|([({])|([)}])', re.DOTALL)


def from_text(source: str | os.PathLike[str], notes: Any, base_dir: Any = None) -> ir.Model:
    """Read a text file, and import its model as that of an ``.onnx`` file.

    Parameters
    ----------
    source
        The file; its suffix says which syntax it is in.
    notes
        Not used: the model itself holds what there is to note.
    base_dir
        Where external data lies; by default the folder of the file. It may not lie outside.

    Raises
    ------
    InvalidModel
        The text is damaged, or no model of ONNX; names the file and the position.
    """
    path = os.fspath(source)
    with naming(path):
        model = _parse(bytes(mapped(path)), os.path.splitext(path)[1].lower())
        return from_onnx(model, base_dir or os.path.dirname(path) or ".")


def _parse(data: bytes, suffix: str) -> onnx.ModelProto:
    syntax = serialization.registry.get_format_from_file_extension(suffix)
    assert syntax is not None
    try:
        if syntax == "onnxtxt":  # not by its serializer, which warns that it is experimental
            return _parse_onnxtxt(data.decode())
        return serialization.registry.get(syntax).deserialize_proto(data, onnx.ModelProto())
    except (SardonyxError, RecursionError):
        raise
    except Exception as error:  # of json, of protobuf, or a UnicodeDecodeError
        raise InvalidModel(f"not an ONNX model as {syntax}: {reason(error)}") from error


def _parse_onnxtxt(text: str) -> onnx.ModelProto:
    """Parse ONNX's syntax, unless it nests so deeply that onnx's parser, in C++, would crash."""
    depth = 0
    for match in _TOKENS.finditer(text):
        depth += (match[1] is not None) - (match[2] is not None)
        if depth > _MAX_DEPTH:
            raise InvalidModel(f"the model nests brackets more than {_MAX_DEPTH} levels deep")
    try:
        return onnx.parser.parse_model(text)
    except onnx.parser.ParseError as error:  # bytes: the position, the line, the reason
        lines = bytes(error.args[0]).decode(errors="replace").splitlines()
        raise InvalidModel(f"not an ONNX model as onnxtxt: {lines[-1]} {lines[0]}") from error
