"""Rows of inputs and outputs, by which compiled code takes and makes the arrays of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.abi import (
    PORT_BUFFER,
    PORT_COLUMNS,
    PORT_FLAGS,
    PORT_NAME,
    PORT_RANK,
    PORT_SHAPE,
    PORT_TYPE,
)
from ..kernels.record import address_of
from .program import Program


class PortRows:
    """Table of the inputs and outputs of a program.

    Parameters
    ----------
    program : Program
        It has to live as long: the rows have the addresses of names.

    Attributes
    ----------
    table : ndarray of int64
        Columns ``PORT_...`` of ``kernels.abi``; at least one row.
    """

    def __init__(self, program: Program) -> None:
        self._ports = [*program.inputs, *program.outputs]
        tensors = [program.tensors[port.tensor] for port in self._ports]
        self._dtypes = [tensor.dtype for tensor in tensors]
        self.table = np.zeros((max(len(self._ports), 1), PORT_COLUMNS), np.int64)
        self._rows = self.table[: len(self._ports)]
        self._rows[:, PORT_BUFFER] = [tensor.buffer for tensor in tensors]
        self._rows[:, PORT_NAME] = [id(port.name) for port in self._ports]
        self.forget()

    def forget(self) -> None:
        """Let no arrays fit."""
        self.table[:, PORT_RANK] = -1
        self._held: tuple[Any, ...] = ()  # what rows have the addresses of

    def expect(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Let arrays of certain shapes fit, if none do as yet.

        That takes some microseconds, which are worth it where shapes come again.
        """
        if self._held:
            return
        types = [np.dtype(name) for name in self._dtypes]
        sizes = [np.array(shape, np.int64) for shape in shapes]
        pairs = zip(sizes, types, strict=True)
        for column, words in (
            (PORT_TYPE, [id(kind) for kind in types]),
            (PORT_SHAPE, [address_of(size) for size in sizes]),
            (PORT_FLAGS, [size.prod() if kind == np.bool_ else 0 for size, kind in pairs]),
            (PORT_RANK, [len(shape) for shape in shapes]),
        ):
            self._rows[:, column] = words
        self._held = types, sizes
