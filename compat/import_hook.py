"""Import of onnxruntime, answered by the modules here.

They stand in ``sys.modules`` under its names. What they do not offer (``onnxruntime.quantization``
and other packages) is found in the folder of the real package, if that is installed: their search
paths have it.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from . import real_package
from .real_package import NAME


def _own_modules() -> dict[str, ModuleType]:
    """Return the modules here by the names of those that they stand for."""
    from . import onnxruntime
    from .onnxruntime import backend, capi
    from .onnxruntime.backend import backend as of_backend
    from .onnxruntime.backend import backend_rep
    from .onnxruntime.capi import _pybind_state, onnxruntime_inference_collection
    from .onnxruntime.capi import onnxruntime_pybind11_state as state

    return {
        NAME: onnxruntime,
        f"{NAME}.backend": backend,
        f"{NAME}.backend.backend": of_backend,
        f"{NAME}.backend.backend_rep": backend_rep,
        f"{NAME}.capi": capi,
        f"{NAME}.capi._pybind_state": _pybind_state,
        f"{NAME}.capi.onnxruntime_pybind11_state": state,
        f"{NAME}.capi.onnxruntime_inference_collection": onnxruntime_inference_collection,
    }


def is_installed() -> bool:
    """Tell whether ``import onnxruntime`` finds the modules here."""
    from . import onnxruntime

    return sys.modules.get(NAME) is onnxruntime


def install() -> None:
    """Let ``import onnxruntime`` find the modules here, from now on in this process.

    Code that has imported the real package before keeps what it holds.
    """
    if is_installed():
        return
    own = _own_modules()
    real_package.keep(real_package.taken_out())
    _search_real_folder(own)
    sys.modules.update(own)


def uninstall() -> None:
    """Let ``import onnxruntime`` find the real package again."""
    if not is_installed():
        return
    real_package.taken_out()
    sys.modules.update(real_package.released())


def _search_real_folder(own: dict[str, ModuleType]) -> None:
    """Let submodules that are not offered here be found in the real package."""
    folder = real_package.folder()
    if folder is None or not real_package.is_allowed():
        return
    for name, place in ((NAME, folder), (f"{NAME}.capi", os.path.join(folder, "capi"))):
        path = own[name].__path__
        if place not in path:
            path.append(place)
