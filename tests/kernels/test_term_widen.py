"""Small weights widened to bfloat16 terms against those that are packed as float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.packed_weights import pack_numbers
from sardonyx.kernels.cpu.term_pack import packed_bytes, term_pack
from sardonyx.kernels.cpu.term_widen import term_widen
from sardonyx.kernels.cpu.weight_streams import pack_stream

FORMS = {"f32": np.float32, "f16": np.float16}


@pytest.mark.parametrize("form", ["f32", "f16"])
@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize(("kind", "most"), [("u2", 4), ("u4", 16), ("u8", 256)])
def test_are_the_terms_of_what_they_stand_for(
    run: Any, rng: np.random.Generator, kind: str, most: int, terms: int, form: str
) -> None:
    for depth, columns, block, left in ((64, 96, 32, 0), (100, 70, 16, 32), (33, 9, 0, 0)):
        count = -(-depth // block) if block else 1
        numbers = rng.integers(0, most, (depth, columns)).astype(np.uint8)
        scales = rng.uniform(0.1, 1, (count, columns)).astype(np.float16).astype(np.float32)
        zeros = rng.integers(0, most, (count, columns)).astype(np.uint8)
        of_row = np.arange(depth) // block if block else np.zeros(depth, int)
        weights = (numbers.astype(np.float32) - zeros[of_row]) * scales[of_row]
        words = pack_numbers(numbers, kind, 0)
        stream = pack_stream(words, scales.astype(FORMS[form]), zeros, block or 256, kind)
        for first in (0, 32):
            part = np.ascontiguousarray(weights[first:, left:])
            size = packed_bytes(terms, *part.shape)
            found, wanted = (np.full(size + 64, 7, np.uint8) for _ in range(2))
            run(
                term_widen(kind, form, terms), 3, w=stream, zeros=1, heads=int(count > 1), y=found,
                first=first, rows=len(part), left=left, columns=part.shape[1], depth=depth,
                block=block or 256, zero=0.0,
            )  # fmt: skip
            run(
                term_pack(terms), 1, x=part, y=wanted, sets=1, rows=len(part),
                columns=part.shape[1], x_set=0, x_row=part.shape[1], x_column=1, y_set=0,
            )  # fmt: skip
            assert (found[size:] == 7).all()
            if len(part) % 32 == 0:  # what stands behind the last row meets zeros, and may be any
                np.testing.assert_array_equal(found, wanted)
