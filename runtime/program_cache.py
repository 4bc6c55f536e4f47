"""Program cache: a model is imported, optimized and lowered once, and its program kept on disk.

The next time it is opened from there, without onnx, the optimizer or the compiler.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ..errors import InvalidArgument, InvalidModel
from ..forks import fork_lock
from ..kernels import eviction
from ..kernels.collection import rare_collection
from ..kernels.compiler import environment_key
from ..kernels.folders import SHARED, write_atomically
from ..kernels.storage import opened_folder
from .artifact import SUFFIX, Artifact, pack
from .cache_key import program_key
from .program import Program
from .program_file import load_program, save_program
from .sources import Source, opened

_ATTEMPTS = 3
"""At a model whose files change while they are read."""

_programs: WeakValueDictionary[str, Program] = WeakValueDictionary()
"""Programs in use, by their keys: sessions of one model share one set of weights."""


def open_program(source: Any, options: Mapping[str, Any]) -> Program:
    """Return the program of a model.

    Parameters
    ----------
    source
        Anything ``sardonyx.load`` takes, or an artifact.
    options : mapping
        ``precision``, ``optimize``, ``fold_limit`` and ``choices`` of a session; ``given``: names
        of defaults that its runs give (``defaults``).

    Returns
    -------
    Program
        The same one as long as another session of the same model has it.
    """
    with opened(source, options) as model:
        for _ in range(_ATTEMPTS):
            times, key = model.times(), model.key()
            if key is None:
                return _lowered(model)
            program = _programs.get(key) or _stored(key)
            if program is None:
                program = _lowered(model)
                if (model.times(), model.key()) != (times, key):
                    continue  # perhaps it is not what the key stands for
                program = _keep(program, key)
            if program.is_local:  # its functions may be replaced
                return program
            return _programs.setdefault(key, program)
        return _lowered(model)


def _lowered(model: Source) -> Program:
    with fork_lock, rare_collection():
        from .lowering import lower

        return lower(model.optimized(), model.options)


def _stored(key: str) -> Program | None:
    """Open a program from the cache."""
    folder = opened_folder("programs")
    if folder is None:
        return None
    with folder:
        name = _name(key)
        try:
            program = load_program(folder, name, key)
        except InvalidModel:
            folder.remove(name)
            return None
        eviction.mark_used(folder.path / name)
        return program


def _keep(program: Program, key: str) -> Program:
    """Put a program into the cache; the mapped file takes the place of the copy in memory.

    One with functions of this process in it means nothing to others.
    """
    folder = None if program.is_local else opened_folder("programs")
    if folder is None:
        return program
    with folder:
        name = _name(key)
        saved = save_program(program, folder, name, key)
        if not saved:
            return program
        eviction.written(folder.path / name, environment_key())
        return saved


def _name(key: str) -> str:
    return f"{key}.program"


def save_artifact(
    source: Any, options: Mapping[str, Any], program: Program, path: str | os.PathLike[str]
) -> None:
    """Write the artifact of a program that was opened from a source.

    Raises
    ------
    InvalidArgument
        The file has another suffix or cannot be written, or the source has changed.
    """
    from ..importers import to_bytes

    if Path(path).suffix.lower() != SUFFIX:
        raise InvalidArgument(f"an artifact is opened by its suffix: {path} must end in {SUFFIX}")
    with opened(source, options) as model:
        key = model.key()
        is_known = program.is_local or _programs.get(key or "") is program
        if key is not None and not is_known:
            raise InvalidArgument("the model's file has changed since this session was opened")
        data = pack(to_bytes(model.optimized()), model.options)
    if not write_atomically(Path(path), [data], SHARED):
        raise InvalidArgument(f"cannot write {os.fspath(path)!r}")
    own = Artifact(data).options | {k: v for k, v in options.items() if k == "device"}
    _keep(program, program_key(hashlib.sha256(data).hexdigest(), own))


def optimized(source: Any, options: Mapping[str, Any]) -> Any:
    """Import a model and optimize it as a session does; returns an ``onnx_ir.Model``."""
    with opened(source, options) as model:
        return model.optimized()


def content_key(source: Any, options: Mapping[str, Any]) -> str | None:
    """Key of a model's program with some options, None for objects."""
    with opened(source, options) as model:
        return model.key()


def portable(source: Any) -> bytes | str | os.PathLike[str]:
    """Return a source that another process can open, too: a path or bytes."""
    if isinstance(source, bytes | str | os.PathLike):
        return source
    from ..importers import to_bytes

    return to_bytes(source)
