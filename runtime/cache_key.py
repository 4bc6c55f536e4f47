"""Cache key of a program: digest of the model, its external data, and all that lowers it."""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..kernels.compiler import environment_key, sources_digest
from ..kernels.storage import remembered, state_of

_LOCATION = re.compile(rb"\x0a\x08location\x12(?=.)", re.DOTALL)
"""Beginning of an entry of external data: key "location", then a value of a stated length."""


@functools.cache
def environment() -> str:
    """Digest of what every program depends on: sources of the runtime and of kernels, processor."""
    root = Path(__file__).parent.parent
    folders = [root / folder for folder in ("runtime", "optimizer", "importers")]
    parts = f"{environment_key()} {sources_digest(*folders)}"
    names = (root / "dimension_names.py").read_bytes()
    return hashlib.sha256(parts.encode() + names).hexdigest()[:32]


def _content(path: Path) -> str:
    """Digest of a model file, then the names of the files of external data it holds, as JSON.

    The bytes are searched, not parsed: what only looks like an entry does no harm here.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        names: set[bytes] = set()
        if os.fstat(file.fileno()).st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                names = set(_names(data))
    return json.dumps([digest, *sorted(os.fsdecode(name) for name in names)])


def _external_files(folder: Path, names: Iterable[str]) -> str:
    """List path, size and times of files of external data."""
    lines = []
    for name in names:
        path = os.path.join(os.path.realpath(folder), name.replace("\0", ""))
        try:
            info = os.stat(path)
            times = f"{info.st_mtime_ns} {info.st_ctime_ns}"
            lines.append(f"{path} {info.st_ino} {info.st_size} {times}")
        except OSError:
            lines.append(f"{path} missing")
    return "\n".join(lines)


def _names(data: mmap.mmap) -> Iterator[bytes]:
    for match in _LOCATION.finditer(data):
        at = match.end()
        length, begin = data[at], at + 1
        if length >= 128 and begin < len(data):  # a varint of two bytes; paths are no longer
            length, begin = length - 128 + 128 * data[begin], begin + 1
        yield data[begin : begin + length]


def content_key(source: Any, options: Mapping[str, Any]) -> str | None:
    """Digest of a model file or its bytes with all a program depends on; None for objects.

    The part before its dash is that of all models lowered alike (``environment``).
    """
    if isinstance(source, bytes):
        content = hashlib.sha256(source).hexdigest()
    elif isinstance(source, str | os.PathLike) and Path(source).suffix == ".onnx":
        path = Path(source)
        state = state_of([path])
        try:
            answer = remembered(state and f"content\n{state}", lambda: _content(path))
        except OSError:
            return None
        content, *names = json.loads(answer)
        content += _external_files(path.parent, names)
    else:
        return None
    lowered_by = environment()
    parts = repr((content, sorted(options.items()), lowered_by))
    return f"{lowered_by}-{hashlib.sha256(parts.encode()).hexdigest()[:40]}"
