"""Names that kernels have for objects of the compiler, which are made when a kernel is compiled.

A kernel whose code is in the cache is launched without a compiler: what says how it is launched
stands beside its function, whose names are worth importing a compiler only where it is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Deferred:
    """Stands for an object of the compiler; `numba_backend.bound` puts that in its place.

    Parameters
    ----------
    make : callable
        Makes the object, or imports it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @functools.cached_property
    def real(self) -> Any:
        """The object."""
        return self._make()
