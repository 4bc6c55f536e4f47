"""Tensor maps: what bulk copies know of a matrix in memory (TMA).

A driver makes 128 opaque bytes of it (``cuTensorMapEncodeTiled``), which lie in global memory when
a kernel runs; the simulator has words of its own. What a box has beyond the tensor becomes zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .swizzle import ROW
from .tiles import ELEMENT_BYTES, Element

_KINDS: tuple[Element, ...] = ("bf16", "f16", "tf32", "s8", "u8")
_DRIVERS = {"bf16": "BFLOAT16", "f16": "FLOAT16", "tf32": "FLOAT32", "s8": "UINT8", "u8": "UINT8"}


@dataclass(frozen=True)
class TensorMap:
    """Matrices in memory, and the box of rows that a copy takes.

    Attributes
    ----------
    element : str
        Type of the elements.
    address : int
        Of the first one, a multiple of 16.
    sizes : tuple of int
        Columns (contiguous), rows, matrices.
    row_bytes, matrix_bytes : int
        From row to row and from matrix to matrix, multiples of 16.
    box : tuple of int
        Columns and rows that a copy takes; of the former 128 bytes, which are swizzled.
    """

    element: Element
    address: int
    sizes: tuple[int, int, int]
    row_bytes: int
    matrix_bytes: int
    box: tuple[int, int]

    def __post_init__(self) -> None:
        assert self.address % 16 == self.row_bytes % 16 == self.matrix_bytes % 16 == 0
        assert self.box[0] * self.size == ROW and self.box[1] <= 256

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return ELEMENT_BYTES[self.element]

    @property
    def box_bytes(self) -> int:
        """Bytes that a copy writes."""
        return ROW * self.box[1]

    def words(self) -> np.ndarray:
        """Return it as the simulator reads it: 16 words of 64 bits."""
        numbers = (*self.sizes, self.row_bytes, self.matrix_bytes, *self.box)
        words = [_KINDS.index(self.element), self.address, *numbers]
        return np.array(words + [0] * (16 - len(words)), np.int64)

    @classmethod
    def of_words(cls, words: np.ndarray) -> TensorMap:
        """Read what `words` wrote."""
        kind, address, x, y, z, row, matrix, columns, rows = words[:9].tolist()
        return cls(_KINDS[kind], address, (x, y, z), row, matrix, (columns, rows))

    def encoded(self) -> np.ndarray:
        """Return it as the driver encodes it, 16 words; needs a GPU's driver.

        Raises
        ------
        RuntimeError
            The driver refuses it.
        """
        from cuda.bindings import driver

        kind = getattr(
            driver.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{_DRIVERS[self.element]}"
        )
        status, encoded = driver.cuTensorMapEncodeTiled(
            kind,
            3,
            self.address,
            [driver.cuuint64_t(max(size, 1)) for size in self.sizes],
            [driver.cuuint64_t(self.row_bytes), driver.cuuint64_t(self.matrix_bytes)],
            [driver.cuuint32_t(size) for size in (*self.box, 1)],
            [driver.cuuint32_t(1)] * 3,
            driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
            driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
        if status != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"cuTensorMapEncodeTiled: {status}")
        return np.array([int(word) for word in encoded.opaque], np.uint64).view(np.int64)
