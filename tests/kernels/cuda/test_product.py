"""Products by mma.sync in the simulator, against numpy."""

import dataclasses

import numpy as np
import pytest
from sardonyx.kernels.cuda.ptx import device
from sardonyx.kernels.cuda.tensor_cores import warp_product
from sardonyx.kernels.cuda.tensor_cores.epilogue import Epilogue
from sardonyx.kernels.cuda.tensor_cores.product import product
from sardonyx.kernels.cuda.tensor_cores.tiles import Tile

from .conftest import bank_conflicts

TILES = {
    "bf16": Tile("bf16", "bf16", 64, 64, 32, 32, 3),
    "f16": Tile("f16", "f32", 64, 64, 32, 32, 2),
    "tf32": Tile("tf32", "f32", 64, 64, 32, 32, 3),
    "s8": Tile("s8", "i32", 64, 64, 32, 32, 3),
}


@pytest.mark.parametrize("kind", TILES)
def test_products_of_sizes_that_no_tile_divides(multiply, kind):
    multiply(product, TILES[kind], 70, 50, 150)


@pytest.mark.parametrize("kind", TILES)
def test_rows_that_are_not_aligned(multiply, kind):
    multiply(product, dataclasses.replace(TILES[kind], is_aligned=False), 33, 17, 71)


@pytest.mark.parametrize("is_aligned", [True, False])
def test_b_by_rows(multiply, is_aligned):
    tile = Tile("bf16", "f32", 64, 128, 32, 64, 2, "kn", is_aligned)
    multiply(product, tile, 40, 130, 90)


def test_batches(multiply):
    multiply(product, TILES["bf16"], 20, 30, 40, batch=3)


@pytest.mark.parametrize("bias", ["column", "row"])
def test_bias_and_function(multiply, bias):
    @device
    def twice_if_positive(x):
        return 2 * x if x > 0 else x

    epilogue = Epilogue(bias, twice_if_positive)
    tile = TILES["f16"]
    multiply(product, tile, 9, 70, 30, 1, epilogue, lambda x: np.where(x > 0, 2 * x, x))


@pytest.mark.parametrize("result", ["f32", "bf16"])
def test_integers_become_floats_by_a_scale_for_each_column(multiply, result):
    tile = Tile("s8", result, 64, 64, 32, 32, 2)
    multiply(product, tile, 33, 21, 140, epilogue=Epilogue("scaled"))


def test_no_columns_of_a_are_a_product_of_zeros(multiply):
    multiply(product, TILES["bf16"], 5, 9, 0)


def test_the_order_of_threads_does_not_matter(multiply):
    multiply(product, TILES["bf16"], 64, 64, 300, seed=1)


@pytest.mark.parametrize("tile", [*TILES.values(), Tile("f16", "f32", 64, 64, 32, 32, 2, "kn")])
def test_no_bank_serves_two_lanes_at_once(multiply, tile):
    lost = bank_conflicts(multiply(product, tile, 64, 64, 2 * tile.k))
    assert {"ldmatrix 16", "copy_piece 16"} <= set(lost)
    assert not any(lost.values()), lost


@pytest.mark.parametrize("fault", ["lanes of a", "pieces of b", "wait"])
def test_wrong_mappings_and_missing_waits_fail(multiply, monkeypatch, fault):
    """Each fault is one that compiles."""
    places = warp_product.lane_places

    def wrong(tile):
        a, b, sums = places(tile)
        if fault == "lanes of a":
            return device(lambda thread: a(thread ^ 1)), b, sums
        return a, device(lambda thread: b(thread) ^ 16), sums

    product.cache_clear()
    module = "sardonyx.kernels.cuda.tensor_cores.ring"
    if fault == "wait":
        monkeypatch.setattr(f"{module}.wait_copies", lambda _: lambda: None)
    else:
        monkeypatch.setattr(f"{module}.lane_places", wrong)
    with pytest.raises(AssertionError):
        multiply(product, TILES["bf16"], 64, 64, 128)
    product.cache_clear()
