"""Artifact: an optimized model, and the options it is lowered with, in one file (``.sdx``).

It holds no program. Kernels believe a program's tables and addresses, so one that somebody else
wrote could make them read and write anywhere; a model is checked like any other, and lowered
where it is opened (``program_cache`` keeps the program). So an artifact needs no more trust than
an ONNX file, and opens on every processor.

Layout: magic, SHA-256 of all that follows, length of the options (8 hexadecimal digits), options
(JSON), model (ONNX).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidModel
from .choices import Suggestions
from .options import checked_options

SUFFIX = ".sdx"
_MAGIC = b"sardonyx-model-1\n"
_HEAD = re.compile(_MAGIC + rb"([0-9a-f]{64})([0-9a-f]{8})")
_DIGESTED = len(_MAGIC) + 64
_HEAD_BYTES = _DIGESTED + 8


def pack(model: bytes, options: Mapping[str, Any]) -> bytes:
    """Return the contents of an artifact of a serialized model that is optimized already."""
    text = json.dumps({name: options[name] for name in ("precision", "choices")}).encode()
    rest = b"".join((b"%08x" % len(text), text, model))
    return b"".join((_MAGIC, hashlib.sha256(rest).hexdigest().encode(), rest))


class Artifact:
    """An artifact's parts.

    Parameters
    ----------
    data : bytes or mmap
        What the file holds.

    Attributes
    ----------
    options : dict
        Of the session that it makes; its model is optimized already.

    Raises
    ------
    InvalidModel
        It is no artifact, or its options are damaged.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        head = _HEAD.fullmatch(data[:_HEAD_BYTES])
        if head is None:
            raise InvalidModel(
                "not an artifact of this version of sardonyx: save it again from its model"
            )
        self._data = data
        self._digest = head[1].decode()
        self._start = _HEAD_BYTES + int(head[2], 16)
        try:
            kept = json.loads(data[_HEAD_BYTES : self._start])
            choices = kept["choices"]
            choices = Suggestions(choices) if isinstance(choices, dict) else choices
            _, self.options = checked_options(None, kept["precision"], "none", choices)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidModel("the artifact is truncated or corrupted: its options") from error

    def model(self) -> memoryview:
        """Return the serialized model.

        Raises
        ------
        InvalidModel
            The artifact is damaged.
        """
        view = memoryview(self._data)
        if hashlib.sha256(view[_DIGESTED:]).hexdigest() != self._digest:
            raise InvalidModel("the artifact is truncated or corrupted: its digest is another")
        return view[self._start :]
