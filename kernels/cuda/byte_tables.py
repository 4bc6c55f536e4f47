"""Functions of bytes by the tables of their 256 results."""

from __future__ import annotations

from ..fields import Pointer
from .kernel import cuda_kernel
from .launches import elements_of
from .memory import LOAD, STORE
from .threads import cuda

_load, _store = LOAD["u8"], STORE["u8"]


@cuda_kernel(elements_of("n"))
def look_up_bytes(x: Pointer, table: Pointer, y: Pointer, n: int, status: Pointer) -> None:
    """y[i] = table[x[i]], all of them bytes; x and y are dense."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        _store(y, i, _load(table, _load(x, i)))
