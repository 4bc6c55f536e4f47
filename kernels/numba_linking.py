"""Linking of functions that numba compiles into the kernel that calls them, each one once.

numba links a function, with all that it calls, into each of its callers, as a copy: what lies deep
is copied at each level. Here a function keeps its own code only, and knows the functions it calls;
a kernel is linked with all of them when it is complete. Whoever links such a function in another
way, as numba does for a caller that it compiles itself, is given it with all that it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary

Method = Callable[..., Any]


class UnlinkedLibrary(JITCodeLibrary):
    """Library that is complete, but for what its functions call."""

    def _get_module_for_linking(self) -> Any:
        module = _own_module(self)
        link_called(self)
        self.__class__ = JITCodeLibrary  # type: ignore[assignment]
        return module


def once_parsed(_: Method) -> Method:
    """Let CPUCodeLibrary.add_ir_module take the first module as it is, without verifying it."""

    def add_ir_module(self: Any, module: Any) -> None:
        self._raise_if_finalized()
        code = llvm.parse_assembly(cgutils.normalize_ir_text(str(module)))
        code.data_layout = self._codegen._data_layout
        if hasattr(self, "_has_code"):
            self._final_module.link_in(code)
        else:
            code.name = self._final_module.name
            self._final_module, self._has_code = code, True

    return add_ir_module


def unlinked(_: Method) -> Method:
    """Let CPUCodeLibrary.finalize link nothing."""

    def finalize(self: Any) -> None:
        self._raise_if_finalized()
        for library in self._linking_libraries:
            self._reload_init.update(library._reload_init)
        self._finalized = True
        self.__class__ = UnlinkedLibrary

    return finalize


def link_called(library: Any) -> Any:
    """Link what a library's functions call into its module; returns that."""
    for each in _called(library):
        library._final_module.link_in(_own_module(each), preserve=True)
    return library._final_module


def _called(library: Any) -> Iterator[Any]:
    """Yield the libraries that one calls, directly or not, each once."""
    seen, waiting = {library}, list(library._linking_libraries)
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        yield each
        if isinstance(each, UnlinkedLibrary):
            waiting.extend(each._linking_libraries)


def _own_module(library: Any) -> Any:
    """Return the module of a library, which others may define, too."""
    if not isinstance(library, UnlinkedLibrary):
        return library._get_module_for_linking()
    if library._shared_module is None:
        for function in library._final_module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.external:
                function.linkage = "linkonce_odr"
        library._shared_module = library._final_module
    return library._shared_module
