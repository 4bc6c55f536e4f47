"""Parts of numba's pipeline that kernels can do with less of, and what computes the rest.

Each is for one thing that numba computes for all functions, and that compiling a kernel does not
look at: which variables live where, of functions without reference counts; the parameters of the
same function, again and again; texts for errors that do not occur. The code that is made is the
same.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from numba.core import imputils, ir_utils, transforms

Method = Callable[..., Any]


def without_lifetimes(run: Method) -> Method:
    """Let PostProcessor.run find no live variables but where they are asked for.

    Generators keep the live ones, and ``del`` statements follow the last use.
    """

    def post_process(self: Any, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:
        ir = self.func_ir
        if emit_dels or ir.is_generator:
            run(self, emit_dels, extend_lifetimes)
        else:
            ir.blocks = transforms.canonicalize_cfg(ir.blocks)
            ir.generator_info = None

    return post_process


def without_deletions(run_pass: Method) -> Method:
    """Let IRLegalization insert ``del`` statements for variables that count references only."""

    def legalize(self: Any, state: Any) -> bool:
        models = state.targetctx.data_model_manager
        kinds = set(state.typemap.values())
        if state.func_ir.is_generator or any(models[k].contains_nrt_meminfo() for k in kinds):
            return bool(run_pass(self, state))
        ir_utils.enforce_no_phis(state.func_ir)
        return True

    return legalize


def by_code(has_loc: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Let a function's code tell whether it has a parameter ``loc``, not its signature."""

    def asks(function: Any) -> bool:
        if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
            return has_loc(function)
        code = function.__code__
        return "loc" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    return asks


def of_processors(_: Method) -> Method:
    """Let templates register their code for processors, the only target of kernels."""
    return lambda *_: imputils.builtin_registry


def on_errors(context: Callable[..., Any]) -> Callable[..., Any]:
    """Let a context manager that only adds to errors begin when there is one."""

    class OnErrors:
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            self._description = arguments, keywords

        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
            if error is None:
                return False
            arguments, keywords = self._description
            manager = context(*arguments, **keywords)
            manager.__enter__()
            return bool(manager.__exit__(kind, error, trace))

    return OnErrors
