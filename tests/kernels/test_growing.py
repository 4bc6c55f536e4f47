"""Blocks of memory that grow."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from sardonyx.kernels.cpu import growing
from sardonyx.kernels.registry import OUT_OF_MEMORY
from sardonyx.runtime import blocks
from sardonyx.runtime.blocks import Blocks


@pytest.mark.parametrize("size", [0, 1, 12, 5000])
def test_slices_stay_when_a_block_grows(size: int) -> None:
    some = Blocks(3)
    block = int(some.addresses[1])
    slices = np.random.default_rng(size).integers(0, 255, (700, size)).astype(np.uint8)
    for number in range(len(slices)):
        iteration, x = np.array([number]), slices[number].copy()
        assert growing.reserve_slice(block=block, iteration=iteration, run=size) == 0
        for part in range(3):
            growing.append_slice(
                part=part, until=part + 1, parts=3, x=x, block=block, iteration=iteration, run=size
            )
    taken = np.empty_like(slices)
    growing.take_slices(block=block, y=taken, size=slices.size)
    np.testing.assert_array_equal(taken, slices)


def test_a_block_that_cannot_grow_keeps_what_it_has() -> None:
    some = Blocks(1)
    fields = {"block": int(some.addresses[0]), "iteration": np.array([0])}
    assert growing.reserve_slice(**fields, run=8) == 0
    growing.append_slice(**fields, x=np.array([7]), run=8)
    assert growing.reserve_slice(**fields, run=1 << 61) == OUT_OF_MEMORY
    taken = np.zeros(1, np.int64)
    growing.take_slices(block=fields["block"], y=taken, size=8)
    assert taken == 7


def test_memory_is_given_back_with_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    freed = []
    monkeypatch.setattr(blocks, "_free", lambda address: freed.append(address.value))
    some = Blocks(2)
    fields = {"block": int(some.addresses[1]), "iteration": np.array([0])}
    assert growing.reserve_slice(**fields, run=100) == 0
    del some
    gc.collect()
    assert freed[0] is None and freed[1]
