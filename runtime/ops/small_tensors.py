"""Weights of few bits as a tensor of the float32 that they stand for, which is never in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...kernels.cpu.term_pack import packed_bytes
from ...kernels.cpu.term_widen import term_widen
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor


@dataclass(eq=False, slots=True)
class SmallTensor(Tensor):
    """Weights of a product, (depth, columns) or as filters of one pixel, or a part of them.

    Offset and strides are those that float32 (depth, columns) would have.

    Attributes
    ----------
    kind : str
        One of ``kernels.cpu.packed_weights``, of whole numbers.
    form : str
        Element type of their scales.
    whole : tuple of int
        Depth and columns of all weights.
    fields : mapping
        Those of `term_widen` that say what all weights are.
    """

    kind: str = ""
    form: str = "f32"
    whole: tuple[int, int] = (0, 0)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def view(
        self, shape: Sequence[Dim], strides: Sequence[Dim], offset: Dim = 0, name: str = ""
    ) -> SmallTensor:
        """Return a part, ``offset`` elements behind this one."""
        place = self.offset + offset * self.itemsize
        return dataclasses.replace(
            self, shape=tuple(shape), strides=tuple(strides), offset=place, name=name or self.name
        )

    def packed(self, emit: Emission, terms: int) -> Tensor:
        """Emit the step that widens the part and packs it as so many terms."""
        depth, all_columns = self.whole
        columns, rows = self.shape[1:3]  # of filters (1, columns, rows, 1, 1, 1)
        assert isinstance(self.offset, int)
        first, left = divmod(self.offset // self.itemsize, all_columns)
        y = emit.new((packed_bytes(terms, rows, columns),), "uint8", name=self.name)
        emit.step(
            term_widen(self.kind, self.form, terms), outputs=[y], op_type="Widen", y=y,
            first=first, rows=rows, left=left, columns=columns, depth=depth, **self.fields,
        )  # fmt: skip
        return y
