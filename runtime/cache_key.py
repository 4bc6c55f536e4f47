"""Cache key of a program: digest of the model, its external data, and all that lowers it."""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..kernels.compiler import OF_GPUS, environment_key, sources_digest
from ..kernels.machine_costs import costs_digest
from ..kernels.storage import remembered, state_of
from ..kernels.target import version_text

_FOLDERS = ("runtime", "optimizer", "importers", "reference")


@functools.cache
def environment() -> str:
    """Digest of what every program depends on: our sources, versions of others, processor."""
    root = Path(__file__).parent.parent
    sources = sources_digest(*(root / folder for folder in _FOLDERS), *root.glob("*.py"))
    versions = [version_text(name) for name in ("numpy", "onnx", "onnx_ir")]
    parts = f"{environment_key()} {sources} {versions}"
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class ModelFile:
    """A model's file, held open: what takes its place meanwhile is another model.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    path : str
    folder : str
        Where external data lies, without links.
    data : mmap
        What the file holds.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self.folder = os.path.realpath(os.path.dirname(self.path))
        self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.data = mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            self.close()
            raise

    def close(self) -> None:
        """Close the file; what is mapped stays."""
        os.close(self._handle)

    def times(self) -> tuple[int, ...]:
        """Return what changes when the file is written over."""
        info = os.fstat(self._handle)
        return info.st_mtime_ns, info.st_ctime_ns, info.st_size

    def content(self, external_names: Callable[[mmap.mmap], Iterable[str]]) -> str:
        """Digest of the file and, by path, size and times, of its files of external data.

        Parameters
        ----------
        external_names : callable
            Finds the names of these in what the file holds. It is called once for a file.
        """

        def find() -> str:
            digest = hashlib.sha256(self.data).hexdigest()
            return json.dumps([digest, *sorted(external_names(self.data))])

        state = state_of([self._handle])
        digest, *names = json.loads(remembered(state and f"content\n{state}", find))
        return "\n".join([digest, *map(self._state_of_external, names)])

    def _state_of_external(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        try:
            info = os.stat(path)
        except (OSError, ValueError):  # a name with a zero byte
            return f"{path} missing"
        return f"{path} {info.st_ino} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"


def program_key(content: str, options: Mapping[str, Any]) -> str:
    """Digest of a model's contents with all else that its program depends on.

    The part before its dash is that of all models lowered alike (``environment``).
    """
    lowered_by = environment()
    of_gpus = sources_digest(OF_GPUS) if "device" in options else ""
    parts = repr((content, sorted(options.items()), lowered_by, costs_digest(), of_gpus))
    return f"{lowered_by}-{hashlib.sha256(parts.encode()).hexdigest()[:40]}"
