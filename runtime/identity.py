"""What a cached program depends on: the model with its external data, and all that lowers it."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..kernels.compiler import environment_key

_LOCATION = re.compile(rb"\x0a\x08location\x12(?=.)", re.DOTALL)
"""How an entry of external data begins: key "location", then a value of a stated length."""


def environment() -> str:
    """What every program depends on: version, sources of the runtime, processor."""
    digest = hashlib.sha256(f"{__version__} {environment_key()}".encode())
    root = Path(__file__).parent.parent
    for folder in ("runtime", "optimizer", "importers"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _external_files(path: Path) -> str:
    """List place, size and time of the files of external data that a model names.

    The bytes are searched, not parsed: what only looks like an entry does no harm here.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            names = set(_names(data))
    lines = []
    for name in sorted(names):
        place = os.path.join(os.path.realpath(path.parent), os.fsdecode(name).replace("\0", ""))
        try:
            info = os.stat(place)
            lines.append(f"{place} {info.st_ino} {info.st_size} {info.st_mtime_ns}")
        except OSError:
            lines.append(f"{place} missing")
    return "\n".join(lines)


def _names(data: mmap.mmap) -> Iterator[bytes]:
    for match in _LOCATION.finditer(data):
        at = match.end()
        length, begin = data[at], at + 1
        if length >= 128 and begin < len(data):  # a varint of two bytes; paths are no longer
            length, begin = length - 128 + 128 * data[begin], begin + 1
        yield data[begin : begin + length]


def content_key(source: Any, options: Mapping[str, str]) -> str | None:
    """Digest of a model file or its bytes with all a program depends on; None for objects."""
    digest = hashlib.sha256()
    if isinstance(source, bytes):
        digest.update(source)
    elif isinstance(source, str | os.PathLike) and Path(source).suffix == ".onnx":
        try:
            with open(source, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError:
            return None
        digest.update(_external_files(Path(source)).encode())
    else:
        return None
    digest.update(repr((sorted(options.items()), environment())).encode())
    return digest.hexdigest()[:40]
