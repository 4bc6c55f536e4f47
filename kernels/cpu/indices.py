"""Indices that kernels refuse."""

from __future__ import annotations

from numba import njit

from ..index_errors import code_of_index

out_of_range = njit(code_of_index)
