"""Transforms of Winograd's convolution of images that lie as bfloat16; points are float32.

One image may lie so and the other as float32: each transform has a form of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..half_vectors import emit_load_bf16, emit_store_bf16
from ..registry import kernel_factory
from ..target import LANES
from ..vectors import I64
from .winograd_records import InputRecord, OutputRecord
from .winograd_tiles import Input, Output, transform


class HalfInput(Input):
    """V = B d B^T of bfloat16, in words of two channels."""

    channels = LANES // 2
    vector_bytes = (LANES * 2, LANES * 4)

    def load_pixel(self, pointer: Any, count: Any | None) -> Any:
        """Load a vector of channels; a word has two."""
        return emit_load_bf16(self.builder, pointer, self._lanes(count))

    def store_point(self, value: Any, pointer: Any, count: Any | None) -> None:
        """Store one of a point."""
        self.vector_store(value, pointer, self._lanes(count))

    def _lanes(self, count: Any | None) -> Any | None:
        return None if count is None else self.builder.shl(count, I64(1))


class HalfOutput(Output):
    """What `Output` computes, stored as bfloat16; so are residuals."""

    vector_bytes = (LANES * 4, LANES * 2, LANES * 2)

    def result_bytes(self, size: Any) -> Any:
        """Elements of results to bytes."""
        return self.builder.shl(size, I64(1))

    def result_pointer(self, address: Any) -> Any:
        """Pointer to a result, whose address is doubled (`sum_stores`)."""
        return self.pointer(self.builder.lshr(address, I64(1)))

    def load_result(self, pointer: Any, count: Any | None) -> Any:
        """Load a vector of a residual."""
        return emit_load_bf16(self.builder, pointer, count)

    def store_result(self, value: Any, pointer: Any, count: Any | None) -> None:
        """Store a vector of results."""
        emit_store_bf16(self.builder, value, pointer, count)


_input, _output = transform(HalfInput, InputRecord), transform(HalfOutput, OutputRecord)


@kernel_factory
def winograd_half_input(mh: int, mw: int, rh: int, rw: int, sh: int, sw: int) -> Callable[..., int]:
    """Build the input transform of tiles mh x mw, windows rh x rw and strides sh x sw."""

    def body(thread: int, part: int, until: int, parts: int, record: InputRecord) -> int:
        _input(mh, mw, rh, rw, sh, sw, 1, record)
        return 0

    return body


@kernel_factory
def winograd_half_output(
    mh: int, mw: int, rh: int, rw: int, sh: int, sw: int, pool: int
) -> Callable[..., int]:
    """Build the output transform, of fields as those of `winograd_tiles.winograd_output`."""

    def body(thread: int, part: int, until: int, parts: int, record: OutputRecord) -> int:
        _output(mh, mw, rh, rw, sh, sw, pool, record)
        return 0

    return body
