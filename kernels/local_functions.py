"""Functions of the caller's in expressions of the pointwise language.

They have names that only this process knows, so kernels that call them are neither kept on disk
nor compiled by another process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import KernelError
from .ref import LOCAL, KernelRef

Function = Callable[..., Any]

_functions: list[tuple[Function, str]] = []
_names: dict[Function, str] = {}


def name_of(function: Function, owner: str) -> str:
    """Return the name of a function that numba has wrapped (``njit``), the same each time.

    Errors name its ``owner``.
    """
    if function not in _names:
        _functions.append((function, owner))
        _names[function] = f"{LOCAL}{len(_functions) - 1}"
    return _names[function]


def function_of(name: str) -> Function:
    """Return the function of a name."""
    return _functions[_index(name)][0]


def refused(ref: KernelRef, error: Exception) -> KernelError:
    """Return the error of a kernel that numba cannot compile because of such functions."""
    names = re.findall(rf"{LOCAL}\d+", str(ref.parameters[0]))
    owners = " or ".join(sorted({_functions[_index(name)][1] for name in names}))
    lines = [line for line in str(error).splitlines() if not line.startswith("Failed in nopython")]
    return KernelError(
        f"numba cannot compile the function of {owners} for elements {ref.parameters[1]!r} (with a "
        f"shape rule, shape=, it may be any function of arrays): {next(iter(lines), error)}"
    )


def _index(name: str) -> int:
    return int(name.removeprefix(LOCAL))


def is_local(name: str) -> bool:
    """Tell whether a name is that of such a function."""
    return name.startswith(LOCAL)
