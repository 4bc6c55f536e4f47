"""Products by wgmma and bulk copies in the simulator, against numpy."""

import dataclasses

import numpy as np
import pytest
from sardonyx.kernels.cuda.ptx import device
from sardonyx.kernels.cuda.tensor_cores import bulk_product as module
from sardonyx.kernels.cuda.tensor_cores.bulk_product import bulk_product
from sardonyx.kernels.cuda.tensor_cores.epilogue import Epilogue
from sardonyx.kernels.cuda.tensor_cores.tiles import GroupTile

TILES = {
    "bf16": GroupTile("bf16", "bf16", 64, 64, 64, 64, 3),
    "f16": GroupTile("f16", "f32", 64, 32, 64, 32, 2),
    "tf32": GroupTile("tf32", "f32", 64, 32, 64, 32, 2),
    "s8": GroupTile("s8", "i32", 64, 32, 64, 32, 2),
}


@pytest.mark.parametrize("kind", TILES)
def test_products_of_sizes_that_no_tile_divides(multiply, kind):
    tile = TILES[kind]
    multiply(bulk_product, tile, 70, 20, 3 * tile.k + 7)


def test_two_groups_that_multiply_and_a_batch(multiply):
    tile = GroupTile("bf16", "f32", 128, 64, 64, 64, 2)
    multiply(bulk_product, tile, 100, 40, 200, batch=2, seed=3)


def test_no_columns_of_a_are_a_product_of_zeros(multiply):
    multiply(bulk_product, TILES["bf16"], 5, 9, 0)


def test_bias_and_function(multiply):
    @device
    def positive(x):
        return max(x, 0.0)

    epilogue = Epilogue("column", positive)
    multiply(bulk_product, TILES["f16"], 30, 20, 70, 1, epilogue, lambda x: np.maximum(x, 0))


@pytest.fixture
def changed(monkeypatch):
    """Replace names in the kernel's module for kernels that are made from now on."""
    bulk_product.cache_clear()

    def change(**values):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)

    yield change
    bulk_product.cache_clear()


def test_sums_that_are_read_before_they_are_waited_for_are_wrong(multiply, changed):
    changed(wait_products=lambda tile, left: lambda sums: sums)
    with pytest.raises((AssertionError, RuntimeError)):
        multiply(bulk_product, TILES["f16"], 64, 32, 64)


def test_a_stage_that_is_called_empty_too_early_is_told(multiply, changed):
    """The wait for the product before is missing, so its stage may be read still."""
    wait = module.wait_products
    changed(wait_products=lambda tile, left: wait(tile, left) if left == 0 else lambda sums: sums)
    with pytest.raises(RuntimeError, match="while wgmma reads"):
        multiply(bulk_product, TILES["f16"], 64, 32, 64 * 6)


def test_a_wrong_descriptor_is_wrong(multiply, changed):
    right = module.descriptor
    changed(descriptor=device(lambda place: right(place) + 2))
    with pytest.raises(AssertionError):
        multiply(bulk_product, TILES["f16"], 64, 32, 64)


def test_waiting_for_more_bytes_than_come_is_told(multiply, changed):
    expect = module.arrive_and_expect
    changed(arrive_and_expect=lambda barrier, size: expect(barrier, size + 16))
    with pytest.raises(RuntimeError):
        multiply(bulk_product, TILES["f16"], 64, 32, 64)


def test_one_buffer_of_stages_is_enough(multiply):
    multiply(bulk_product, dataclasses.replace(TILES["bf16"], stages=2), 64, 64, 300)
