"""Program cache: a model is imported, optimized and lowered once, and its program kept on disk.

The next time it is opened from there, without onnx, the optimizer or the compiler.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import InvalidArgument, InvalidModel
from ..kernels import eviction
from ..kernels.compiler import environment_key
from ..kernels.storage import cache_folder
from .cache_key import content_key, environment
from .program import Program, is_artifact, load_program, save_program

if TYPE_CHECKING:
    import onnx_ir as ir


def is_model(source: Any) -> bool:
    """Tell whether a source is a model, and no program."""
    return not (isinstance(source, str | os.PathLike) and is_artifact(Path(source)))


def optimized(source: Any, options: Mapping[str, Any]) -> ir.Model:
    """Import a model and optimize it as a session does.

    Raises
    ------
    InvalidArgument
        The source is a program.
    """
    if not is_model(source):
        raise InvalidArgument("a saved program holds no model; open the model itself")
    from ..importers import load
    from ..optimizer import optimize

    return optimize(load(source), options["optimize"], fold_limit=options.get("fold_limit"))


_programs: WeakValueDictionary[str, Program] = WeakValueDictionary()
"""Programs in use, by their keys: sessions of one model share one set of weights."""


def open_program(source: Any, options: Mapping[str, Any]) -> Program:
    """Open a program, or the program of a model.

    Parameters
    ----------
    source
        Anything ``sardonyx.load`` takes, or an artifact.
    options : mapping
        ``precision``, ``optimize``, ``fold_limit`` and ``choices`` of a session.

    Returns
    -------
    Program
        The same one as long as another session of the same model has it.
    """
    if not is_model(source):
        if options.get("choices"):
            raise InvalidArgument("a saved program takes no choices; open the model itself")
        return load_program(Path(source), environment())
    key = content_key(source, options)
    if key is None:
        return _lowered(source, options)
    program = _programs.get(key)
    if program is None:
        program = _programs.setdefault(key, _cached(source, options, key))
    return program


def _cached(source: Any, options: Mapping[str, Any], key: str) -> Program:
    """Open a program from the cache, or make it and keep it there."""
    folder = cache_folder()
    if folder is None:
        return _lowered(source, options)
    path = folder / "programs" / f"{key}.sdx"
    if path.exists():
        try:
            program = load_program(path, key)
            eviction.mark_used(path)
            return program
        except InvalidModel:
            path.unlink(missing_ok=True)
    program = _lowered(source, options)
    if not save_program(program, path, key):
        return program
    try:
        # The mapped file takes the place of the copy in memory.
        program = load_program(path, key)
    except InvalidModel:
        return program  # another process has evicted it meanwhile
    eviction.written(path, environment_key())
    return program


def _lowered(source: Any, options: Mapping[str, Any]) -> Program:
    from .lowering import lower

    return lower(optimized(source, options), dict(options))


def portable(source: Any) -> bytes | str | os.PathLike[str]:
    """Return a source that another process can open, too: a path or bytes."""
    if isinstance(source, bytes | str | os.PathLike):
        return source
    from ..importers import to_bytes

    return to_bytes(source)
