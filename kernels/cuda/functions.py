"""Functions that kernels of GPUs call, which become part of them.

numba.cuda compiles functions of its own for the GPU that is there, and fails where there is none.
So they are intrinsics, whose code is that of the function. Under numba's simulator they are called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..function_sources import define
from .deferred import Deferred
from .memory import IS_SIMULATED
from .threads import cuda


def device_function(result: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Declare a function that kernels call.

    Parameters
    ----------
    result : str
        Name of numba's type of what it returns; that of its first argument when not given.
    """

    def declare(function: Callable[..., Any]) -> Any:
        if IS_SIMULATED:
            uses_threads = "cuda" in function.__code__.co_names
            return cuda.jit(device=True)(function) if uses_threads else function
        return Deferred(lambda: _intrinsic(function, result))

    return declare


def _intrinsic(function: Callable[..., Any], result: str) -> Any:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    from .numba_backend import bound

    code = bound(function)

    def typed(*given: Any) -> Any:
        returned = getattr(types, result) if result else given[0]
        signature = returned(*given)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return context.compile_internal(builder, code, signature, arguments)

        return signature, codegen

    names = ", ".join(inspect.signature(function).parameters)
    scope: dict[str, Any] = {"typed": typed}
    define(f"def {function.__name__}(typingctx, {names}): return typed({names})", scope)
    return intrinsic(scope[function.__name__])
