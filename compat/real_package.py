"""The real onnxruntime, where it is installed, beside the modules that take its names."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

NAME = "onnxruntime"
VARIABLE = "SARDONYX_COMPAT"
"""Environment variable: ``strict`` forbids the real onnxruntime."""

_lock = threading.RLock()
_modules: dict[str, ModuleType] = {}
"""Modules of the real package while others have their names."""


def is_allowed() -> bool:
    """Tell whether the real package may be used."""
    return os.environ.get(VARIABLE, "").lower() != "strict"


def folder() -> str | None:
    """Return the folder of the real package; None where it is not installed."""
    spec = PathFinder.find_spec(NAME)
    places = None if spec is None else spec.submodule_search_locations
    return None if not places else next(iter(places))


def real() -> ModuleType | None:
    """Import the real package; None where it is not installed or not allowed.

    Modules of other packages under its names stay where they are.
    """
    if not is_allowed():
        return None
    with _lock:
        if NAME in _modules:
            return _modules[NAME]
        if _is_real(sys.modules.get(NAME)):
            return sys.modules[NAME]
        if folder() is None:
            return None
        stand_ins = taken_out()
        try:
            importlib.import_module(NAME)
        except ImportError:
            return None
        finally:
            loaded = taken_out()
            sys.modules.update(stand_ins or loaded)
        if stand_ins:
            _modules.update(loaded)
        return loaded.get(NAME)


def keep(modules: dict[str, ModuleType]) -> None:
    """Keep modules of the real package that others take the names of."""
    with _lock:
        _modules.update(modules)


def released() -> dict[str, ModuleType]:
    """Return what was kept, which is forgotten."""
    with _lock:
        modules = dict(_modules)
        _modules.clear()
        return modules


def taken_out() -> dict[str, ModuleType]:
    """Take all modules of the package's names out of ``sys.modules``, and return them."""
    names = [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]
    return {name: sys.modules.pop(name) for name in names}


def _is_real(module: ModuleType | None) -> bool:
    return module is not None and module.__name__ == NAME


def attribute(name: str, module: str = "") -> Any:
    """Return a name of the real package, or of a module of it.

    Raises
    ------
    AttributeError
        The package is not installed, not allowed, or lacks the name.
    """
    full = f"{NAME}.{module}" if module else NAME
    if name.startswith("__") or (package := real()) is None:
        raise AttributeError(f"module {full!r} of sardonyx.compat does not offer {name!r}")
    for part in filter(None, module.split(".")):
        package = getattr(package, part)
    return getattr(package, name)
